"""The blobstore service: bytes by id, frames as parts with statistics, and the sweep of what nobody refers to."""
