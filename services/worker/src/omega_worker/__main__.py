"""Run the worker as a process: ``python -m omega_worker``."""

from omega_worker.app import create
from omega_worker.child.limits import hide_from_children
from omega_worker.settings import WorkerSettings
from omegakit.server import run_service

if __name__ == "__main__":
    hide_from_children()
    run_service(create, WorkerSettings(), "worker")
