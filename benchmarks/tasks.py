"""A durable task that does nothing: ours beside Celery (quorum queues, confirms, late acks) on the same RabbitMQ."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from processes import HERE, Probe, Server, peer_python
from stats import Goal, Section, figure, median

OURS, CELERY = "omega mesh", "Celery"
OUTSTANDING = 1000
_ROUND_TRIPS = 200
_WARM_UP = 50


@dataclass(frozen=True)
class Figures:
    """One system's medians over the rounds."""

    p50_ms: float
    p99_ms: float
    per_s: float


@contextmanager
def celery(amqp_url: str) -> Iterator[Probe]:
    """Run a Celery worker with two children, and give the probe that submits to it."""
    python, script = peer_python("celery"), str(HERE / "peers" / "celery_noop.py")
    broker = {"BENCH_AMQP_URL": amqp_url}
    with Server([python, script, "worker"], broker) as worker:
        worker.wait_for_log(" ready.")
        with Probe([python, script, "client"], broker) as client:
            yield client


def measure(probes: dict[str, Probe], *, rounds: int) -> Section:
    """Give the table and the goals. A probe answers `round_trips` and `burst`; the systems take turns."""
    for probe in probes.values():
        probe.ask("round_trips", count=_WARM_UP)
        probe.ask("burst", count=_WARM_UP)
    taken: dict[str, list[Figures]] = {name: [] for name in probes}
    for _ in range(rounds):
        for name, probe in probes.items():
            taken[name].append(_one_round(probe))
    return section({name: _median(figures) for name, figures in taken.items()})


def section(figures: dict[str, Figures]) -> Section:
    """Give the section for the systems' medians; goals only where ours is among them."""
    shown = Section(f"Durable no-op task, {OUTSTANDING:,} outstanding", ["system", "p50 ms", "p99 ms", "tasks/s"])
    shown.rows = [[name, figure(f.p50_ms), figure(f.p99_ms), figure(f.per_s)] for name, f in figures.items()]
    if OURS in figures:
        ours, peer = figures[OURS], figures[CELERY]
        shown.goals = [
            Goal("tasks/s over Celery's", ours.per_s / peer.per_s, 1.0),
            Goal("p50 over Celery's", ours.p50_ms / peer.p50_ms, 3.0, at_most=True),
        ]
    return shown


def _one_round(probe: Probe) -> Figures:
    alone = probe.ask("round_trips", count=_ROUND_TRIPS)
    return Figures(alone["p50_ms"], alone["p99_ms"], probe.ask("burst", count=OUTSTANDING)["per_s"])


def _median(rounds: list[Figures]) -> Figures:
    return Figures(
        median([taken.p50_ms for taken in rounds]),
        median([taken.p99_ms for taken in rounds]),
        median([taken.per_s for taken in rounds]),
    )
