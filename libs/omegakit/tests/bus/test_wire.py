"""What messages look like on the way."""

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from omegakit.bus import Call
from omegakit.bus import amqp_topology as topology
from omegakit.bus.handling import Outcome, after_failure
from omegakit.bus.wire import (
    DELIVERY_LIMIT,
    MAX_NAME_BYTES,
    Answer,
    Limits,
    address,
    context_from,
    context_headers,
    decode,
    encode,
    failure,
    open_answer,
    redelivery_delay,
)
from omegaproto.errors import BadBody, BadRequest, OmegaError, TooLarge, error_types
from omegaproto.messages import MAX_MESSAGE_BYTES, Doorbell, Message

TEXT = st.text(max_size=50)


class Noted(Message):
    text: str
    data: bytes = b""


@given(st.text(), st.binary())
def test_messages_come_out_as_they_went_in(text: str, data: bytes) -> None:
    message = Noted(text=text.encode("utf-8", "ignore").decode(), data=data)
    assert decode(Noted, encode(message)) == message


def test_fields_of_a_later_version_are_ignored() -> None:
    assert decode(Noted, b'{"text": "a", "colour": "red", "v": 2}') == Noted(text="a", v=2)


@given(st.binary(max_size=100))
def test_any_bytes_are_a_doorbell_or_a_bad_body(body: bytes) -> None:
    try:
        assert isinstance(decode(Doorbell, body), Doorbell)
    except BadBody as error:
        assert "Doorbell" in error.message


def test_the_limit_is_the_largest_message() -> None:
    room = MAX_MESSAGE_BYTES - len(encode(Noted(text="")))
    assert len(encode(Noted(text="x" * room))) == MAX_MESSAGE_BYTES
    with pytest.raises(TooLarge):
        encode(Noted(text="x" * (room + 1)))


@pytest.mark.parametrize("error_type", error_types().values())
def test_every_error_travels_as_its_type(error_type: type[OmegaError]) -> None:
    answer = failure(error_type("It happened.", action="Do this.", name="iris"))
    with pytest.raises(error_type) as caught:
        open_answer(Noted, answer)
    assert type(caught.value) is error_type
    assert (str(caught.value), caught.value.details) == ("It happened. Do this.", {"name": "iris"})


def test_an_error_is_never_too_large_to_travel() -> None:
    answer = failure(OmegaError("m" * MAX_MESSAGE_BYTES, action="a" * MAX_MESSAGE_BYTES))
    assert len(answer.body) < 3000
    assert json.loads(answer.body)["message"] == "m" * 1000


def test_a_reply_of_another_shape_is_an_error() -> None:
    with pytest.raises(OmegaError, match="cannot be understood"):
        open_answer(Noted, Answer(b"{}"))


@given(TEXT, TEXT.filter(bool), st.none() | TEXT.filter(bool))
def test_the_context_comes_out_as_it_went_in(token: str, request_id: str, task_id: str | None) -> None:
    call = Call(token, request_id, task_id)
    assert context_from(context_headers(call)) == call


@given(st.dictionaries(st.sampled_from(["token", "request_id", "task_id"]), st.none() | st.integers() | TEXT))
def test_any_headers_give_a_context(headers: dict[str, Any]) -> None:
    assert context_from(headers).request_id


@given(TEXT.filter(bool), TEXT)
def test_an_address_fits_into_an_amqp_name(subject: str, route: str) -> None:
    assume(len(f"{subject}/{route}".encode("utf-8", "surrogatepass")) <= MAX_NAME_BYTES)
    name = address(subject, route)
    for queue in (topology.request_queue(name), topology.label_queue(name), topology.dead_queue(name)):
        assert len(queue.encode("utf-8", "surrogatepass")) <= 255


@pytest.mark.parametrize("name", ["x" * (MAX_NAME_BYTES + 1), "ü" * (MAX_NAME_BYTES // 2 + 1)])
def test_a_name_that_is_too_long_is_refused(name: str) -> None:
    address(name[: MAX_NAME_BYTES // 2])
    with pytest.raises(BadRequest, match="shorter"):
        address(name)


@given(st.integers(0, 100))
def test_redeliveries_wait_longer_each_time_and_a_second_at_most(failures: int) -> None:
    assert 0.05 <= redelivery_delay(failures) <= redelivery_delay(failures + 1) <= 1.0


def test_the_fifth_failure_is_the_last() -> None:
    outcomes = [after_failure(failures) for failures in range(1, DELIVERY_LIMIT + 1)]
    assert outcomes == [Outcome.AGAIN] * 4 + [Outcome.DEAD]


def test_the_broker_counts_deliveries_as_we_do() -> None:
    """RabbitMQ counts the deliveries after the first."""
    arguments = topology.label_arguments("cpu", Limits(doorbells=7))
    assert arguments["x-delivery-limit"] + 1 == DELIVERY_LIMIT
    assert arguments["x-max-length"] == 7
