"""Frames on the pipe between supervisor and child: four bytes of length, one byte of type, then the message's JSON.

Pure: bytes in, frames out. The other side may be hostile, so a frame has a largest size.
"""

from __future__ import annotations

import struct

MAX_FRAME_BYTES = 16 * 1024 * 1024
_HEADER = struct.Struct(">IB")

Frame = tuple[int, bytes]


class BadFraming(Exception):
    """The other side sent what is no frame; nothing that follows can be read."""


def encode_frame(code: int, body: bytes) -> bytes:
    """Give a frame of type `code` (0 to 255). Raises BadFraming when the body is too long."""
    if len(body) > MAX_FRAME_BYTES:
        raise BadFraming(f"A frame of {len(body)} bytes is over the limit of {MAX_FRAME_BYTES}.")
    return _HEADER.pack(len(body), code) + body


class FrameDecoder:
    """Cuts a stream of bytes into frames, however the bytes arrive."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """Add bytes and give the frames that are complete now, in order. Raises BadFraming."""
        self._buffer += data
        frames: list[Frame] = []
        start = 0
        while (frame := self._frame_at(start)) is not None:
            frames.append(frame)
            start += _HEADER.size + len(frame[1])
        del self._buffer[:start]
        return frames

    def _frame_at(self, start: int) -> Frame | None:
        body = start + _HEADER.size
        if len(self._buffer) < body:
            return None
        length, code = _HEADER.unpack_from(self._buffer, start)
        if length > MAX_FRAME_BYTES:
            raise BadFraming(f"A frame announces {length} bytes, over the limit of {MAX_FRAME_BYTES}.")
        if len(self._buffer) < body + length:
            return None
        return code, bytes(memoryview(self._buffer)[body : body + length])
