"""Identifiers: random, unguessable, sortable by time of creation (UUID version 7, RFC 9562)."""

from __future__ import annotations

import os
import time


def new_id(now_ms: int | None = None) -> str:
    """Give a new id of 32 hexadecimal digits: 48 bits of milliseconds, then 74 random bits (UUIDv7 without dashes)."""
    millis = int(time.time() * 1000) if now_ms is None else now_ms
    tail = int.from_bytes(os.urandom(10), "big")
    rand_a, rand_b = tail >> 68, tail & ((1 << 62) - 1)
    value = (millis & ((1 << 48) - 1)) << 80 | 0x7 << 76 | (rand_a & 0xFFF) << 64 | 0b10 << 62 | rand_b
    return f"{value:032x}"
