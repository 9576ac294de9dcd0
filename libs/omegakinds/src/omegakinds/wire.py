"""Inputs and results of tasks as payloads: plain JSON as it is, everything else by its kind, inline when small."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from omegakinds.base import BlobSink, BlobSource, Kind
from omegakinds.registry import KindRegistry
from omegaproto.objects import BlobRef
from omegaproto.tasks import Payload

INLINE_BYTES = 64 * 1024
"""What a payload carries inside the message at most."""
_MAX_DEPTH = 50
_INT64 = 2**63


def encode_value(obj: Any, sink: BlobSink, registry: KindRegistry | None = None) -> Payload:
    """Give the value as a payload; what is over `INLINE_BYTES` goes to the sink. Pass a registry to look kinds up once.

    Raises:
        UnknownKind: no kind stores the value.
    """
    if _is_json(obj) and len(json.dumps(obj)) <= INLINE_BYTES:
        return Payload(value=obj)
    inline = _InlineSink(sink)
    dumped = _kind_for(obj, registry or KindRegistry()).dump(obj, inline)
    blobs = (*dumped.blobs, *(dumped.parts or ()))
    if len(blobs) == 1 and blobs[0].id in inline.held:
        return Payload(kind=dumped.kind, kind_meta=dumped.kind_meta, data=inline.held[blobs[0].id])
    return Payload(kind=dumped.kind, kind_meta=dumped.kind_meta, blobs=inline.placed(blobs))


def decode_value(
    payload: Payload, source: BlobSource, registry: KindRegistry | None = None, *, trusted: bool = False
) -> Any:
    """Give the value of a payload. `trusted` lets values that are stored as pickles be read.

    Raises:
        UnknownKind: the payload's kind is not installed.
        Forbidden: the value is stored as a pickle and not trusted.
    """
    if payload.kind == "json":
        return payload.value
    kind = (registry or KindRegistry()).by_name(payload.kind)
    if payload.data is None:
        return kind.load(payload, source, trusted=trusted)
    held = _InlineSource(payload.data)
    return kind.load(payload.model_copy(update={"blobs": (held.ref,)}), held, trusted=trusted)


def _kind_for(obj: Any, registry: KindRegistry) -> Kind:
    """Give plain data's own kind before those that would take text for a path or bytes for a file."""
    plain = registry.by_name("python.data")
    return plain if plain.supports(obj, "") else registry.for_object(obj)


def _is_json(obj: Any, depth: int = 0) -> bool:
    """Say whether the value is JSON as it stands: same types, same values after a trip."""
    kind = type(obj)
    if obj is None or kind is bool or kind is str:
        return True
    if kind is int:
        return bool(-_INT64 <= obj < _INT64)
    if kind is float:
        return math.isfinite(obj)
    if depth > _MAX_DEPTH:
        return False
    if kind is list:
        return all(_is_json(item, depth + 1) for item in obj)
    return kind is dict and all(type(key) is str and _is_json(item, depth + 1) for key, item in obj.items())


class _InlineSink:
    """Keeps what fits into a message, and passes the rest on."""

    def __init__(self, sink: BlobSink) -> None:
        self._sink = sink
        self._room = INLINE_BYTES
        self.held: dict[str, bytes] = {}

    def put(self, chunks: Iterable[bytes] | bytes, role: str = "data") -> BlobRef:
        rest = iter([chunks] if isinstance(chunks, bytes) else chunks)
        start: list[bytes] = []
        size = 0
        for chunk in rest:
            start.append(chunk)
            size += len(chunk)
            if size > self._room:
                return self._sink.put(chain(start, rest), role)
        self._room -= size
        ref = _ref(f"inline-{len(self.held)}", data := b"".join(start), role)
        self.held[ref.id] = data
        return ref

    def placed(self, blobs: Iterable[BlobRef]) -> tuple[BlobRef, ...]:
        """Give the references with what was kept put into the sink after all."""
        return tuple(self._sink.put(self.held[ref.id], ref.role) if ref.id in self.held else ref for ref in blobs)


@dataclass(frozen=True)
class _InlineSource:
    data: bytes

    @property
    def ref(self) -> BlobRef:
        return _ref("inline-0", self.data, "data")

    def read(self, ref: BlobRef) -> bytes:
        return self.data

    def open(self, ref: BlobRef) -> Iterator[bytes]:
        yield self.data


def _ref(name: str, data: bytes, role: str) -> BlobRef:
    return BlobRef(id=name, sha256=hashlib.sha256(data).hexdigest(), length=len(data), role=role)
