"""The Bus port: requests with typed replies, doorbells, events. Its adapters are `memory` and `rabbitmq`."""

from omegakit.bus.connect import open_bus
from omegakit.bus.port import Bus, Call, Handler, RingHandler, Subscription

__all__ = ["Bus", "Call", "Handler", "RingHandler", "Subscription", "open_bus"]
