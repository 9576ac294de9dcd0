"""Run metadata as a process: ``python -m omega_metadata``."""

from omega_metadata.app import create
from omega_metadata.settings import MetadataSettings
from omegakit.server import run_service

if __name__ == "__main__":
    run_service(create, MetadataSettings(), "metadata")
