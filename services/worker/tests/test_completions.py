"""Completions: asked about again while the scheduler does not know the task, and given up in time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from datetime import timedelta

import pytest
import pytest_asyncio
from pydantic import SecretStr

from omega_worker.completions import GRACE, Completer
from omegakit.bus.memory import MemoryBroker, MemoryBus
from omegakit.clock import Clock
from omegakit.service import Kit, make_kit
from omegakit.settings import AuthSettings, ServiceSettings
from omegaproto.errors import Unavailable
from omegaproto.scopes import Principal
from omegaproto.tasks import CompleteTasks, Completion, CompletionResult, CompletionResults, Lease, TaskState


class Answers:
    """A scheduler whose next answers are given: a state, None for a task that it does not know, or no answer."""

    def __init__(self) -> None:
        self.next: list[TaskState | type[Exception] | None] = []
        self.asked: list[list[str]] = []

    async def complete(self, request: CompleteTasks, _caller: Principal) -> CompletionResults:
        self.asked.append([completion.task_id for completion in request.completions])
        answer = self.next.pop(0) if self.next else None
        if isinstance(answer, type):
            raise answer("not now")
        return CompletionResults(items=tuple(_result(completion, answer) for completion in request.completions))


def _result(completion: Completion, state: TaskState | None) -> CompletionResult:
    return CompletionResult(task_id=completion.task_id, recorded=state is not None, state=state)


@pytest_asyncio.fixture
async def kit() -> AsyncIterator[Kit]:
    bus = MemoryBus(MemoryBroker())
    await bus.start()
    yield make_kit("worker", ServiceSettings(auth=AuthSettings(secret=SecretStr("s" * 40))), bus)
    await bus.close()


@pytest_asyncio.fixture
async def scheduler(kit: Kit) -> AsyncIterator[Answers]:
    answers, rpc = Answers(), kit.rpc()
    await rpc.serve(CompleteTasks, answers.complete)
    yield answers
    await rpc.stop()


def ended(clock: Clock, *, lease_for: timedelta = timedelta(minutes=1)) -> tuple[Completion, Lease]:
    completion = Completion(task_id="task", token="lease", outcome="succeeded")
    return completion, Lease(task_id="task", token="lease", expires_at=clock.now() + lease_for)


def completer(kit: Kit, held: Iterable[str] = ("task",)) -> Completer:
    return Completer(kit, "worker-1", still_held=lambda task_id: task_id in held)


async def test_a_task_that_is_stored_late_is_asked_about_until_it_is_known(kit: Kit, scheduler: Answers) -> None:
    scheduler.next = [None, None, TaskState.succeeded]
    assert await completer(kit).record(*ended(kit.clock)) is True
    assert scheduler.asked == [["task"]] * 3


async def test_a_task_that_nobody_ever_stored_does_not_count(kit: Kit, scheduler: Answers) -> None:
    assert await completer(kit).record(*ended(kit.clock)) is False
    assert len(scheduler.asked) == 6


async def test_a_scheduler_that_cannot_answer_is_asked_again(kit: Kit, scheduler: Answers) -> None:
    scheduler.next = [Unavailable, Unavailable, TaskState.succeeded]
    assert await completer(kit).record(*ended(kit.clock)) is True
    assert len(scheduler.asked) == 3


@pytest.mark.parametrize("gone", ["lease", "holder", "worker"])
async def test_nothing_is_sent_for_a_lease_that_is_over(kit: Kit, scheduler: Answers, gone: str) -> None:
    made = completer(kit, held=() if gone == "holder" else ("task",))
    if gone == "worker":
        await made.stop()
    over = ended(kit.clock, lease_for=-GRACE) if gone == "lease" else ended(kit.clock)
    assert await made.record(*over) is False
    assert scheduler.asked == []
