"""What runs in a child process: user code, models, and nothing that the mesh must trust."""
