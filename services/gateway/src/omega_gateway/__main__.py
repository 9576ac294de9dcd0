"""Run the gateway as a process: ``python -m omega_gateway``."""

from omegakit.server import run_service

from omega_gateway.app import create
from omega_gateway.settings import GatewaySettings

if __name__ == "__main__":
    run_service(create, GatewaySettings(), "gateway")
