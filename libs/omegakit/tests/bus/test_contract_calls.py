"""Requests and replies, on every adapter."""

import asyncio
from typing import Any

import pytest
import structlog

from omegakit.bus import Call
from omegakit.bus.wire import MAX_NAME_BYTES, Limits
from omegaproto.errors import (
    BadBody,
    BadRequest,
    CallTimeout,
    ObjectNotFound,
    OmegaError,
    Overloaded,
    TooLarge,
    Unavailable,
)
from omegaproto.messages import MAX_MESSAGE_BYTES, Empty, Message, Request


class Sum(Message):
    total: int
    pad: str = ""


class Add(Request[Sum], subject="test.add", operation="test"):
    a: int
    b: int


class AddText(Request[Sum]):
    """What a caller with another idea of the message sends."""

    subject = "test.add"
    a: str


class Wait(Request[Empty], subject="test.wait", operation="test"):
    """Asks for a reply that comes when the test says so."""


class Enlarge(Request[Sum], subject="test.enlarge", operation="test"):
    size: int
    pad: str = ""


def add(a: int = 1, b: int = 2) -> Add:
    return Add(bucket="sales", a=a, b=b)


async def adding(request: Add, call: Call) -> Sum:
    return Sum(total=request.a + request.b)


class Gate:
    """A handler that answers when the test opens the gate."""

    def __init__(self) -> None:
        self.entered = asyncio.Semaphore(0)
        self.open = asyncio.Event()
        self.running = self.most = self.ended = 0

    async def __call__(self, request: Wait, call: Call) -> Empty:
        self.running += 1
        self.most = max(self.most, self.running)
        self.entered.release()
        try:
            await self.open.wait()
            self.ended += 1
        finally:
            self.running -= 1
        return Empty()

    async def has_entered(self, times: int = 1) -> None:
        async with asyncio.timeout(10):
            for _ in range(times):
                await self.entered.acquire()


async def test_a_call_gets_the_typed_reply(home: Any) -> None:
    server, caller = await home.bus(), await home.bus()
    await server.serve(Add, adding)
    reply = await caller.call(add(2, 3), token="t")
    assert type(reply) is Sum
    assert reply.total == 5


async def test_a_service_may_call_itself(home: Any) -> None:
    bus = await home.bus()
    await bus.serve(Add, adding)
    assert (await bus.call(add(), token="t")).total == 3


async def test_the_context_travels(home: Any) -> None:
    server, caller, seen = await home.bus(), await home.bus(), []

    async def inner(request: Wait, call: Call) -> Empty:
        seen.append((call, structlog.contextvars.get_contextvars()))
        return Empty()

    async def outer(request: Add, call: Call) -> Sum:
        seen.append((call, structlog.contextvars.get_contextvars()))
        await server.call(Wait(bucket="sales"), token="second")
        return Sum(total=0)

    await server.serve(Add, outer)
    await server.serve(Wait, inner)
    with structlog.contextvars.bound_contextvars(request_id="r1", task_id="t1", other="stays here"):
        await caller.call(add(), token="first")
    assert seen == [
        (Call("first", "r1", "t1"), {"request_id": "r1", "task_id": "t1"}),
        (Call("second", "r1", "t1"), {"request_id": "r1", "task_id": "t1"}),
    ]


async def test_a_call_without_context_gets_a_request_id(home: Any) -> None:
    bus, seen = await home.bus(), []

    async def handler(request: Add, call: Call) -> Sum:
        seen.append(call)
        return Sum(total=0)

    await bus.serve(Add, handler)
    await bus.call(add(), token="t")
    await bus.call(add(), token="t")
    first, second = seen
    assert first.request_id != second.request_id
    assert len(first.request_id) == 32
    assert first.task_id is None


async def test_an_error_comes_out_as_its_type(home: Any) -> None:
    bus = await home.bus()

    async def handler(request: Add, call: Call) -> Sum:
        raise ObjectNotFound("No object iris.", action="List the objects.", name="iris")

    await bus.serve(Add, handler)
    with pytest.raises(ObjectNotFound, match=r"No object iris\. List the objects\.") as caught:
        await bus.call(add(), token="t")
    assert caught.value.details == {"name": "iris"}


async def test_details_that_are_too_large_stay_behind(home: Any) -> None:
    bus = await home.bus()

    async def handler(request: Add, call: Call) -> Sum:
        raise ObjectNotFound("No object.", names=["x" * 1000] * 1000, odd=object())

    await bus.serve(Add, handler)
    with pytest.raises(ObjectNotFound, match="No object") as caught:
        await bus.call(add(), token="t")
    assert caught.value.details == {}


async def test_an_unexpected_exception_shows_nothing_of_its_inside(home: Any, logs: list[Any]) -> None:
    bus = await home.bus()

    async def handler(request: Add, call: Call) -> Sum:
        raise KeyError("the secret name")

    await bus.serve(Add, handler)
    with pytest.raises(OmegaError, match="internal error") as caught:
        await bus.call(add(), token="t")
    error = caught.value
    assert type(error) is OmegaError
    assert "secret" not in str(error.info())
    (entry,) = logs
    assert entry["error_id"] == error.details["error_id"]
    assert entry["exc_info"]


async def test_a_body_that_does_not_fit_is_the_callers_fault(home: Any) -> None:
    bus = await home.bus()
    await bus.serve(Add, adding)
    with pytest.raises(BadBody, match="a: Input should be a valid integer") as caught:
        await bus.call(AddText(bucket="sales", a="secret"), token="t")
    assert "secret" not in str(caught.value)


async def test_a_reply_that_cannot_be_understood_is_an_error(home: Any) -> None:
    bus = await home.bus()

    async def handler(request: Add, call: Call) -> Empty:
        return Empty()

    await bus.serve(Add, handler)
    with pytest.raises(OmegaError, match="reply cannot be understood"):
        await bus.call(add(), token="t")


async def test_a_late_reply_is_a_timeout(home: Any) -> None:
    bus, gate = await home.bus(), Gate()
    await bus.serve(Wait, gate)
    with pytest.raises(CallTimeout, match=r"within 0\.05 s"):
        await bus.call(Wait(bucket="sales"), token="t", timeout=0.05)
    gate.open.set()
    await bus.call(Wait(bucket="sales"), token="t")


async def test_a_caller_that_gives_up_harms_nobody(home: Any) -> None:
    bus, gate = await home.bus(), Gate()
    await bus.serve(Wait, gate)
    calling = asyncio.create_task(bus.call(Wait(bucket="sales"), token="t"))
    await gate.has_entered()
    calling.cancel()
    await asyncio.gather(calling, return_exceptions=True)
    gate.open.set()
    await bus.call(Wait(bucket="sales"), token="t")
    assert calling.cancelled()


async def test_a_call_that_nobody_serves_fails_at_once(home: Any) -> None:
    bus = await home.bus()
    with pytest.raises(Unavailable, match=r"No service answers test\.add"):
        await asyncio.wait_for(bus.call(add(), token="t"), 5)


async def test_a_service_that_left_is_not_served(home: Any) -> None:
    server, caller = await home.bus(), await home.bus()
    subscription = await server.serve(Add, adding)
    await caller.call(add(), token="t")
    await subscription.cancel()
    with pytest.raises(Unavailable, match="No service answers"):
        await caller.call(add(), token="t")


async def test_routes_are_apart(home: Any) -> None:
    bus = await home.bus()

    def tenfold(factor: int) -> Any:
        async def handler(request: Add, call: Call) -> Sum:
            return Sum(total=factor)

        return handler

    await bus.serve(Add, tenfold(10), route="cpu")
    await bus.serve(Add, tenfold(20), route="gpu")
    assert (await bus.call(add(), token="t", route="cpu")).total == 10
    assert (await bus.call(add(), token="t", route="gpu")).total == 20
    with pytest.raises(Unavailable):
        await bus.call(add(), token="t", route="tpu")
    with pytest.raises(Unavailable):
        await bus.call(add(), token="t")


async def test_a_route_that_is_too_long_is_refused(home: Any) -> None:
    bus = await home.bus()
    with pytest.raises(BadRequest, match="200 bytes"):
        await bus.call(add(), token="t", route="x" * MAX_NAME_BYTES)


async def test_replicas_share_the_load(home: Any) -> None:
    first, second, caller = await home.bus(), await home.bus(), await home.bus()
    gates = Gate(), Gate()
    await first.serve(Wait, gates[0], prefetch=5)
    await second.serve(Wait, gates[1], prefetch=5)
    calls = [asyncio.create_task(caller.call(Wait(bucket="b"), token="t")) for _ in range(10)]
    for gate in gates:
        await gate.has_entered(5)
        gate.open.set()
    await asyncio.gather(*calls)
    assert [gate.ended for gate in gates] == [5, 5]


async def test_no_more_than_prefetch_run_at_once(home: Any) -> None:
    bus, gate = await home.bus(), Gate()
    await bus.serve(Wait, gate, prefetch=3)
    calls = [asyncio.create_task(bus.call(Wait(bucket="b"), token="t")) for _ in range(10)]
    await gate.has_entered(3)
    gate.open.set()
    await asyncio.gather(*calls)
    assert gate.most == 3


async def test_a_thousand_calls_are_in_flight_at_once(home: Any) -> None:
    server, caller = await home.bus(), await home.bus()
    gate = Gate()
    await server.serve(Wait, gate, prefetch=1000)
    calls = [asyncio.create_task(caller.call(Wait(bucket="b"), token="t")) for _ in range(1000)]
    await gate.has_entered(1000)
    gate.open.set()
    await asyncio.gather(*calls)
    assert gate.most == 1000


async def test_each_of_a_thousand_calls_gets_its_own_reply(home: Any) -> None:
    server, caller = await home.bus(), await home.bus()
    await server.serve(Add, adding)
    replies = await asyncio.gather(*(caller.call(add(n, n), token="t") for n in range(1000)))
    assert [reply.total for reply in replies] == [2 * n for n in range(1000)]


async def test_a_cancelled_service_ends_what_runs(home: Any) -> None:
    server, caller, gate = await home.bus(), await home.bus(), Gate()
    subscription = await server.serve(Wait, gate)
    calling = asyncio.create_task(caller.call(Wait(bucket="b"), token="t"))
    await gate.has_entered()
    cancelling = asyncio.create_task(subscription.cancel())
    gate.open.set()
    await cancelling
    assert gate.ended == 1
    assert await calling == Empty()


@pytest.mark.parametrize("size", [0, 100_000, 131_072, 200_000])
async def test_large_messages_arrive_whole(home: Any, size: int) -> None:
    bus = await home.bus()

    async def handler(request: Enlarge, call: Call) -> Sum:
        return Sum(total=len(request.pad), pad="y" * request.size)

    await bus.serve(Enlarge, handler)
    reply = await bus.call(Enlarge(bucket="b", size=size, pad="x" * size), token="t")
    assert (reply.total, reply.pad) == (size, "y" * size)


async def test_a_message_over_the_limit_is_refused(home: Any) -> None:
    bus = await home.bus()

    async def handler(request: Enlarge, call: Call) -> Sum:
        return Sum(total=0, pad="y" * request.size)

    await bus.serve(Enlarge, handler)
    with pytest.raises(TooLarge, match="Enlarge takes"):
        await bus.call(Enlarge(bucket="b", size=0, pad="x" * MAX_MESSAGE_BYTES), token="t")
    with pytest.raises(TooLarge, match="Sum takes") as caught:
        await bus.call(Enlarge(bucket="b", size=MAX_MESSAGE_BYTES), token="t")
    assert caught.value.details == {"limit": MAX_MESSAGE_BYTES}


class TestSmallQueues:
    @pytest.fixture
    def limits(self) -> Limits:
        return Limits(requests=2)

    async def test_a_full_queue_refuses(self, home: Any) -> None:
        bus, gate = await home.bus(), Gate()
        await bus.serve(Wait, gate, prefetch=1)
        first = asyncio.create_task(bus.call(Wait(bucket="b"), token="t"))
        await gate.has_entered()
        calls = [asyncio.create_task(bus.call(Wait(bucket="b"), token="t")) for _ in range(5)]
        refused, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED, timeout=10)
        while len(refused) < 3:
            more, _ = await asyncio.wait(set(calls) - refused, return_when=asyncio.FIRST_COMPLETED, timeout=10)
            refused |= more
        for call in refused:
            with pytest.raises(Overloaded, match=r"queue of test\.wait is full"):
                await call
        gate.open.set()
        await asyncio.gather(first, *(set(calls) - refused))
        assert gate.ended == 3

    async def test_calls_that_gave_up_make_room(self, home: Any) -> None:
        bus, gate = await home.bus(), Gate()
        await bus.serve(Wait, gate, prefetch=1)
        first = asyncio.create_task(bus.call(Wait(bucket="b"), token="t"))
        await gate.has_entered()
        for _ in range(2):
            with pytest.raises(CallTimeout):
                await bus.call(Wait(bucket="b"), token="t", timeout=0.05)
        waiting = asyncio.create_task(bus.call(Wait(bucket="b"), token="t"))
        gate.open.set()
        await asyncio.gather(first, waiting)
        assert gate.ended == 2


async def test_a_closed_bus_fails_its_open_calls(home: Any) -> None:
    server, caller, gate = await home.bus(), await home.bus(), Gate()
    await server.serve(Wait, gate)
    calling = asyncio.create_task(caller.call(Wait(bucket="b"), token="t"))
    await gate.has_entered()
    await caller.close()
    with pytest.raises(Unavailable, match="closed"):
        await calling
    with pytest.raises(Unavailable):
        await caller.call(Wait(bucket="b"), token="t")
    assert not caller.connected
    assert server.connected


async def test_a_service_that_dies_fails_the_calls_that_it_took(home: Any) -> None:
    server, caller, gate = await home.bus(), await home.bus(), Gate()
    await server.serve(Wait, gate, prefetch=1)
    calling = asyncio.create_task(caller.call(Wait(bucket="b"), token="t"))
    await gate.has_entered()
    await server.close()
    with pytest.raises(Unavailable, match="went away"):
        await calling
    assert gate.ended == 0


async def test_a_bus_that_is_not_started_is_unavailable(home: Any) -> None:
    bus = await home.bus()
    await bus.close()
    for attempt in (bus.serve(Add, adding), bus.call(add(), token="t"), bus.ring([]), bus.dead_letters("cpu")):
        with pytest.raises(Unavailable):
            await attempt
