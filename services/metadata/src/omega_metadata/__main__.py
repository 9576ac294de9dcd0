"""Run metadata as a process: ``python -m omega_metadata``."""

from omegakit.server import run_service

from omega_metadata.app import create
from omega_metadata.settings import MetadataSettings

if __name__ == "__main__":
    run_service(create, MetadataSettings(), "metadata")
