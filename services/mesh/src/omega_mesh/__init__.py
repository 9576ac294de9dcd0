"""Composition: the five services as one process or as five. The only importer of all services."""
