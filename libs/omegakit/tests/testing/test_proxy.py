"""The proxy breaks connections as told, in front of a real TCP server that echoes."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from omegakit.testing.plugin import ProxyFactory
from omegakit.testing.proxy import TcpProxy

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.fixture
async def echo_url() -> AsyncIterator[str]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(65536):
                writer.write(chunk)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    yield f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


@pytest.fixture
async def proxy(tcp_proxy: ProxyFactory, echo_url: str) -> TcpProxy:
    return await tcp_proxy(echo_url)


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def say(self, text: bytes) -> bytes:
        self.writer.write(text)
        return await self.reader.readexactly(len(text))

    async def is_dropped(self) -> bool:
        try:
            return await asyncio.wait_for(self.reader.read(1), 5) == b""
        except ConnectionResetError:
            return True


@pytest.fixture
async def connect(proxy: TcpProxy) -> AsyncIterator[object]:
    writers = []

    async def open_client() -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writers.append(writer)
        return Client(reader, writer)

    yield open_client
    for writer in writers:
        writer.transport.abort()


async def test_bytes_pass_both_ways(proxy: TcpProxy, connect) -> None:
    client = await connect()
    payload = bytes(range(256)) * 4000
    assert await client.say(payload) == payload
    assert (proxy.accepted, proxy.connections) == (1, 1)
    assert proxy.forwarded == 2 * len(payload)


async def test_end_of_stream_passes_on_and_the_answer_still_arrives(connect) -> None:
    client = await connect()
    client.writer.write(b"last words")
    client.writer.write_eof()
    assert await client.reader.read() == b"last words"


async def test_cut_drops_every_connection_and_takes_new_ones(proxy: TcpProxy, connect) -> None:
    clients = [await connect() for _ in range(3)]
    for client in clients:
        await client.say(b"hello")
    proxy.cut()
    assert all([await client.is_dropped() for client in clients])
    assert await (await connect()).say(b"again") == b"again"


async def test_stall_holds_bytes_back_until_resume(proxy: TcpProxy, connect) -> None:
    client = await connect()
    await client.say(b"before")
    proxy.stall()
    answer = asyncio.create_task(client.say(b"held"))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(answer), 0.2)
    proxy.resume()
    assert await asyncio.wait_for(answer, 5) == b"held"


async def test_cut_ends_a_stalled_connection(proxy: TcpProxy, connect) -> None:
    client = await connect()
    await client.say(b"before")
    proxy.stall()
    client.writer.write(b"held")
    proxy.cut()
    assert await client.is_dropped()


@pytest.mark.parametrize("n_bytes", [1, 70_000, 100_000])
async def test_cut_after_forwards_exactly_so_many_bytes(tcp_proxy: ProxyFactory, n_bytes: int) -> None:
    received = asyncio.get_running_loop().create_future()

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        total = 0
        try:
            while chunk := await reader.read(65536):
                total += len(chunk)
        except ConnectionResetError:
            pass
        writer.transport.abort()
        received.set_result(total)

    server = await asyncio.start_server(count, "127.0.0.1", 0)
    proxy = await tcp_proxy(f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    proxy.cut_after(n_bytes)
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"x" * 100_000)
    assert await Client(reader, writer).is_dropped()
    assert await asyncio.wait_for(received, 5) == n_bytes
    assert proxy.forwarded == n_bytes
    writer.transport.abort()
    server.close()


async def test_cut_after_cuts_once(proxy: TcpProxy, connect) -> None:
    first = await connect()
    proxy.cut_after(3)
    first.writer.write(b"12345")
    assert await first.is_dropped()
    assert await (await connect()).say(b"12345") == b"12345"


async def test_refuse_refuses_new_connections_until_accept(proxy: TcpProxy, connect) -> None:
    client = await connect()
    await client.say(b"before")
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await connect()
    assert await client.say(b"still open") == b"still open"
    await proxy.accept()
    assert await (await connect()).say(b"again") == b"again"


async def test_a_server_that_is_down_drops_the_client(tcp_proxy: ProxyFactory, unused_tcp_port: int) -> None:
    proxy = await tcp_proxy(f"tcp://127.0.0.1:{unused_tcp_port}")
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    assert await Client(reader, writer).is_dropped()
    writer.transport.abort()


async def test_url_is_the_targets_with_the_proxys_address(proxy: TcpProxy) -> None:
    assert proxy.url == f"tcp://127.0.0.1:{proxy.port}"
