"""What a kind is, and what it reads and writes: the Protocols that every plugin and every caller stands on.

No framework is imported here, and nothing here does input or output.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from omegaproto.objects import BlobRef, Store
from omegaproto.predictions import Prediction

if TYPE_CHECKING:
    import pyarrow as pa


class BlobSink(Protocol):
    """Where a kind writes: each put makes one immutable blob."""

    def put(self, chunks: Iterable[bytes] | bytes, role: str = "data") -> BlobRef:
        """Store the bytes (whole, or streamed in chunks) and give the blob's reference with that role."""
        ...


class BlobSource(Protocol):
    """Where a kind reads."""

    def read(self, ref: BlobRef) -> bytes:
        """Give all bytes of the blob."""
        ...

    def open(self, ref: BlobRef) -> Iterator[bytes]:
        """Give the bytes of the blob in chunks."""
        ...


class Stored(Protocol):
    """What a load starts from. A `Revision`, a `Payload` and a `Dumped` all are one."""

    @property
    def kind_meta(self) -> dict[str, Any]:
        """What the kind recorded beside the bytes."""
        ...

    @property
    def blobs(self) -> tuple[BlobRef, ...]:
        """The object's blobs."""
        ...


@dataclass(frozen=True)
class Dumped:
    """What a dump wrote: the kind's name, what it recorded (JSON values), its blobs, and for a frame its parts.

    `parts` are Parquet blobs in row order, which the server makes a frame of; None for what is not a frame.
    """

    kind: str
    kind_meta: dict[str, Any] = field(default_factory=dict)
    blobs: tuple[BlobRef, ...] = ()
    parts: tuple[BlobRef, ...] | None = None


@dataclass(frozen=True)
class EncodedPart:
    """One run of rows as Parquet bytes."""

    data: bytes
    rows: int


@dataclass(frozen=True)
class Outcome:
    """What a verb gave, and whether it changed the model, so that the caller must store it."""

    result: Any
    model_changed: bool


@runtime_checkable
class Kind(Protocol):
    """A plugin for one sort of object. Registered by the entry-point group ``omega.kinds``.

    Two more attributes are optional: ``collects`` (False when it is not there) says that each put adds one object to
    those that are there, and ``reproducible`` (True when it is not there) that dumping an object again gives the same
    bytes. Where it does not, a repeated put is known by its idempotency key and all but its bytes.
    """

    name: str
    """The kind as revisions record it, such as ``sklearn.joblib``."""
    stores: frozenset[Store]
    """The stores that take objects of this kind."""

    def supports(self, obj: object, name: str, **options: Any) -> bool:
        """Say whether this kind stores `obj`. Must be cheap, and must not import a framework that is not loaded."""
        ...

    def dump(self, obj: Any, sink: BlobSink, **options: Any) -> Dumped:
        """Write `obj`. Raises UnknownKind, BadFrame or BadInput when it cannot be stored exactly."""
        ...

    def load(self, stored: Stored, source: BlobSource, **options: Any) -> Any:
        """Give the object back.

        Where reading runs code, as with pickles, it raises Forbidden unless the option `trusted` is True: workers load
        what runs code only where no other bucket's data is.
        """
        ...


@runtime_checkable
class FrameKind(Kind, Protocol):
    """A kind whose objects are columns, stored as Parquet parts that the server filters and projects."""

    def encode(
        self, obj: Any, *, part_rows: int | None = None, threads: int | None = None
    ) -> tuple[dict[str, Any], Iterator[EncodedPart]]:
        """Give the frame's description and its parts one by one, at least one. Raises BadFrame at once."""
        ...

    def decode_part(self, part: bytes, *, threads: bool = True) -> pa.Table:
        """Give the rows of one Parquet part; without `threads` in this one alone."""
        ...

    def join_parts(self, decoded: Iterable[pa.Table]) -> pa.Table:
        """Give the rows of decoded parts, in their order."""
        ...

    def from_table(self, table: pa.Table, stored: Stored, source: BlobSource | None = None) -> Any:
        """Give the object out of its rows, or out of those that a filter or projection left."""
        ...

    def index_columns(self, stored: Stored, source: BlobSource | None = None) -> list[str]:
        """Name the stored columns that hold the index: a projection keeps them to keep the index."""
        ...


class Servable(Protocol):
    """A loaded model that answers batches of requests."""

    def answer(self, verb: str, bodies: Sequence[str | bytes]) -> list[Prediction]:
        """Answer each body, in order; a bad one fails alone."""
        ...


@runtime_checkable
class ModelKind(Kind, Protocol):
    """A kind whose objects are models."""

    def verbs(self, model: Any) -> tuple[str, ...]:
        """Name the verbs that this model has."""
        ...

    def run(self, verb: str, model: Any, X: Any = None, Y: Any = None, **params: Any) -> Outcome:
        """Run one verb. Raises UnknownAction, NotFitted, BadInput; what user code raises passes through."""
        ...

    def servable(self, model: Any) -> Servable:
        """Prepare a loaded model for answering request bodies in batches."""
        ...
