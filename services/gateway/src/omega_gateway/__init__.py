"""The gateway: the mesh's public REST API. It keeps nothing; every fact is asked from the service that owns it."""
