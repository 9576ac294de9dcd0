from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omega_worker.framing import MAX_FRAME_BYTES, BadFraming, FrameDecoder, encode_frame
from omega_worker.messages import AnswerBatch, NewToken, Ready, RunTask, TaskEnded, from_frame, to_frame
from omegaproto.errors import NotFitted
from omegaproto.messages import Message
from omegaproto.predictions import PredictBatch
from omegaproto.tasks import Payload

from .conftest import spec

frames = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=200)), max_size=8)


@given(frames, st.lists(st.integers(1, 50), min_size=1))
def test_frames_come_out_as_they_went_in_however_they_are_cut(
    given_frames: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    stream = b"".join(encode_frame(code, body) for code, body in given_frames)
    decoder, found, at = FrameDecoder(), [], 0
    for turn in range(len(stream) + 1):
        size = cuts[turn % len(cuts)]
        found += decoder.feed(stream[at : at + size])
        at += size
    assert found == given_frames


def test_a_frame_over_the_limit_is_refused_before_its_bytes_arrive() -> None:
    with pytest.raises(BadFraming, match="over the limit"):
        FrameDecoder().feed(struct.pack(">IB", MAX_FRAME_BYTES + 1, 1))
    with pytest.raises(BadFraming, match="over the limit"):
        encode_frame(1, bytes(MAX_FRAME_BYTES + 1))


@pytest.mark.parametrize(
    "message",
    [
        RunTask(
            task_id="t",
            attempt=2,
            spec=spec("model.fit", inputs={"X": Payload(kind="x", data=b"\x00\xff")}),
            access_token="a",
        ),
        AnswerBatch(
            batch=PredictBatch(bucket="b", name="n", revision_id="r", bodies=("{}",), access_token="a"), trusted=True
        ),
        NewToken(access_token="a"),
        Ready(seconds=1.5),
        TaskEnded(result=Payload(value=[1, None])),
        TaskEnded(error=NotFitted("No.", action="Fit it.").info(), retryable=True),
    ],
)
def test_messages_travel(message: Message) -> None:
    (frame,) = FrameDecoder().feed(to_frame(message))
    assert from_frame(frame) == message


@given(st.integers(0, 255), st.binary(max_size=50))
def test_nonsense_is_refused_and_nothing_else_raised(code: int, body: bytes) -> None:
    try:
        from_frame((code, body))
    except BadFraming:
        return
