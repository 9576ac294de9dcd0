"""The one place that chooses a Bus: by URL scheme. The AMQP client is imported only when it is chosen."""

from __future__ import annotations

from urllib.parse import urlsplit

from omegakit.bus.memory import MemoryBroker, MemoryBus
from omegakit.bus.port import Bus
from omegaproto.errors import BadRequest


def open_bus(url: str, broker: MemoryBroker | None = None) -> Bus:
    """Give the bus for a URL, not yet started: RabbitMQ's ``amqp(s)://``, or ``memory://`` in process.

    `broker` is what the buses of one process share; without one, a memory bus speaks to itself only.

    Raises:
        BadRequest: the scheme is none of these.
    """
    scheme = urlsplit(url).scheme
    if scheme == "memory":
        return MemoryBus(broker or MemoryBroker())
    if scheme in {"amqp", "amqps"}:
        from omegakit.bus.rabbitmq import RabbitBus

        return RabbitBus(url)
    raise BadRequest(f"No message bus speaks {scheme!r}.", action="Use amqp://, amqps:// or memory://.")
