"""kill -9 of every part during submits and puts: what was acknowledged holds, and nothing is recorded twice."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pandas as pd
import pytest
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from omegamesh.client import Omega
from omegaproto.errors import CallTimeout, OmegaError, Overloaded, Unavailable
from omegaproto.tasks import TERMINAL, TaskState

PARTS = ("worker", "scheduler", "gateway", "metadata", "blobstore", "rabbit", "mongo")
TASKS, FITS, BATCH = 2000, 20, 20
FRAME = pd.DataFrame({"x": range(20), "y": [0, 1] * 10})
PATIENCE_SECONDS = 480.0


def persistently(call: Callable[[], Any], stop: float) -> Any:
    """Repeat a call until it is answered, as a user's retry loop would."""
    while True:
        try:
            return call()
        except (Unavailable, CallTimeout, Overloaded):
            assert time.monotonic() < stop, "not answered in time"
            time.sleep(0.2)
        except OmegaError as error:
            if error.code != "internal" or time.monotonic() > stop:
                raise
            time.sleep(0.2)


@pytest.mark.timeout(600)
def test_two_thousand_tasks_survive_kill_9_of_everything(victim: Any, capsys: pytest.CaptureFixture[str]) -> None:
    om = victim.client("kills")
    stop = time.monotonic() + PATIENCE_SECONDS
    om.datasets.put(FRAME, "d")
    for number in range(FITS):
        om.models.put(LogisticRegression(), f"m{number}")
    ended = threading.Event()
    puts: list[int] = []

    def keep_putting() -> None:
        number = 0
        while not ended.is_set():
            persistently(lambda n=number: put_number(om, n), stop)
            puts.append(number)
            number += 1
            ended.wait(0.05)

    with ThreadPoolExecutor(6) as pool:
        putting = pool.submit(keep_putting)
        submitted = [pool.submit(submit_batch, om, start, stop) for start in range(0, TASKS, BATCH)]
        fits = pool.submit(submit_fits, om, stop)
        for part in PARTS:
            victim.kill_and_restart(part)
        acknowledged = [task_id for future in submitted for task_id in future.result()] + fits.result()
        ended.set()
        putting.result()

    tasks = wait_for_all(om, acknowledged, stop)
    lost = [task_id for task_id in acknowledged if task_id not in tasks]
    states = [tasks[task_id].state for task_id in acknowledged if task_id in tasks]
    twice = [number for number in range(FITS) if len(om.models.revisions(f"m{number}")) != 2]
    missing = [number for number in puts if om.datasets.get(f"p{number}") != [{"n": number}]]
    with capsys.disabled():
        print(
            f"\nkilled {len(PARTS)} parts: {len(acknowledged)} tasks acknowledged, {len(lost)} lost, "
            f"{len(twice)} fits recorded twice or not, {len(puts)} puts acknowledged, {len(missing)} lost"
        )
    assert len(set(acknowledged)) == TASKS + FITS
    assert not lost
    assert set(states) == {TaskState.succeeded}
    assert not twice
    assert not missing
    om.close()


def put_number(om: Omega, number: int) -> None:
    om.datasets.put({"n": number}, f"p{number}", append=False, idempotency_key=f"p{number}")


def submit_batch(om: Omega, start: int, stop: float) -> list[str]:
    """Submit tasks with idempotency keys, again and again until they are acknowledged; a repetition changes nothing."""
    specs = [{"action": "noop", "idempotency_key": f"noop-{number}"} for number in range(start, start + BATCH)]
    first = [promise.id for promise in persistently(lambda: om.runtime.tasks(specs), stop)]
    again = [promise.id for promise in persistently(lambda: om.runtime.tasks(specs), stop)]
    assert first == again
    return first


def submit_fits(om: Omega, stop: float) -> list[str]:
    specs = [
        {
            "action": "model.fit",
            "target": f"m{number}",
            "inputs": {"X": "d[x]", "Y": "d[y]"},
            "idempotency_key": f"fit-{number}",
        }
        for number in range(FITS)
    ]
    return [persistently(lambda spec=spec: om.runtime.tasks([spec]), stop)[0].id for spec in specs]


def wait_for_all(om: Omega, task_ids: list[str], stop: float) -> dict[str, Any]:
    """Give every task once all have ended."""
    open_ids, found = set(task_ids), {}
    while open_ids:
        assert time.monotonic() < stop, f"{len(open_ids)} tasks did not end"
        some = sorted(open_ids)[:500]
        for task in persistently(lambda some=some: om.runtime._api.fetch_ended(some, wait=5), stop):
            if task.state in TERMINAL:
                found[task.id] = task
                open_ids.discard(task.id)
    return found


@pytest.mark.timeout(300)
def test_a_worker_killed_in_the_middle_of_a_fit_fits_once_more(victim: Any) -> None:
    om = victim.client("fit")
    frame = pd.DataFrame({f"x{n}": [(n * row) % 97 for row in range(4000)] for n in range(10)})
    frame["y"] = [row % 3 for row in range(4000)]
    om.datasets.put(frame, "d")
    om.models.put(GradientBoostingClassifier(n_estimators=60), "slow")
    promise = om.runtime.model("slow").fit("d[^y]", "d[y]")
    while promise.status == "PENDING":
        time.sleep(0.05)
    victim.kill_and_restart("worker")
    text = promise.get(timeout=120)
    assert text.startswith("<Metadata")
    assert promise.task.attempt == 2
    assert len(om.models.revisions("slow")) == 2
    om.close()
