"""What stands in RabbitMQ: names of queues and exchanges, and the arguments that bound them. Pure."""

from __future__ import annotations

from typing import Any

from omegakit.bus.wire import DELIVERY_LIMIT, Limits

REPLY_TO = "amq.rabbitmq.reply-to"
"""RabbitMQ's direct reply-to: replies go straight to the caller's channel, through no queue."""

EVENTS = "omega.events"
"""The topic exchange of events; the routing key is the subject."""

DEAD = "omega.dead"
"""The direct exchange that dead doorbells go through; the routing key is the label."""

_UNUSED_MS = 2_000


def request_queue(name: str) -> str:
    """Give the name of the queue of an address."""
    return f"omega.rpc.{name}"


def label_queue(label: str) -> str:
    """Give the name of the queue of a label's doorbells."""
    return f"omega.ring.{label}"


def dead_queue(label: str) -> str:
    """Give the name of the queue of a label's dead doorbells."""
    return f"omega.dead.{label}"


def request_arguments(limits: Limits) -> dict[str, Any]:
    """Give the arguments of a request queue.

    It outlives its consumers by two seconds, so that a service that lost its connection finds its requests again and
    tells their callers; then it goes, so that callers of a service that died learn that nobody serves.
    """
    return {"x-max-length": limits.requests, "x-overflow": "reject-publish", "x-expires": _UNUSED_MS}


def label_arguments(label: str, limits: Limits) -> dict[str, Any]:
    """Give the arguments of a label's queue. RabbitMQ counts redeliveries, so its limit is one less than ours."""
    return {
        "x-queue-type": "quorum",
        "x-max-length": limits.doorbells,
        "x-overflow": "reject-publish",
        "x-delivery-limit": DELIVERY_LIMIT - 1,
        "x-dead-letter-exchange": DEAD,
        "x-dead-letter-routing-key": label,
        "x-dead-letter-strategy": "at-least-once",
    }


def dead_arguments() -> dict[str, Any]:
    """Give the arguments of a queue of dead doorbells. Unbounded: a dead doorbell must find a place."""
    return {"x-queue-type": "quorum"}


def event_arguments(limits: Limits) -> dict[str, Any]:
    """Give the arguments of a listener's queue: when it lags behind, the oldest events are lost."""
    return {"x-max-length": limits.events, "x-overflow": "drop-head"}
