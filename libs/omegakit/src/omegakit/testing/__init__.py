"""What tests stand on: real servers, a faulty network and leak checks. Not imported by any service.

The package needs pytest and pymongo beside omegakit (the `dev` extra has both). `omegakit.testing.plugin` is the pytest
plugin; `servers` and `proxy` are usable without pytest, from benchmarks and kill scripts.
"""
