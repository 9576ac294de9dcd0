"""AMQP frames at the socket: those of a lane go to it as they arrive, all others to aiormq, which knows what is rare.

aiormq lets its connections be opened by a transport factory. This one gives it a stream reader that takes hot frames
(deliveries, returns, confirms) out of the bytes before they are buffered, without a task and an await for each.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from aiormq.connection import TransportFactory
from aiormq.exceptions import AMQPConnectionError
from pamqp import commands, decode, encode
from pamqp.frame import marshal
from pamqp.header import ContentHeader
from yarl import URL

FRAME_OVERHEAD = 8
"""Bytes around a frame's payload: type, channel, length, end."""

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
DELIVER, RETURN, ACK, NACK = (60 << 16) + 60, (60 << 16) + 50, (60 << 16) + 80, (60 << 16) + 120
_HOT_METHODS = frozenset({DELIVER, RETURN, ACK, NACK})
_KINDS = frozenset({METHOD, HEADER, BODY, HEARTBEAT})
_START, _METHOD, _TAG = struct.Struct(">BHL"), struct.Struct(">L"), struct.Struct(">QB")
_ACK = struct.Struct(">BHLLQBB")
_END = b"\xce"
_CONTENT, _CONTENT_START = struct.Struct(">QH"), struct.Struct(">HHQH")
_HEADERS, _DELIVERY_MODE = 1 << 13, 1 << 12
_TEXTS = (1 << 10, "correlation_id"), (1 << 9, "reply_to"), (1 << 8, "expiration")
_OURS = _HEADERS | _DELIVERY_MODE | sum(flag for flag, _ in _TEXTS)
_TEXT = ord("S")
_STILL_ALIVE = _START.pack(HEARTBEAT, 0, 0) + _END
_TELL_SECONDS = 1.0

Intake = Callable[[int, bytes], None]
"""Takes the kind and the payload of a hot frame."""


@dataclass(slots=True)
class Properties:
    """What travels beside a message, as far as it is used here."""

    headers: dict[str, Any] | None = None
    delivery_mode: int | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    expiration: str | None = None
    """Milliseconds after which the broker drops it."""


class FrameReader(asyncio.StreamReader):
    """A stream that hot frames never enter; `intake_of` gives who takes those of a channel, if anybody does."""

    def __init__(self, now: Callable[[], float] | None = None) -> None:
        self._now = now or asyncio.get_running_loop().time
        super().__init__(limit=2**16, loop=asyncio.get_running_loop())
        self.intake_of: Callable[[int], Intake | None] = lambda _channel: None
        self._rest = b""
        self._told = 0.0

    def feed_data(self, piece: Any) -> None:
        """Take bytes from the socket, in pieces of any size."""
        data = self._rest + piece if self._rest else bytes(piece)
        at, others = 0, list[bytes]()
        while (after := _end_of_frame(data, at)) is not None:
            kind, channel, _ = _START.unpack_from(data, at)
            intake = self.intake_of(channel)
            if intake is not None and _is_hot(kind, data, at + 7):
                intake(kind, data[at + 7 : after - 1])
            else:
                others.append(data[at:after])
            at = after
        self._rest = data[at:]
        self._pass(b"".join(others), at > 0)

    def _pass(self, others: bytes, alive: bool) -> None:
        """Give aiormq its frames; and now and then a heartbeat, for it looks at nothing else to see a dead broker."""
        now = self._now()
        if others:
            super().feed_data(others)
        elif alive and now - self._told > _TELL_SECONDS:
            self._told = now
            super().feed_data(_STILL_ALIVE)

    def feed_eof(self) -> None:
        """Take the end of the connection; half a frame is aiormq's to complain about."""
        if self._rest:
            super().feed_data(self._rest)
            self._rest = b""
        super().feed_eof()


def _end_of_frame(data: bytes, at: int) -> int | None:
    """Give where the frame at `at` ends; None when it is not whole yet. What is no frame at all ends with the data."""
    if len(data) - at < FRAME_OVERHEAD:
        return None
    kind, _, size = _START.unpack_from(data, at)
    if kind not in _KINDS:  # such as a broker's answer to a protocol that it does not speak
        return len(data)
    after: int = at + FRAME_OVERHEAD + size
    return after if after <= len(data) else None


def _is_hot(kind: int, data: bytes, at: int) -> bool:
    return kind in (HEADER, BODY) or (kind == METHOD and _METHOD.unpack_from(data, at)[0] in _HOT_METHODS)


class LaneTransport(TransportFactory):
    """Opens one connection and keeps its two ends."""

    reader: FrameReader
    writer: asyncio.StreamWriter

    async def create(self, url: URL, **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect, over TLS for amqps. Raises AMQPConnectionError."""
        loop, provider = asyncio.get_running_loop(), options.pop("ssl_context_provider")
        context = await provider.get_context() if url.scheme == "amqps" else None
        host, port = url.host or "localhost", url.port or 5672
        self.reader = FrameReader()
        protocol = asyncio.StreamReaderProtocol(self.reader, loop=loop)
        try:
            transport, _ = await loop.create_connection(lambda: protocol, host, port, ssl=context, **options)
        except OSError as error:
            raise AMQPConnectionError(*error.args) from error
        self.writer = asyncio.StreamWriter(transport, protocol, self.reader, loop)
        return self.reader, self.writer


def method_of(payload: bytes) -> int:
    """Give which method a method frame's payload holds."""
    method: int = _METHOD.unpack_from(payload)[0]
    return method


def tag_of(payload: bytes) -> tuple[int, bool]:
    """Give the delivery tag of a Deliver, Ack or Nack, and its first flag: redelivered, or multiple."""
    at = 5 + payload[4] if method_of(payload) == DELIVER else 4
    tag, flags = _TAG.unpack_from(payload, at)
    return tag, bool(flags & 1)


def content_header(payload: bytes) -> tuple[int, Properties]:
    """Give the size of a message's body and its properties out of its header frame's payload."""
    size, flags = _CONTENT.unpack_from(payload, 4)
    if flags & ~_OURS:  # a message of another client
        return size, _foreign(payload)
    found, at = Properties(), 14
    if flags & _HEADERS:
        (length,) = _METHOD.unpack_from(payload, at)
        found.headers = _table(payload, at + 4, at + 4 + length)
        at += 4 + length
    if flags & _DELIVERY_MODE:
        found.delivery_mode = payload[at]
        at += 1
    for flag, name in _TEXTS:
        if flags & flag:
            end = at + 1 + payload[at]
            setattr(found, name, payload[at + 1 : end].decode())
            at = end
    return size, found


def _foreign(payload: bytes) -> Properties:
    header = ContentHeader()
    header.unmarshal(payload)
    given = header.properties
    return Properties(given.headers, given.delivery_mode, given.correlation_id, given.reply_to, given.expiration)


def _table(payload: bytes, at: int, end: int) -> dict[str, Any]:
    """Give a table of texts, as all of ours are; one with other values is left to pamqp."""
    found, begin = dict[str, Any](), at
    while at < end:
        value = at + 1 + payload[at]
        if payload[value] != _TEXT:
            return dict(decode.field_table(payload[begin - 4 : end])[1])
        stop = value + 5 + _METHOD.unpack_from(payload, value + 1)[0]
        found[payload[at + 1 : value].decode()] = payload[value + 5 : stop].decode()
        at = stop
    return found


def _encoded_table(table: dict[str, Any]) -> bytes:
    entries = bytearray()
    for name, value in table.items():
        if type(value) is not str:
            return encode.field_table(table)
        text = value.encode()
        entries += _short(name) + b"S" + _METHOD.pack(len(text)) + text
    return _METHOD.pack(len(entries)) + entries


def _short(text: str) -> bytes:
    data = text.encode()
    return bytes((len(data),)) + data  # raises ValueError above 255 bytes


def ack_frame(channel: int, tag: int) -> bytes:
    """Give the frame that acknowledges one delivery."""
    return _ACK.pack(METHOD, channel, 13, ACK, tag, 0, _END[0])


@lru_cache(maxsize=1024)
def publish_frame(channel: int, exchange: str, key: str, *, mandatory: bool) -> bytes:
    """Give the frame that announces a message."""
    return marshal(commands.Basic.Publish(exchange=exchange, routing_key=key, mandatory=mandatory), channel)


def content_frames(channel: int, body: bytes, properties: Properties, most: int) -> list[bytes]:
    """Give the header frame of a message and its body in frames of at most `most` bytes of payload."""
    flags, fields = 0, []
    if properties.headers:
        flags |= _HEADERS
        fields.append(_encoded_table(properties.headers))
    if properties.delivery_mode is not None:
        flags |= _DELIVERY_MODE
        fields.append(bytes((properties.delivery_mode,)))
    for flag, name in _TEXTS:
        if (text := getattr(properties, name)) is not None:
            flags |= flag
            fields.append(_short(text))
    header = b"".join([_CONTENT_START.pack(60, 0, len(body), flags), *fields])
    frames = [_START.pack(HEADER, channel, len(header)), header, _END]
    for at in range(0, len(body), most):
        piece = body[at : at + most]
        frames += [_START.pack(BODY, channel, len(piece)), piece, _END]
    return frames
