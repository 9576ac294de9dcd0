"""What supervisor and child say to each other, and the type codes under which it travels. Never pickle, always JSON."""

from __future__ import annotations

from pydantic import ValidationError

from omega_worker.framing import BadFraming, Frame, encode_frame
from omegaproto.errors import ErrorInfo
from omegaproto.messages import Message
from omegaproto.predictions import PredictBatch, Prediction
from omegaproto.tasks import Payload, TaskSpec


class RunTask(Message):
    """To a child: run one attempt of a task."""

    task_id: str
    attempt: int
    spec: TaskSpec
    access_token: str


class AnswerBatch(Message):
    """To a child: answer a batch. Only when `trusted` may it read models whose reading runs code, such as pickles."""

    batch: PredictBatch
    trusted: bool


class NewToken(Message):
    """To a child: the token of the running task was renewed."""

    access_token: str


class Ready(Message):
    """From a child: it can work now. `seconds` is how long its imports took."""

    seconds: float


class TaskEnded(Message):
    """From a child: the task's result or its error. `retryable` says that another attempt may succeed."""

    result: Payload | None = None
    error: ErrorInfo | None = None
    retryable: bool = False


class BatchEnded(Message):
    """From a child: the answers to an AnswerBatch, or the error of all of them."""

    items: tuple[Prediction, ...] = ()
    error: ErrorInfo | None = None


_TYPES: dict[int, type[Message]] = {
    1: RunTask,
    2: AnswerBatch,
    3: NewToken,
    4: Ready,
    5: TaskEnded,
    6: BatchEnded,
}
_CODES = {cls: code for code, cls in _TYPES.items()}


def to_frame(message: Message) -> bytes:
    """Give a message as bytes for the pipe. Raises BadFraming when it is too long."""
    return encode_frame(_CODES[type(message)], message.__pydantic_serializer__.to_json(message))


def from_frame(frame: Frame) -> Message:
    """Give the message in a frame. Raises BadFraming when it is none."""
    code, body = frame
    cls = _TYPES.get(code)
    if cls is None:
        raise BadFraming(f"No message has the type code {code}.")
    try:
        return cls.model_validate_json(body)
    except ValidationError as error:
        raise BadFraming(f"A {cls.__name__} that is none: {error.errors(include_input=False)[:3]}") from error
