"""The servers are real, keep acknowledged data over `kill -9` and restart, and never outlive who started them."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aio_pika
import psutil
import pytest
from pymongo import MongoClient, WriteConcern

from omegakit.testing.plugin import Broker
from omegakit.testing.servers import MissingComponent, MongoServer, RabbitServer, ServerFailed, binaries, process

QUORUM = {"x-queue-type": "quorum", "x-delivery-limit": 20}


def runs(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.mark.servers
def test_mongo_keeps_acknowledged_writes_over_kill9(killable_mongo: MongoServer) -> None:
    client: MongoClient[dict[str, Any]]
    durable = WriteConcern(w="majority", j=True)
    with MongoClient(killable_mongo.url) as client:
        things = client["app"].get_collection("things", write_concern=durable)
        for number in range(50):
            things.insert_one({"_id": number})
        first = killable_mongo.pid
        killable_mongo.kill9()
        assert killable_mongo.pid is None
        killable_mongo.restart()
        assert things.count_documents({}) == 50
    assert killable_mongo.pid not in (None, first)


@pytest.mark.servers
def test_mongo_keeps_its_address_and_data_over_a_clean_restart(killable_mongo: MongoServer) -> None:
    url = killable_mongo.url
    with MongoClient[dict[str, Any]](url) as client:
        client["app"]["things"].insert_one({"_id": 1})
        killable_mongo.restart_cleanly()
        assert killable_mongo.url == url
        assert client["app"]["things"].find_one() == {"_id": 1}


async def put(url: str, bodies: list[bytes]) -> None:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        await channel.declare_queue("work", durable=True, arguments=QUORUM)
        for body in bodies:
            message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            await channel.default_exchange.publish(message, routing_key="work")


async def take_all(url: str) -> list[bytes]:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("work", durable=True, arguments=QUORUM)
        taken = []
        while (message := await queue.get(fail=False, timeout=30)) is not None:
            await message.ack()
            taken.append(message.body)
        return taken


@pytest.mark.servers
@pytest.mark.slow
async def test_rabbit_keeps_confirmed_messages_over_kill9(killable_rabbit: RabbitServer) -> None:
    bodies = [b"%d" % number for number in range(200)]
    await put(killable_rabbit.url, [])
    await asyncio.to_thread(killable_rabbit.restart_cleanly)
    await put(killable_rabbit.url, bodies)
    node = killable_rabbit.pid
    assert node is not None
    await asyncio.to_thread(killable_rabbit.kill9)
    assert not runs(node)
    await asyncio.to_thread(killable_rabbit.restart)
    assert await take_all(killable_rabbit.url) == bodies


@pytest.mark.servers
async def test_an_operator_can_close_every_connection(amqp_url: str, rabbit_server: Broker) -> None:
    async with await aio_pika.connect(amqp_url) as connection:
        closed = asyncio.Event()
        connection.close_callbacks.add(lambda *_: closed.set())
        while not await asyncio.to_thread(rabbit_server.api.close_connections):
            await asyncio.sleep(0.2)  # the broker lists a new connection after its next statistics round
        await asyncio.wait_for(closed.wait(), 20)


@pytest.mark.servers
def test_the_api_says_what_it_refused(rabbit_server: Broker) -> None:
    with pytest.raises(ServerFailed, match=r"GET /api/vhosts/absent on port .* answered 404"):
        rabbit_server.api.get("vhosts/absent")


@pytest.mark.servers
def test_a_server_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    program = (
        "import os, signal\nfrom omegakit.testing.servers import MongoServer\n"
        "server = MongoServer().start()\nprint(server.pid, server.folder, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    pid, folder = ended.stdout.split()
    deadline = time.monotonic() + 20
    while runs(int(pid)) or Path(folder).exists():
        assert time.monotonic() < deadline, f"mongod {pid} or {folder} was left behind"
        time.sleep(0.05)


@pytest.mark.servers
def test_stop_leaves_neither_process_nor_folder() -> None:
    server = MongoServer().start()
    pid, folder = server.pid, server.folder
    server.stop()
    server.stop()
    assert pid is not None
    assert not runs(pid)
    assert not folder.exists()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def test_a_server_that_ends_at_once_is_an_error_with_its_log(folder: Path) -> None:
    failing = process.ServerProcess(["/bin/sh", "-c", "echo no room; exit 3"], folder=folder, log=folder / "log")
    with pytest.raises(ServerFailed, match="sh ended with status 3:\nno room"):
        failing.wait_until(lambda: False, seconds=30)
    failing.kill9()


@pytest.fixture
def stubborn(folder: Path) -> Iterator[process.ServerProcess]:
    ready = folder / "ready"
    program = f"trap '' TERM; touch {ready}; while :; do sleep 0.1; done"
    server = process.ServerProcess(["/bin/sh", "-c", program], folder=folder, log=folder / "log")
    server.wait_until(ready.exists, seconds=30)
    yield server
    server.kill9()


def test_a_server_that_is_never_ready_is_an_error(stubborn: process.ServerProcess) -> None:
    with pytest.raises(ServerFailed, match="sh was not ready after 0 s"):
        stubborn.wait_until(lambda: False, seconds=0.1)


def test_terminate_kills_a_server_that_ignores_it(stubborn: process.ServerProcess) -> None:
    stubborn.terminate(seconds=0.1)
    assert not stubborn.alive


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("OMEGA_TOOLS", str(tmp_path))
    monkeypatch.setattr(binaries, "BEHIND_DEBIANS_WRAPPER", tmp_path / "absent")


@pytest.mark.usefixtures("nothing_installed")
def test_missing_servers_are_errors_that_say_what_to_install() -> None:
    with pytest.raises(MissingComponent, match=r"make tools.*OMEGA_TEST_MONGO_URL"):
        binaries.mongod()
    with pytest.raises(MissingComponent, match=r"make tools.*OMEGA_TEST_AMQP_URL"):
        binaries.rabbitmq_server()


@pytest.mark.parametrize(("version", "used"), [("v7.0.1", True), ("v4.4.9", False)])
@pytest.mark.usefixtures("nothing_installed")
def test_mongod_on_path_is_used_when_new_enough(tmp_path: Path, version: str, used: bool) -> None:
    program = tmp_path / "mongod"
    program.write_text(f"#!/bin/sh\necho 'db version {version}'\n")
    program.chmod(0o755)
    if used:
        assert binaries.mongod() == (str(program), {})
    else:
        with pytest.raises(MissingComponent):
            binaries.mongod()


def test_tools_are_in_the_repository_of_the_working_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("OMEGA_TOOLS", raising=False)
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "tools").touch()
    (tmp_path / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep" / "er")
    assert binaries.tools_folder() == tmp_path / ".tools"


def test_free_ports_are_below_the_ephemeral_range() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert all(process.free_port() < min(lowest, 32768) for _ in range(50))


@pytest.fixture
def rabbit_script_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "rabbitmq-server"
    script.write_text("#!/bin/sh\necho no license to run\nexit 7\n")
    script.chmod(0o755)
    monkeypatch.setattr(binaries, "BEHIND_DEBIANS_WRAPPER", script)


@pytest.mark.servers
@pytest.mark.usefixtures("rabbit_script_fails")
def test_a_failed_start_leaves_neither_process_nor_folder() -> None:
    before = set(psutil.Process().children())
    server = RabbitServer()
    with pytest.raises(ServerFailed, match="rabbitmq-server ended with status 7:\nno license to run"):
        server.start()
    assert set(psutil.Process().children()) == before
    assert not server.folder.exists()
