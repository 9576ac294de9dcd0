"""What the routes work with: the parts of one gateway, made by ``app.py``."""

from __future__ import annotations

from dataclasses import dataclass

from omega_gateway.auth import Authenticator
from omega_gateway.predict import Predictor
from omega_gateway.relay import Blobstore
from omega_gateway.settings import GatewayOptions
from omega_gateway.waiting import TaskWaiters
from omegakit.bus import Bus
from omegakit.tokens import Tokens


@dataclass(frozen=True, slots=True)
class Parts:
    """One gateway's parts."""

    options: GatewayOptions
    bus: Bus
    tokens: Tokens
    keys: Authenticator
    blobstore: Blobstore
    predictor: Predictor
    waiters: TaskWaiters
