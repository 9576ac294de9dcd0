"""The durable peer: a Celery task that does nothing, on quorum queues, with publisher confirms and late acks.

`celery_noop.py worker` runs the worker (prefork), `celery_noop.py client` is the probe that submits and waits.
The broker comes from BENCH_AMQP_URL. Results come back over `rpc://`, the backend that is pushed and never polls.
"""

import os
import sys
import time

from answering import answer_questions
from celery import Celery
from stats import percentile

app = Celery("bench", broker=os.environ["BENCH_AMQP_URL"], backend="rpc://")
app.conf.update(
    task_default_queue="bench-celery-noop",
    task_default_queue_type="quorum",
    task_acks_late=True,
    broker_transport_options={"confirm_publish": True},
    task_default_delivery_mode="persistent",
    broker_connection_retry_on_startup=True,
    worker_send_task_events=False,
    task_store_errors_even_if_ignored=False,
)


@app.task(name="noop")
def noop() -> None:
    """Do nothing."""


def round_trips(count: int) -> dict[str, float]:
    """Submit and wait, one after the other; gives p50 and p99 in milliseconds."""
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        noop.delay().get(timeout=60)
        taken.append((time.perf_counter() - began) * 1e3)
    return {"p50_ms": percentile(taken, 50), "p99_ms": percentile(taken, 99)}


def burst(count: int) -> dict[str, float]:
    """Submit `count` tasks without waiting, then wait for all; gives tasks/s from first submit to last result."""
    began = time.perf_counter()
    for promise in [noop.delay() for _ in range(count)]:
        promise.get(timeout=120)
    return {"per_s": count / (time.perf_counter() - began)}


if __name__ == "__main__":
    if sys.argv[1] == "worker":
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=INFO"]
        app.worker_main(["worker", "--pool=prefork", "--concurrency=2", *quiet])
    else:
        answer_questions({"round_trips": round_trips, "burst": burst})
