"""Run blobstore as a process: ``python -m omega_blobstore``."""

from omega_blobstore.app import create
from omega_blobstore.settings import BlobstoreSettings
from omegakit.server import run_service

if __name__ == "__main__":
    run_service(create, BlobstoreSettings(), "blobstore")
