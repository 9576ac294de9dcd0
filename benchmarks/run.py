"""`make bench`: every benchmark in one run, the systems side by side, medians, ratios, goals.

    run.py [--only predict|tasks|frames|start] [--rounds N] [--seconds S] [--json FILE] [--peers]

Exits 0 when every goal is met or `--peers` left ours out, 1 when one is not met, 2 when something could not run.
"""

import argparse
import json
import os
import sys
from contextlib import ExitStack
from pathlib import Path

import frames
import ours
import predict
import start
import tasks
from load import LoadFailed
from processes import ONE_THREAD, ProbeFailed
from stats import Section

from omegakit.testing.servers import MissingComponent, MongoServer, RabbitServer, ServerFailed
from omegaproto.errors import OmegaError

_PARTS = ("predict", "tasks", "frames", "start")


class Bench:
    """One run: the servers and our mesh are started when a part first needs them, and all end with the run."""

    def __init__(self, stack: ExitStack, chosen: argparse.Namespace) -> None:
        self._stack = stack
        self._chosen = chosen
        self._amqp_url: str | None = None
        self._access: ours.Access | None = None

    def section(self, part: str) -> Section:
        """Measure one part and give its section."""
        measured: Section = getattr(self, f"_{part}")()
        return measured

    def _predict(self) -> Section:
        with predict.peers() as targets:
            ranked = [*targets] if self._chosen.peers else [ours.predict_target(self._mesh()), *targets]
            return predict.measure(ranked, rounds=self._chosen.rounds, seconds=self._chosen.seconds)

    def _tasks(self) -> Section:
        with ExitStack() as stack:
            probes = {} if self._chosen.peers else {tasks.OURS: stack.enter_context(ours.client(self._mesh()))}
            probes[tasks.CELERY] = stack.enter_context(tasks.celery(self._broker()))
            return tasks.measure(probes, rounds=self._chosen.rounds)

    def _frames(self) -> Section:
        with ExitStack() as stack:
            probes = {frames.PARQUET: stack.enter_context(frames.parquet_file())}
            if not self._chosen.peers:
                probes[frames.EMBEDDED] = stack.enter_context(ours.embedded_client())
                probes[frames.MONGODB] = stack.enter_context(ours.client(self._mesh()))
            return frames.measure(probes, rounds=self._chosen.rounds)

    def _start(self) -> Section:
        with ours.client(self._mesh()) as client:
            return start.measure(client, rounds=self._chosen.rounds)

    def _broker(self) -> str:
        if self._amqp_url is None:
            given = os.environ.get("OMEGA_TEST_AMQP_URL")
            self._amqp_url = given or self._stack.enter_context(RabbitServer()).url
        return self._amqp_url

    def _mesh(self) -> ours.Access:
        if self._access is None:
            mongo = os.environ.get("OMEGA_TEST_MONGO_URL") or self._stack.enter_context(MongoServer()).url
            self._access = self._stack.enter_context(ours.mesh(mongo, self._broker()))
        return self._access


def main() -> int:
    """Run what was asked for; gives the exit status."""
    chosen = _arguments()
    os.environ.update(ONE_THREAD)  # for the processes of our mesh, which inherit it; peers get it as they start
    parts = [part for part in _PARTS if chosen.only in (None, part) and not (chosen.peers and part == "start")]
    sections = []
    try:
        with ExitStack() as stack:
            bench = Bench(stack, chosen)
            for part in parts:
                sections.append(bench.section(part))
                print(sections[-1].text(), flush=True)
    except (LoadFailed, MissingComponent, ServerFailed, ProbeFailed, OmegaError) as failure:
        print(f"benchmark could not run: {failure}", file=sys.stderr)
        return 2
    if chosen.json:
        chosen.json.write_text(json.dumps([section.as_json() for section in sections], indent=1) + "\n")
    return 0 if all(goal.met for section in sections for goal in section.goals) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Omega Mesh beside its peers, in one run.")
    parser.add_argument("--only", choices=_PARTS, help="one part instead of all")
    parser.add_argument("--rounds", type=int, default=3, help="rounds a figure is the median of (default 3)")
    parser.add_argument("--seconds", type=float, default=3, help="seconds of HTTP load a figure and round (default 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE")
    parser.add_argument("--peers", action="store_true", help="measure the peers alone, without a mesh of ours")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
