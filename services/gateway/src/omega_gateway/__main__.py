"""Run the gateway as a process: ``python -m omega_gateway``."""

from omega_gateway.app import create
from omega_gateway.settings import GatewaySettings
from omegakit.server import run_service

if __name__ == "__main__":
    run_service(create, GatewaySettings(), "gateway")
