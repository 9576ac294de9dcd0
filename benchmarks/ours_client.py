"""The probe of our own SDK. The environment decides which mesh it uses: a running one, or an embedded one."""

import os
import time
from typing import Any

from answering import answer_questions
from load import once
from ours import Access, predict_request
from samples import mixed_frame, models
from stats import percentile

import omegamesh as om

_FRAMES: list[Any] = []  # the frame is made when it is first needed: most probes never need it


def put_models() -> None:
    """Store both models under their names."""
    for name, model in models().items():
        om.models.put(model, name)


def round_trip(path: str) -> dict[str, float]:
    """Put the frame and get it back (`path` is the file peer's); gives seconds for each."""
    if not _FRAMES:
        _FRAMES.append(mixed_frame())
    began = time.perf_counter()
    om.datasets.put(_FRAMES[0], "bench-frame", append=False)
    put = time.perf_counter()
    rows = len(om.datasets.get("bench-frame"))
    got = time.perf_counter()
    if rows != len(_FRAMES[0]):
        raise SystemExit(f"bench-frame holds {rows} rows")
    return {"put_s": put - began, "get_s": got - put}


def round_trips(count: int) -> dict[str, float]:
    """Submit a task and wait for it, one after the other; gives p50 and p99 in milliseconds."""
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        om.runtime.task("noop").get(timeout=60)
        taken.append((time.perf_counter() - began) * 1e3)
    return {"p50_ms": percentile(taken, 50), "p99_ms": percentile(taken, 99)}


def burst(count: int) -> dict[str, float]:
    """Submit `count` tasks without waiting, then wait for all; gives tasks/s from first submit to last result."""
    began = time.perf_counter()
    om.runtime.gather(om.runtime.tasks([{"action": "noop"}] * count), timeout=120)
    return {"per_s": count / (time.perf_counter() - began)}


def first_answer(name: str) -> dict[str, float]:
    """Put a model under a new name and predict with it over REST; gives milliseconds from the put to the answer."""
    model = models()["lr"]
    access = Access(os.environ["OMEGA_URL"], os.environ["OMEGA_USERID"], os.environ["OMEGA_APIKEY"])
    began = time.perf_counter()
    om.models.put(model, name)
    once(predict_request(access, name))
    return {"ms": (time.perf_counter() - began) * 1e3}


if __name__ == "__main__":
    answer_questions(
        {
            "put_models": put_models,
            "round_trip": round_trip,
            "round_trips": round_trips,
            "burst": burst,
            "first_answer": first_answer,
        }
    )
