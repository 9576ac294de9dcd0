"""REST predict of one row: ours through gateway, RabbitMQ and worker, authenticated, beside bare FastAPI and KServe."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from load import Load, LoadFailed, Request, drive, once
from processes import peer_python, python_server
from samples import LABEL, ROW, dump_models
from stats import Goal, Section, figure, median

CLIENTS = (1, 16, 64)
MODELS = {"lr": "logistic regression", "rf": "forest of 200 trees"}
OURS, BARE, KSERVE = "omega mesh", "bare FastAPI", "KServe V1"
_WARM_UP_CLIENTS = 16

Figures = dict[tuple[str, str, int], Load]  # by system, model, clients: medians over the rounds


@dataclass(frozen=True)
class Target:
    """A running system: how to ask it for one row, and where in its answer the label is."""

    name: str
    request: Callable[[str], Request]
    label: Callable[[Any], Any]

    def check(self, model: str) -> None:
        """Raise LoadFailed unless the system predicts the known label: a fast wrong answer is no figure."""
        answer = once(self.request(model))
        if self.label(answer) != LABEL:
            raise LoadFailed(f"{self.name} predicted {answer} for {ROW}; the label is {LABEL}.")


@contextmanager
def peers() -> Iterator[list[Target]]:
    """Run both peers on the two models, each one process on a free port."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="omega-bench-models-")))
        dump_models(folder)
        yield [_bare_fastapi(stack, folder), _kserve(stack, folder)]


def measure(targets: list[Target], *, rounds: int, seconds: float) -> Section:
    """Give the table and the goals; the systems take turns within each round."""
    figures = {
        (target.name, model, clients): load
        for model in MODELS
        for clients in CLIENTS
        for target, load in _take_turns(targets, model, clients, rounds, seconds)
    }
    section = Section("Predict over REST, one row, requests/s (p50/p99 ms)", ["system", *_columns()])
    section.rows = [[target.name, *_cells(figures, target.name)] for target in targets]
    if any(target.name == OURS for target in targets):
        section.goals = goals(figures)
    return section


def goals(figures: Mapping[tuple[str, str, int], Load]) -> list[Goal]:
    """Give the goals on the measured figures of all three systems."""

    def ratio(peer: str, model: str, clients: int) -> float:
        return figures[OURS, model, clients].requests_per_s / figures[peer, model, clients].requests_per_s

    slower = figures[OURS, "lr", 64].p99_ms / figures[KSERVE, "lr", 64].p99_ms
    return [
        Goal("regression, 16 clients, over KServe V1", ratio(KSERVE, "lr", 16), 1.8),
        Goal("regression, 64 clients, over KServe V1", ratio(KSERVE, "lr", 64), 2.5),
        Goal("regression, 64 clients, p99 over KServe V1's", slower, 1.0, at_most=True),
        Goal("forest, 64 clients, over bare FastAPI", ratio(BARE, "rf", 64), 15),
    ]


def _take_turns(
    targets: list[Target], model: str, clients: int, rounds: int, seconds: float
) -> list[tuple[Target, Load]]:
    for target in targets:
        target.check(model)
        drive(target.request(model), clients=_WARM_UP_CLIENTS, seconds=1)
    taken: dict[str, list[Load]] = {target.name: [] for target in targets}
    for _ in range(rounds):
        for target in targets:
            taken[target.name].append(drive(target.request(model), clients=clients, seconds=seconds))
    return [(target, _median(taken[target.name])) for target in targets]


def _median(loads: list[Load]) -> Load:
    return Load(
        median([load.requests_per_s for load in loads]),
        median([load.p50_ms for load in loads]),
        median([load.p99_ms for load in loads]),
    )


def _columns() -> list[str]:
    return [f"{model.upper()} c{clients}" for model in MODELS for clients in CLIENTS]


def _cells(figures: Figures, system: str) -> list[str]:
    loads = [figures[system, model, clients] for model in MODELS for clients in CLIENTS]
    return [f"{figure(load.requests_per_s)} ({figure(load.p50_ms)}/{figure(load.p99_ms)})" for load in loads]


def _bare_fastapi(stack: ExitStack, models: Path) -> Target:
    server, url = python_server(sys.executable, "peers/bare_fastapi.py", "--models", str(models), ready="/ready")
    stack.enter_context(server)
    return Target(BARE, lambda model: Request(f"{url}/predict/{model}", {"data": [ROW]}), _first_prediction)


def _kserve(stack: ExitStack, models: Path) -> Target:
    python = peer_python("kserve")
    server, url = python_server(python, "peers/kserve_sklearn.py", "--models", str(models), ready="/v1/models")
    stack.enter_context(server)
    body = {"instances": [ROW]}
    return Target(KSERVE, lambda model: Request(f"{url}/v1/models/{model}:predict", body), _first_prediction)


def _first_prediction(answer: Any) -> Any:
    return answer["predictions"][0]
