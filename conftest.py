"""Every test of the repository may use the fixtures of `omegakit.testing.plugin`."""

pytest_plugins = ["omegakit.testing.plugin"]
