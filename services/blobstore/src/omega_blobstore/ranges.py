"""The Range header of HTTP (RFC 9110, section 14): one run of bytes. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_RANGE = re.compile(r"\s*bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*", re.IGNORECASE | re.ASCII)
_MOST_DIGITS = 20


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes from `start` up to and without `stop`."""

    start: int
    stop: int

    def content_range(self, length: int) -> str:
        """Give the Content-Range header for a blob of `length` bytes."""
        return f"bytes {self.start}-{self.stop - 1}/{length}"


class Unsatisfiable(ValueError):
    """The range lies wholly outside the blob."""


def parse_range(header: str | None, length: int) -> ByteRange | None:
    """Give the run of bytes that a Range header asks for; None for the whole blob.

    A header that is malformed, or asks for several ranges, asks for the whole, as the RFC allows.

    Raises:
        Unsatisfiable: no byte of the blob is in the range.
    """
    match = _RANGE.fullmatch(header) if header and len(header) <= 2 * _MOST_DIGITS + 16 else None
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        count = min(int(match[2]), length)
        if count == 0:
            raise Unsatisfiable(header)
        return ByteRange(length - count, length)
    start, stop = int(match[1]), int(match[2]) + 1 if match[2] else length
    if match[2] and stop <= start:
        return None
    if start >= length:
        raise Unsatisfiable(header)
    return ByteRange(start, min(stop, length))
