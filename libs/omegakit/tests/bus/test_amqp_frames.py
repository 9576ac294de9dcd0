"""Frames at the socket: the hot ones reach their intake, every other byte reaches aiormq, however the stream is cut."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from aiormq.abc import SSLCerts
from aiormq.connection import SSLContextProvider
from aiormq.exceptions import AMQPConnectionError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands
from pamqp.body import ContentBody
from pamqp.frame import marshal, unmarshal
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat
from yarl import URL

from omegakit.bus import amqp_frames as frames
from omegakit.bus.amqp_frames import FrameReader, LaneTransport

HEARTBEAT = Heartbeat.marshal()
NOT_AMQP = b"AMQP\x00\x00\x09\x01"  # what a broker answers that speaks another version
SMALL_NUMBERS = st.integers(1, 2**40)
CHANNELS = st.integers(1, 4)
WORDS = st.text("abc.-", max_size=20)
HOT_METHODS: st.SearchStrategy[commands.Basic.Deliver | commands.Basic.Return | commands.Basic.Ack] = st.one_of(
    st.builds(
        commands.Basic.Deliver, WORDS, SMALL_NUMBERS, redelivered=st.booleans(), exchange=WORDS, routing_key=WORDS
    ),
    st.builds(commands.Basic.Return, st.just(312), WORDS, WORDS, WORDS),
    st.builds(commands.Basic.Ack, SMALL_NUMBERS, st.booleans()),
    st.builds(commands.Basic.Nack, SMALL_NUMBERS, st.booleans(), st.booleans()),
)
COLD_METHODS: st.SearchStrategy[commands.Basic.ConsumeOk | commands.Channel.OpenOk] = st.one_of(
    st.builds(commands.Basic.ConsumeOk, WORDS),
    st.just(commands.Channel.OpenOk()),
    st.builds(commands.Queue.DeclareOk, WORDS, st.integers(0, 9), st.integers(0, 9)),
    st.builds(commands.Channel.Close, st.just(404), WORDS, st.just(0), st.just(0)),
)
PROPERTIES = st.builds(
    commands.Basic.Properties,
    headers=st.none() | st.dictionaries(st.sampled_from("abc"), WORDS, min_size=1, max_size=2),
    correlation_id=st.none() | st.text("0123456789", min_size=1),
)
FIELDS = ("headers", "delivery_mode", "correlation_id", "reply_to", "expiration")
SHORT = st.none() | st.text(max_size=60)
VALUES = st.text(max_size=80) | st.booleans() | st.integers(-(2**31), 2**31 - 1)
OURS = st.builds(
    frames.Properties,
    headers=st.none() | st.dictionaries(st.text(max_size=20), VALUES, min_size=1, max_size=3),
    delivery_mode=st.sampled_from([None, 1, 2]),
    correlation_id=SHORT,
    reply_to=SHORT,
    expiration=SHORT,
)
HEADERS = st.builds(lambda size, properties: ContentHeader(0, size, properties), SMALL_NUMBERS, PROPERTIES)
BODIES = st.builds(ContentBody, st.binary(min_size=1, max_size=60) | st.just(HEARTBEAT))
HOT_FRAMES = st.builds(marshal, HOT_METHODS | HEADERS | BODIES, CHANNELS)
COLD_FRAMES = st.builds(marshal, COLD_METHODS, CHANNELS) | st.just(HEARTBEAT)
STREAMS = st.lists(st.tuples(HOT_FRAMES, st.just(True)) | st.tuples(COLD_FRAMES, st.just(False)), max_size=20)
CUTS = st.lists(st.integers(0, 1500), max_size=30)

Taken = list[tuple[int, int, bytes]]


def reader_with_intakes(channels: Iterable[int], now: Callable[[], float] = lambda: 0.0) -> tuple[FrameReader, Taken]:
    """Give a reader, and what the intakes of those channels take: channel, kind and payload."""
    reader, taken, intended = FrameReader(now), Taken(), set(channels)

    def intake_of(channel: int) -> frames.Intake | None:
        return (lambda kind, payload: taken.append((channel, kind, payload))) if channel in intended else None

    reader.intake_of = intake_of
    return reader, taken


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """Give the pieces between the places, without empty ones."""
    ends = sorted({place for place in places if 0 < place < len(data)} | {len(data)})
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False) if start < end]


def expected(stream: Iterable[tuple[bytes, bool]], intakes: Iterable[int]) -> tuple[Taken, list[bytes]]:
    """Give what intakes should take of a stream, and the frames that should be left."""
    taken, left = Taken(), list[bytes]()
    for frame, hot in stream:
        channel = int.from_bytes(frame[1:3], "big")
        if hot and channel in intakes:
            taken.append((channel, frame[0], frame[7:-1]))
        else:
            left.append(frame)
    return taken, left


async def rest_of(reader: FrameReader) -> bytes:
    """Give all that the stream passes on, up to its end."""
    reader.feed_eof()
    return await reader.read()


def without_heartbeats(data: bytes) -> list[bytes]:
    """Give the frames that are no heartbeats."""
    found = []
    while data:
        used, _, frame = unmarshal(data)
        if not isinstance(frame, Heartbeat):
            found.append(data[:used])
        data = data[used:]
    return found


@given(stream=STREAMS, cuts=CUTS, intakes=st.sets(CHANNELS))
async def test_each_frame_goes_one_way_however_the_stream_is_cut(
    stream: list[tuple[bytes, bool]], cuts: list[int], intakes: set[int]
) -> None:
    reader, taken = reader_with_intakes(intakes)
    for piece in cut(b"".join(frame for frame, _ in stream), cuts):
        reader.feed_data(piece)
    hot, left = expected(stream, intakes)
    assert taken == hot
    assert await rest_of(reader) == b"".join(left)


@given(stream=STREAMS, cuts=CUTS, intakes=st.sets(CHANNELS, min_size=2))
async def test_time_adds_nothing_but_heartbeats(
    stream: list[tuple[bytes, bool]], cuts: list[int], intakes: set[int]
) -> None:
    clock = iter(range(2, 1000, 2))
    reader, taken = reader_with_intakes(intakes, lambda: next(clock))
    for piece in cut(b"".join(frame for frame, _ in stream), cuts):
        reader.feed_data(piece)
    hot, left = expected(stream, intakes)
    assert taken == hot
    assert without_heartbeats(await rest_of(reader)) == [frame for frame in left if frame != HEARTBEAT]


@pytest.mark.parametrize(
    ("times", "beats"),
    [([100.0], 1), ([100.0, 100.9], 1), ([100.0, 100.9, 101.1], 2), ([100.0, 101.1, 102.0], 2), ([9.0, 11.0, 13.0], 3)],
)
async def test_hot_frames_are_told_of_by_a_heartbeat_a_second(times: list[float], beats: int) -> None:
    reader, taken = reader_with_intakes([1], iter(times).__next__)
    for _ in times:
        reader.feed_data(frames.ack_frame(1, 7))
    assert len(taken) == len(times)
    assert await rest_of(reader) == beats * HEARTBEAT


async def test_half_a_frame_is_no_sign_of_life() -> None:
    reader, _ = reader_with_intakes([1], lambda: 100.0)
    ack = frames.ack_frame(1, 7)
    reader.feed_data(ack[:-1])
    assert await rest_of(reader) == ack[:-1]


@pytest.mark.parametrize("length", [1, 7, 8, 20])
async def test_half_a_frame_at_the_end_reaches_the_reader(length: int) -> None:
    reader, taken = reader_with_intakes([1])
    ack = frames.ack_frame(1, 7)
    reader.feed_data(ack + ack[:length])
    assert await rest_of(reader) == ack[:length]
    assert taken == [(1, frames.METHOD, ack[7:-1])]


@pytest.mark.parametrize("pieces", [[NOT_AMQP], [NOT_AMQP[:3], NOT_AMQP[3:]], [NOT_AMQP, b" and more"], [b"HTTP"]])
async def test_what_is_no_frame_passes_through(pieces: list[bytes]) -> None:
    reader, _ = reader_with_intakes([0, 1])
    for piece in pieces:
        reader.feed_data(piece)
    assert await rest_of(reader) == b"".join(pieces)


async def test_an_intake_is_asked_for_with_each_frame() -> None:
    reader, taken = reader_with_intakes([1])
    ack = frames.ack_frame(1, 7)
    reader.feed_data(ack)
    reader.intake_of = lambda _channel: None  # its channel was closed
    reader.feed_data(ack)
    assert len(taken) == 1
    assert await rest_of(reader) == ack


@given(method=HOT_METHODS, channel=CHANNELS)
def test_methods_and_tags_are_those_that_were_sent(method: commands.Basic.Deliver, channel: int) -> None:
    payload = marshal(method, channel)[7:-1]
    assert frames.method_of(payload) == method.index
    if isinstance(method, commands.Basic.Deliver):
        assert frames.tag_of(payload) == (method.delivery_tag, method.redelivered)
    elif isinstance(method, commands.Basic.Ack | commands.Basic.Nack):
        assert frames.tag_of(payload) == (method.delivery_tag, method.multiple)


@given(channel=st.integers(1, 65535), tag=st.integers(1, 2**63 - 1))
def test_an_ack_is_that_of_pamqp(channel: int, tag: int) -> None:
    assert frames.ack_frame(channel, tag) == marshal(commands.Basic.Ack(tag), channel)


@given(channel=CHANNELS, exchange=WORDS, key=WORDS, mandatory=st.booleans())
def test_a_publish_is_understood(channel: int, exchange: str, key: str, mandatory: bool) -> None:
    data = frames.publish_frame(channel, exchange, key, mandatory=mandatory)
    used, number, method = unmarshal(data)
    assert (used, number) == (len(data), channel)
    assert isinstance(method, commands.Basic.Publish)
    assert (method.exchange, method.routing_key, method.mandatory) == (exchange, key, mandatory)


@given(channel=CHANNELS, body=st.binary(max_size=300), properties=OURS, most=st.integers(1, 100))
def test_contents_are_understood_and_large_bodies_are_split(
    channel: int, body: bytes, properties: frames.Properties, most: int
) -> None:
    data = b"".join(frames.content_frames(channel, body, properties, most))
    used, number, header = unmarshal(data)
    assert isinstance(header, ContentHeader)
    assert (number, header.body_size) == (channel, len(body))
    assert {name: getattr(header.properties, name) for name in FIELDS} == asdict(properties)
    assert frames.content_header(data[7 : used - 1]) == (len(body), properties)
    pieces = []
    while data := data[used:]:
        used, number, piece = unmarshal(data)
        assert isinstance(piece, ContentBody)
        assert number == channel
        pieces.append(piece.value)
    assert b"".join(pieces) == body
    assert len(pieces) == -(-len(body) // most)
    assert all(len(piece) <= most for piece in pieces)


@given(
    size=SMALL_NUMBERS,
    headers=st.none() | st.dictionaries(WORDS, VALUES | st.lists(VALUES, max_size=2), max_size=3),
    kind=st.none() | WORDS,
    ours=OURS,
)
def test_contents_of_other_clients_are_understood(
    size: int, headers: Any, kind: str | None, ours: frames.Properties
) -> None:
    properties = commands.Basic.Properties(**(asdict(ours) | {"headers": headers, "content_type": kind}))
    data = marshal(ContentHeader(0, size, properties), 1)
    used, _, header = unmarshal(data)
    assert isinstance(header, ContentHeader)
    found_size, found = frames.content_header(data[7 : used - 1])
    assert found_size == size
    assert asdict(found) == {name: getattr(header.properties, name) for name in FIELDS}


def test_a_text_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="256"):
        frames.content_frames(1, b"", frames.Properties(reply_to="x" * 256), 100)


def no_certificates() -> SSLContextProvider:
    return trusting(None)


def trusting(authority: Path | None) -> SSLContextProvider:
    cafile = None if authority is None else str(authority)
    certs = SSLCerts(cert=None, key=None, capath=None, cafile=cafile, cadata=None, verify=True)
    return SSLContextProvider(ssl_context=None, ssl_certs=certs, loop=asyncio.get_running_loop())


@asynccontextmanager
async def server(context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Run a server that answers eight bytes with a hot and a cold frame and then with those bytes; give its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readexactly(8)
        writer.write(frames.ack_frame(1, 7) + marshal(commands.Channel.OpenOk(), 1) + asked)
        await writer.drain()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as listening:
        yield listening.sockets[0].getsockname()[1]


async def assert_frames_are_parted(url: URL, provider: SSLContextProvider) -> None:
    opening, taken = LaneTransport(), Taken()
    reader, writer = await opening.create(url, ssl_context_provider=provider)
    assert (reader, writer) == (opening.reader, opening.writer)
    opening.reader.intake_of = lambda channel: lambda kind, payload: taken.append((channel, kind, payload))
    writer.write(HEARTBEAT)
    cold = marshal(commands.Channel.OpenOk(), 1)
    assert await asyncio.wait_for(reader.readexactly(len(cold) + 8), 5) == cold + HEARTBEAT
    assert taken == [(1, frames.METHOD, frames.ack_frame(1, 7)[7:-1])]
    writer.close()
    await writer.wait_closed()


@pytest.fixture
def own_certificate(tmp_path: Path) -> Path:
    """A file with a certificate of 127.0.0.1 and its key, signed by nobody else."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = tmp_path / "certificate.pem"
    path.write_bytes(certificate.public_bytes(pem) + secret)
    return path


@pytest.mark.usefixtures("no_leaks")
class TestLaneTransport:
    async def test_it_parts_the_frames_of_a_connection(self) -> None:
        async with server() as port:
            await assert_frames_are_parted(URL(f"amqp://127.0.0.1:{port}/"), no_certificates())

    async def test_it_parts_the_frames_of_a_connection_over_tls(self, own_certificate: Path) -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(own_certificate)
        async with server(context) as port:
            await assert_frames_are_parted(URL(f"amqps://127.0.0.1:{port}/"), trusting(own_certificate))

    async def test_it_trusts_no_unknown_certificate(self, own_certificate: Path) -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(own_certificate)
        async with server(context) as port:
            with pytest.raises(AMQPConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
                await LaneTransport().create(URL(f"amqps://127.0.0.1:{port}/"), ssl_context_provider=no_certificates())

    async def test_it_says_when_nothing_listens(self) -> None:
        with socket.socket() as bound:  # bound, but listening to nobody
            bound.bind(("127.0.0.1", 0))
            url = URL(f"amqp://127.0.0.1:{bound.getsockname()[1]}/")
            with pytest.raises(AMQPConnectionError):
                await LaneTransport().create(url, ssl_context_provider=no_certificates())
