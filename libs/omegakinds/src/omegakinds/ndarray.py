"""The kind ``ndarray.bin``: numpy arrays in numpy's own ``.npy`` format, without pickle."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from omegakinds.base import BlobSink, BlobSource, Dumped, Kind, Stored
from omegaproto.errors import BadInput, BlobCorrupted
from omegaproto.objects import Store

_CHUNK_BYTES = 1024 * 1024
_HEADER_BYTES = 16 * 1024


class NdArray:
    """Arrays of any shape whose elements are not Python objects."""

    name = "ndarray.bin"
    stores = frozenset({Store.datasets})

    def supports(self, obj: object, name: str, **options: Any) -> bool:
        """Say whether `obj` is an array; subclasses that carry more (masked, matrix) are not."""
        numpy = sys.modules.get("numpy")
        return numpy is not None and type(obj) in {numpy.ndarray, numpy.memmap}

    def dump(self, obj: Any, sink: BlobSink, **options: Any) -> Dumped:
        """Stream the array out. Raises BadInput for an array of Python objects."""
        if obj.dtype.hasobject:
            raise BadInput(
                "An array of Python objects has no safe binary form.",
                action="Use array.astype(str) or array.astype(float), or store array.tolist() as plain data.",
            )
        meta = {"dtype": str(obj.dtype), "shape": list(obj.shape)}
        return Dumped(self.name, meta, (sink.put(_chunks(obj)),))

    def load(self, stored: Stored, source: BlobSource, **options: Any) -> Any:
        """Give the array back, writable. Raises BlobCorrupted when the bytes are not an array."""
        return _read(source.open(stored.blobs[0]))


def _chunks(array: Any) -> Iterator[bytes]:
    import numpy as np

    header = io.BytesIO()
    fortran = array.flags.f_contiguous and not array.flags.c_contiguous
    array = array if fortran or array.flags.c_contiguous else np.ascontiguousarray(array)
    np.lib.format.write_array_header_2_0(header, np.lib.format.header_data_from_array_1_0(array))
    yield header.getvalue()
    flat = (array.T if fortran else array).reshape(-1).view(np.uint8)
    for start in range(0, flat.size, _CHUNK_BYTES):
        yield flat[start : start + _CHUNK_BYTES].tobytes()


def _read(chunks: Iterator[bytes]) -> Any:
    import numpy as np

    head = bytearray()
    for chunk in chunks:
        head += chunk
        if len(head) >= _HEADER_BYTES:
            break
    file = io.BytesIO(head)
    try:
        np.lib.format.read_magic(file)
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
    except ValueError as error:
        raise BlobCorrupted(f"The blob is not a numpy array: {error}.", action="Store the array again.") from error
    flat = np.empty(int(np.prod(shape, dtype=np.int64)), dtype=dtype)
    _fill(flat, chain([bytes(head[file.tell() :])], chunks))
    return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)


def _fill(flat: Any, chunks: Iterable[bytes]) -> None:
    import numpy as np

    target = memoryview(flat.view(np.uint8))
    filled = 0
    for chunk in chunks:
        if filled + len(chunk) <= len(target):
            target[filled : filled + len(chunk)] = chunk
        filled += len(chunk)
    if filled != len(target):
        raise BlobCorrupted("The array's blob has another length than its header says.", action="Store it again.")


def kinds() -> list[Kind]:
    """Give the kinds of this module, for the entry point."""
    return [NdArray()]
