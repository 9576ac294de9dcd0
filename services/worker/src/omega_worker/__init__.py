"""The worker: runs tasks and predictions in child processes. Everything else it leaves to the others."""
