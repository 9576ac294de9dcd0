"""Run the scheduler as a process: ``python -m omega_scheduler``."""

from omega_scheduler.app import create
from omega_scheduler.settings import SchedulerSettings
from omegakit.server import run_service

if __name__ == "__main__":
    run_service(create, SchedulerSettings(), "scheduler")
