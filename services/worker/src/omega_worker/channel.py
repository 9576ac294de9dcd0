"""The two ends of the pipe: the supervisor's on its event loop, the child's in plain blocking calls."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import cast

from omega_worker.framing import BadFraming, FrameDecoder
from omega_worker.messages import from_frame, to_frame
from omegaproto.messages import Message

_CHUNK = 256 * 1024


class SupervisorEnd(asyncio.Protocol):
    """Calls `on_message` for each message, and `on_close` once when the child hung up or sent nonsense."""

    def __init__(self, on_message: Callable[[Message], None], on_close: Callable[[], None]) -> None:
        self._on_message = on_message
        self._on_close = on_close
        self._decoder = FrameDecoder()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport to send on."""
        self._transport = cast("asyncio.Transport", transport)  # a stream socket gives no other

    def data_received(self, data: bytes) -> None:
        """Hand on what is complete; hang up on a child that sends what is no message."""
        try:
            for frame in self._decoder.feed(data):
                self._on_message(from_frame(frame))
        except BadFraming:
            self.close()

    def connection_lost(self, _exc: Exception | None) -> None:
        """Say so."""
        self._transport = None
        self._on_close()

    def send(self, message: Message) -> None:
        """Send a message; to a child that has gone, nothing (its death is told elsewhere). Raises BadFraming."""
        if self._transport is not None:
            self._transport.write(to_frame(message))

    def close(self) -> None:
        """Hang up at once."""
        if self._transport is not None:
            self._transport.abort()


class ChildEnd:
    """Blocking: one thread receives, any may send."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._decoder = FrameDecoder()
        self._arrived: deque[Message] = deque()
        self._sending = threading.Lock()

    def receive(self) -> Message | None:
        """Wait for a message and give it; None when the supervisor is gone."""
        while not self._arrived:
            try:
                data = self._socket.recv(_CHUNK)
            except ConnectionError:
                return None
            if not data:
                return None
            self._arrived.extend(map(from_frame, self._decoder.feed(data)))
        return self._arrived.popleft()

    def send(self, message: Message) -> None:
        """Send a message whole. Raises OSError when the supervisor is gone, BadFraming when it is too long."""
        with self._sending:
            self._socket.sendall(to_frame(message))
