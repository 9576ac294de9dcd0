"""What the bus on RabbitMQ does when the network or the broker fails: nothing hangs, nothing confirmed is lost."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aio_pika
import pytest
import pytest_asyncio

from omegakit.bus import Bus, Call
from omegakit.bus import amqp_topology as topology
from omegakit.bus.rabbitmq import RabbitBus, reconnect_delay
from omegakit.testing.proxy import TcpProxy
from omegakit.testing.servers import RabbitServer
from omegaproto.errors import CallTimeout, OmegaError, Overloaded, Unavailable
from omegaproto.messages import Doorbell, Empty, Event, Message, Request

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("no_leaks")]

ProxyFactory = Callable[[str], Awaitable[TcpProxy]]
OpenBus = Callable[[str], Awaitable[Bus]]


class Twice(Message):
    number: int


class Double(Request[Twice], subject="test.double", operation="test"):
    number: int


class Hang(Request[Empty], subject="test.hang", operation="test"):
    """Asks for a reply that never comes."""


class Heard(Event, subject="test.heard"):
    number: int


async def doubling(request: Double, call: Call) -> Twice:
    return Twice(number=2 * request.number)


async def hanging(request: Hang, call: Call) -> Empty:
    await asyncio.Event().wait()
    return Empty()


class Reconnections:
    """Counts the reconnections of a bus."""

    def __init__(self, bus: Bus) -> None:
        self._happened = asyncio.Semaphore(0)
        bus.on_reconnect(self._happened.release)

    async def next(self) -> None:
        await asyncio.wait_for(self._happened.acquire(), 60)


class Taker:
    """Takes doorbells, each as often as it comes."""

    def __init__(self) -> None:
        self.taken: set[str] = set()
        self._arrived = asyncio.Condition()

    async def __call__(self, doorbell: Doorbell) -> None:
        async with self._arrived:
            self.taken.add(doorbell.task_id)
            self._arrived.notify_all()

    async def has_taken(self, expected: set[str]) -> None:
        async with asyncio.timeout(60), self._arrived:
            await self._arrived.wait_for(lambda: expected <= self.taken)


@pytest_asyncio.fixture
async def open_bus() -> AsyncIterator[OpenBus]:
    buses = []

    async def start(url: str) -> Bus:
        bus = RabbitBus(url)
        await bus.start()
        buses.append(bus)
        return bus

    yield start
    await asyncio.gather(*(bus.close() for bus in buses))


async def answered_again(bus: Bus) -> None:
    """Return when calls are answered again, which happens after the server's reconnection too."""
    async with asyncio.timeout(60):
        while True:
            try:
                reply = await bus.call(Double(bucket="b", number=21), token="t", timeout=5)
            except (Unavailable, CallTimeout):
                await asyncio.sleep(0.05)
            else:
                assert reply.number == 42
                return


async def thousand_calls(bus: Bus, fault: Callable[[], None], after: int) -> tuple[int, int]:
    """Make a thousand calls with a fault after some replies; give how many were answered, and how many failed."""
    done = 0

    async def call(number: int) -> bool:
        nonlocal done
        try:
            reply = await bus.call(Double(bucket="b", number=number), token="t", timeout=20)
        except (Unavailable, CallTimeout, Overloaded):
            return False
        assert reply.number == 2 * number
        done += 1
        if done == after:
            fault()
        return True

    outcomes = await asyncio.wait_for(asyncio.gather(*(call(number) for number in range(1000))), 30)
    return outcomes.count(True), outcomes.count(False)


async def test_a_broker_that_is_down_is_unavailable() -> None:
    bus = RabbitBus("amqp://127.0.0.1:1/")
    with pytest.raises(Unavailable, match="connecting failed"):
        await bus.start()
    assert not bus.connected
    await bus.close()


async def test_a_wrong_password_is_unavailable_and_not_told(amqp_url: str) -> None:
    bus = RabbitBus(amqp_url.replace("guest:guest", "guest:hidden-word"))
    with pytest.raises(Unavailable) as caught:
        await bus.start()
    assert "hidden-word" not in str(caught.value)
    await bus.close()


@pytest.mark.parametrize("after", [1, 300, 900])
async def test_the_callers_connection_is_cut_in_a_thousand_calls(
    amqp_url: str, tcp_proxy: ProxyFactory, open_bus: OpenBus, after: int
) -> None:
    proxy = await tcp_proxy(amqp_url)
    server, caller = await open_bus(amqp_url), await open_bus(proxy.url)
    again = Reconnections(caller)
    await server.serve(Double, doubling)
    begin = time.monotonic()
    answered, failed = await thousand_calls(caller, proxy.cut, after)
    assert time.monotonic() - begin < 15
    assert answered >= after
    assert failed > 0
    await again.next()
    assert caller.connected
    await answered_again(caller)


@pytest.mark.parametrize("n_bytes", [1, 1_000, 50_001, 200_003])
async def test_the_callers_connection_is_cut_inside_a_frame(
    amqp_url: str, tcp_proxy: ProxyFactory, open_bus: OpenBus, n_bytes: int
) -> None:
    proxy = await tcp_proxy(amqp_url)
    server, caller = await open_bus(amqp_url), await open_bus(proxy.url)
    again = Reconnections(caller)
    await server.serve(Double, doubling)
    proxy.cut_after(n_bytes)
    answered, failed = await thousand_calls(caller, lambda: None, after=1001)
    assert failed > 0
    assert answered + failed == 1000
    await again.next()
    await answered_again(caller)


async def test_the_services_connection_is_cut_in_a_thousand_calls(
    amqp_url: str, tcp_proxy: ProxyFactory, open_bus: OpenBus
) -> None:
    proxy = await tcp_proxy(amqp_url)
    server, caller = await open_bus(proxy.url), await open_bus(amqp_url)
    again = Reconnections(server)
    await server.serve(Double, doubling)
    begin = time.monotonic()
    answered, failed = await thousand_calls(caller, proxy.cut, 300)
    assert answered + failed == 1000
    assert time.monotonic() - begin < 10  # the queue outlived the cut, and the callers were told
    await again.next()
    await answered_again(caller)


async def test_a_connection_that_stalls_lets_calls_time_out(
    amqp_url: str, tcp_proxy: ProxyFactory, open_bus: OpenBus
) -> None:
    proxy = await tcp_proxy(amqp_url)
    server, caller = await open_bus(amqp_url), await open_bus(proxy.url)
    await server.serve(Double, doubling)
    await answered_again(caller)
    proxy.stall()
    with pytest.raises(CallTimeout):
        await caller.call(Double(bucket="b", number=1), token="t", timeout=0.2)
    proxy.resume()
    await answered_again(caller)


async def test_a_connection_that_is_silent_for_three_heartbeats_is_lost(
    amqp_url: str, tcp_proxy: ProxyFactory, open_bus: OpenBus
) -> None:
    proxy = await tcp_proxy(amqp_url)
    server, caller = await open_bus(amqp_url), await open_bus(f"{proxy.url}?heartbeat=1")
    again = Reconnections(caller)
    await server.serve(Hang, hanging)
    await server.serve(Double, doubling)
    proxy.stall()
    with pytest.raises(Unavailable, match="lost"):
        await asyncio.wait_for(caller.call(Hang(bucket="b"), token="t", timeout=100), 20)
    proxy.resume()
    await again.next()
    await answered_again(caller)


async def test_a_connection_that_stalls_can_be_closed(
    amqp_url: str, tcp_proxy: ProxyFactory, open_bus: OpenBus, label: str
) -> None:
    proxy = await tcp_proxy(amqp_url)
    bus, taker = await open_bus(proxy.url), Taker()
    await bus.serve(Double, doubling)
    await bus.on_ring(label, taker, prefetch=1)
    proxy.stall()
    ringing = asyncio.create_task(bus.ring([Doorbell(task_id="one", label=label)]))
    await asyncio.sleep(0)
    await asyncio.wait_for(bus.close(), 20)
    with pytest.raises(Unavailable):
        await ringing


async def test_calls_wait_for_room_no_longer_than_their_timeout(
    amqp_url: str, tcp_proxy: ProxyFactory, open_bus: OpenBus
) -> None:
    proxy = await tcp_proxy(amqp_url)
    caller = await open_bus(proxy.url)
    proxy.stall()
    route = "nobody"
    large = [caller.call(Double(bucket="b" * 200_000, number=1), token="t", route=route, timeout=2) for _ in range(200)]
    results = await asyncio.wait_for(asyncio.gather(*large, return_exceptions=True), 20)
    late = [caller.call(Double(bucket="b" * 200_000, number=1), token="t", route=route, timeout=0.1) for _ in range(2)]
    results += await asyncio.wait_for(asyncio.gather(*late, return_exceptions=True), 20)
    assert {type(result) for result in results} == {CallTimeout}
    proxy.resume()
    with pytest.raises(Unavailable, match="No service answers"):
        await caller.call(Double(bucket="b", number=1), token="t", route=route)


async def test_open_calls_fail_when_the_connection_is_cut(
    amqp_url: str, tcp_proxy: ProxyFactory, open_bus: OpenBus
) -> None:
    proxy = await tcp_proxy(amqp_url)
    server, caller = await open_bus(amqp_url), await open_bus(proxy.url)
    await server.serve(Hang, hanging)
    calls = [asyncio.create_task(caller.call(Hang(bucket="b"), token="t", timeout=60)) for _ in range(10)]
    await answered_nowhere(caller)
    proxy.cut()
    results = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 10)
    assert {type(result) for result in results} == {Unavailable}


async def answered_nowhere(bus: Bus) -> None:
    """Make one round trip, after which all that was sent before is with the broker."""
    with pytest.raises(Unavailable):
        await bus.call(Double(bucket="b", number=1), token="t", route="nobody")


async def test_everything_fails_fast_while_the_broker_is_away(
    amqp_url: str, tcp_proxy: ProxyFactory, open_bus: OpenBus, label: str
) -> None:
    proxy = await tcp_proxy(amqp_url)
    bus = await open_bus(proxy.url)
    again, taker = Reconnections(bus), Taker()
    await bus.serve(Double, doubling)
    proxy.refuse()
    proxy.cut()
    async with asyncio.timeout(10):
        while bus.connected:
            await asyncio.sleep(0.01)
    async with asyncio.timeout(5):
        for attempt in (
            bus.call(Double(bucket="b", number=1), token="t"),
            bus.ring([Doorbell(task_id="t", label=label)]),
            bus.publish(Heard(number=1)),
            bus.dead_letters(label),
            bus.on_ring(label, taker, prefetch=1),
        ):
            with pytest.raises(Unavailable):
                await attempt
    await proxy.accept()
    await again.next()
    await answered_again(bus)


async def test_a_callback_that_fails_hinders_no_other(
    amqp_url: str, tcp_proxy: ProxyFactory, open_bus: OpenBus, logs: list[Any]
) -> None:
    proxy = await tcp_proxy(amqp_url)
    bus = await open_bus(proxy.url)

    def failing() -> None:
        raise ValueError("it failed")

    bus.on_reconnect(failing)
    again = Reconnections(bus)
    for _ in range(2):
        proxy.cut()
        await again.next()
    assert [entry["event"] for entry in logs].count("reconnect_callback_failed") == 2


async def test_events_are_heard_again_after_a_cut(amqp_url: str, tcp_proxy: ProxyFactory, open_bus: OpenBus) -> None:
    proxy = await tcp_proxy(amqp_url)
    speaker, listener = await open_bus(amqp_url), await open_bus(proxy.url)
    again, heard = Reconnections(listener), asyncio.Queue[int]()

    async def hear(event: Heard) -> None:
        heard.put_nowait(event.number)

    await listener.subscribe(Heard, hear)
    await speaker.publish(Heard(number=1))
    assert await asyncio.wait_for(heard.get(), 10) == 1
    proxy.cut()
    await again.next()
    await speaker.publish(Heard(number=2))
    assert await asyncio.wait_for(heard.get(), 10) == 2


async def test_doorbells_of_a_worker_that_was_cut_off_come_again(
    amqp_url: str, tcp_proxy: ProxyFactory, open_bus: OpenBus, label: str
) -> None:
    proxy = await tcp_proxy(amqp_url)
    ringer, worker = await open_bus(amqp_url), await open_bus(proxy.url)
    deliveries, gate, second = [], asyncio.Event(), asyncio.Event()

    async def handler(doorbell: Doorbell) -> None:
        deliveries.append(doorbell.task_id)
        if len(deliveries) == 1:
            proxy.cut()
            await gate.wait()  # and acknowledges over a connection that has gone
        second.set()

    await worker.on_ring(label, handler, prefetch=1)
    await ringer.ring([Doorbell(task_id="one", label=label)])
    while len(deliveries) < 2:
        await asyncio.wait_for(second.wait(), 20)
    gate.set()
    assert deliveries == ["one", "one"]
    assert await ringer.dead_letters(label) == []


@pytest.mark.parametrize("n_bytes", [5_000, 60_000, 300_000])
async def test_confirmed_doorbells_survive_cuts_of_ringer_and_worker(
    amqp_url: str, tcp_proxy: ProxyFactory, open_bus: OpenBus, label: str, n_bytes: int
) -> None:
    to_ringer, to_worker = await tcp_proxy(amqp_url), await tcp_proxy(amqp_url)
    ringer, worker = await open_bus(to_ringer.url), await open_bus(to_worker.url)
    taker, confirmed = Taker(), set()
    await worker.on_ring(label, taker, prefetch=32)
    await ringer.ring([Doorbell(task_id="first", label=label)])
    to_ringer.cut_after(n_bytes)
    to_worker.cut_after(n_bytes)
    for batch in range(100):
        bells = [Doorbell(task_id=f"{batch}-{number}", label=label) for number in range(20)]
        try:
            await ringer.ring(bells)
        except Unavailable:
            await asyncio.sleep(0.02)
        else:
            confirmed |= {bell.task_id for bell in bells}
    assert confirmed
    await taker.has_taken(confirmed)


async def test_a_queue_that_was_deleted_is_made_again(amqp_url: str, open_bus: OpenBus, label: str) -> None:
    bus, taker = await open_bus(amqp_url), Taker()
    await bus.on_ring(label, taker, prefetch=1)
    connection = await aio_pika.connect(amqp_url)
    async with connection:
        channel = await connection.channel()
        await channel.queue_delete(topology.label_queue(label), if_unused=False, if_empty=False)
    async with asyncio.timeout(20):
        while "one" not in taker.taken:
            try:
                await bus.ring([Doorbell(task_id="one", label=label)])
                await asyncio.wait_for(taker.has_taken({"one"}), 2)
            except (Unavailable, TimeoutError):
                await asyncio.sleep(0.05)


async def test_a_queue_of_other_arguments_is_unavailable_and_harms_nothing_else(
    amqp_url: str, open_bus: OpenBus, label: str
) -> None:
    connection = await aio_pika.connect(amqp_url)
    async with connection:
        channel = await connection.channel()
        await channel.declare_queue(topology.label_queue(label), durable=True)
    bus, taker = await open_bus(amqp_url), Taker()
    await bus.serve(Double, doubling)
    with pytest.raises(Unavailable, match="declaring the queue"):
        await bus.ring([Doorbell(task_id="one", label=label)])
    with pytest.raises(OmegaError):
        await bus.on_ring(label, taker, prefetch=1)
    assert bus.connected
    await answered_again(bus)


@pytest.mark.slow
@pytest.mark.chaos
async def test_the_bus_outlives_restarts_and_a_kill_of_its_broker(
    killable_rabbit: RabbitServer, open_bus: OpenBus, label: str
) -> None:
    url = killable_rabbit.url
    server, caller, taker, heard = await open_bus(url), await open_bus(url), Taker(), asyncio.Queue[int]()
    reconnections = [Reconnections(server), Reconnections(caller)]

    async def hear(event: Heard) -> None:
        heard.put_nowait(event.number)

    async def back_in_service(number: int) -> None:
        for reconnection in reconnections:
            await reconnection.next()
        await answered_again(caller)
        await caller.publish(Heard(number=number))
        assert await asyncio.wait_for(heard.get(), 20) == number

    async def ring_until_confirmed(name: str) -> set[str]:
        bells = [Doorbell(task_id=f"{name}-{number}", label=label) for number in range(500)]
        async with asyncio.timeout(60):
            while True:
                try:
                    await caller.ring(bells)
                except Unavailable:
                    await asyncio.sleep(0.1)
                else:
                    return {bell.task_id for bell in bells}

    await server.serve(Double, doubling)
    await server.subscribe(Heard, hear)
    confirmed = await ring_until_confirmed("before the restart")
    calling = asyncio.create_task(thousand_calls(caller, lambda: None, 1001))
    await asyncio.to_thread(killable_rabbit.restart_cleanly)
    answered, failed = await calling
    assert answered + failed == 1000
    await back_in_service(1)

    confirmed |= await ring_until_confirmed("before the kill")
    calling = asyncio.create_task(thousand_calls(caller, killable_rabbit.kill9, 300))
    answered, failed = await calling
    assert answered >= 300
    assert answered + failed == 1000
    await asyncio.to_thread(killable_rabbit.restart)
    await back_in_service(2)

    confirmed |= await ring_until_confirmed("after the kill")
    await server.on_ring(label, taker, prefetch=64)
    await taker.has_taken(confirmed)
    assert await caller.dead_letters(label) == []


def test_reconnection_waits_grow_to_two_seconds() -> None:
    for tries, longest in [(0, 0.1), (1, 0.2), (4, 1.6), (5, 2.0), (10_000, 2.0)]:
        assert longest / 2 <= reconnect_delay(tries) <= longest
    assert len({reconnect_delay(5) for _ in range(20)}) > 1
