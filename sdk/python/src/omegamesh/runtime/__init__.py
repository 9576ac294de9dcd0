"""``om.runtime``: running models on workers chosen by label, or in this process."""
