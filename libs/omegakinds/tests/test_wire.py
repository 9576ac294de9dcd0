"""Payloads bring every value to the other side, inline when small."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omegakinds.registry import KindRegistry
from omegakinds.wire import INLINE_BYTES, decode_value, encode_value
from omegaproto.errors import UnknownKind
from omegaproto.tasks import Payload

REGISTRY = KindRegistry()


def travel(value: Any, blobs: Any) -> tuple[Payload, Any]:
    payload = Payload.model_validate_json(encode_value(value, blobs, REGISTRY).model_dump_json())
    return payload, decode_value(payload, blobs, REGISTRY)


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(), inner, max_size=4)),
    max_leaves=10,
)


@given(value=json_values)
def test_json_values_travel(value: Any, new_blobs: Any) -> None:
    _, back = travel(value, new_blobs())
    assert back == value
    assert repr(back) == repr(value)


@pytest.mark.parametrize("value", [(1, 2), b"x", float("inf"), {1: 2}, np.float64(1.5), 2**70], ids=repr)
def test_plain_values_travel_inline(value: Any, blobs: Any) -> None:
    payload, back = travel(value, blobs)
    assert (payload.kind, blobs.blobs) == ("python.data", {})
    assert (type(back), back) == (type(value), value)


def test_small_arrays_and_frames_travel_inline(blobs: Any) -> None:
    frame = pd.DataFrame({"a": [1, 2]}, index=pd.date_range("2020", periods=2))
    for value, check in ((np.arange(3), np.testing.assert_array_equal), (frame, pd.testing.assert_frame_equal)):
        payload, back = travel(value, blobs)
        assert payload.data is not None
        check(back, value)  # type: ignore[operator]
    assert blobs.blobs == {}


@pytest.mark.parametrize(
    "value", ["x" * INLINE_BYTES, np.zeros(INLINE_BYTES), ["x" * 9] * 9000], ids=["text", "array", "list"]
)
def test_large_values_are_blobs(value: Any, blobs: Any) -> None:
    payload, back = travel(value, blobs)
    assert payload.data is None
    assert payload.value is None
    assert len(payload.blobs) == 1
    assert np.array_equal(back, value)


def test_large_frames_are_blobs(blobs: Any) -> None:
    frame = pd.DataFrame({"a": np.random.default_rng(0).random(600_000), "b": 1})
    payload, back = travel(frame, blobs)
    assert len(payload.blobs) > 1
    pd.testing.assert_frame_equal(back, frame)


def test_frames_with_a_large_description_are_blobs(blobs: Any) -> None:
    frame = pd.DataFrame([range(2500)], columns=[f"column {i}" if i % 2 else i for i in range(2500)])
    payload, back = travel(frame, blobs)
    assert sorted(ref.role for ref in payload.blobs) == ["meta", "part"]
    pd.testing.assert_frame_equal(back, frame)


def test_deep_values_travel(blobs: Any) -> None:
    value: list[Any] = []
    for _ in range(100):
        value = [value]
    assert travel(value, blobs)[1] == value


def test_what_has_no_kind_is_refused(blobs: Any) -> None:
    with pytest.raises(UnknownKind):
        encode_value(object(), blobs)
    with pytest.raises(UnknownKind):
        decode_value(Payload(kind="keras.h5"), blobs)
