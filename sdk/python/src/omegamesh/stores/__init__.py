"""The stores of a bucket: datasets and models."""
