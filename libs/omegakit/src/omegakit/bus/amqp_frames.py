"""AMQP frames at the socket: those of a lane go to it as they arrive, all others to aiormq, which knows what is rare.

aiormq lets its connections be opened by a transport factory. This one gives it a stream reader that takes hot frames
(deliveries, returns, confirms) out of the bytes before they are buffered, without a task and an await for each.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from aiormq.connection import TransportFactory
from aiormq.exceptions import AMQPConnectionError
from pamqp import commands
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
_STILL_ALIVE = _START.pack(HEARTBEAT, 0, 0) + _END
_TELL_SECONDS = 1.0

Intake = Callable[[int, bytes], None]
"""Takes the kind and the payload of a hot frame."""


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


def content_header(payload: bytes) -> ContentHeader:
    """Give the header that a header frame's payload holds."""
    header = ContentHeader()
    header.unmarshal(payload)
    return header


def ack_frame(channel: int, tag: int) -> bytes:
    """Give the frame that acknowledges one delivery."""
    return _ACK.pack(METHOD, channel, 13, ACK, tag, 0, _END[0])


@lru_cache(maxsize=1024)
def publish_frame(channel: int, exchange: str, key: str, *, mandatory: bool) -> bytes:
    """Give the frame that announces a message."""
    return marshal(commands.Basic.Publish(exchange=exchange, routing_key=key, mandatory=mandatory), channel)


def content_frames(channel: int, body: bytes, properties: commands.Basic.Properties, most: int) -> list[bytes]:
    """Give the header frame of a message and its body in frames of at most `most` bytes of payload."""
    frames = [marshal(ContentHeader(properties=properties, body_size=len(body)), channel)]
    for at in range(0, len(body), most):
        piece = body[at : at + most]
        frames += [_START.pack(BODY, channel, len(piece)), piece, _END]
    return frames
