"""The scheduler: tasks, their leases, and the workers that run them."""
