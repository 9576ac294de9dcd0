"""How a service runs: ports with their adapters, settings, logs, metrics, authentication, health and drain."""
