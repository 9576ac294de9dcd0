"""Arrays come back in dtype, shape, order and value; arrays of objects are refused."""

from __future__ import annotations

from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given

from omegakinds.base import Dumped
from omegakinds.ndarray import NdArray
from omegaproto.errors import BadInput, BlobCorrupted


@given(array=hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(min_dims=0, min_side=0)))
def test_any_array_comes_back(array: Any, new_blobs: Any) -> None:
    blobs = new_blobs()
    back = NdArray().load(NdArray().dump(array, blobs), blobs)
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert back.tobytes() == array.tobytes()


@pytest.mark.parametrize(
    "array",
    [
        np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        np.arange(12.0).reshape(3, 4)[::2, ::-1],
        np.arange(1_000_000),
        np.array([(1, 2.0)], dtype=[("a", int), ("b", float)]),
    ],
    ids=["fortran", "strided", "large", "structured"],
)
def test_layouts_come_back_writable(array: Any, blobs: Any) -> None:
    back = NdArray().load(NdArray().dump(array, blobs), blobs)
    assert np.array_equal(back, array)
    assert back.flags.f_contiguous == array.flags.f_contiguous or not array.flags.f_contiguous
    back.flat[0] = back.flat[-1]


def test_objects_are_refused(blobs: Any) -> None:
    with pytest.raises(BadInput, match="no safe binary form"):
        NdArray().dump(np.array([object()]), blobs)


def test_only_plain_arrays_are_supported() -> None:
    assert NdArray().supports(np.zeros(1), "x")
    assert not NdArray().supports(np.ma.array([1]), "x")
    assert not NdArray().supports([1], "x")


@pytest.mark.parametrize("damage", [lambda data: b"no array", lambda data: data[:-1], lambda data: data + b"x"])
def test_blob_corrupted(damage: Any, blobs: Any) -> None:
    dumped = NdArray().dump(np.arange(5000), blobs)
    ref = blobs.put(damage(blobs.read(dumped.blobs[0])))
    with pytest.raises(BlobCorrupted):
        NdArray().load(Dumped("ndarray.bin", {}, (ref,)), blobs)
