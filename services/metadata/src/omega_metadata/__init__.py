"""The metadata service: objects and their revisions, users, keys and grants."""
