"""Metrics of one service, in a registry of its own: several services can share a process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The registry of a service, and the figures that every service has."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.registry = CollectorRegistry()
        self.rpc_seconds = self.histogram("omega_rpc_seconds", "Time to answer a bus request.", ("subject", "code"))
        self.up = self.gauge("omega_up", "1 while the service is ready.")

    def counter(self, name: str, help_text: str, labels: tuple[str, ...] = ()) -> Counter:
        """Make a counter in this registry."""
        return Counter(name, help_text, labels, registry=self.registry)

    def gauge(self, name: str, help_text: str, labels: tuple[str, ...] = ()) -> Gauge:
        """Make a gauge in this registry."""
        return Gauge(name, help_text, labels, registry=self.registry)

    def histogram(self, name: str, help_text: str, labels: tuple[str, ...] = ()) -> Histogram:
        """Make a histogram of seconds in this registry."""
        return Histogram(name, help_text, labels, buckets=_SECONDS, registry=self.registry)

    @contextmanager
    def timed(self, histogram: Histogram, *labels: str) -> Iterator[None]:
        """Observe how long the block took."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            (histogram.labels(*labels) if labels else histogram).observe(time.perf_counter() - begin)

    def render(self) -> bytes:
        """Give all figures in the Prometheus text format."""
        return generate_latest(self.registry)
