"""What travels on the bus: requests with a typed reply, doorbells and events, each a small versioned pydantic model.

A request class names its subject, its reply type and the scope that its caller needs, so that
``await bus.call(GetObject(...))`` is typed end to end and every subject is guarded by the same table::

    class GetObject(Request[ObjectInfo], subject="metadata.get_object", operation="object.read"): ...

Messages grow only by optional fields; an unknown field is ignored, so older services read newer messages.
"""

from __future__ import annotations

from typing import Any, ClassVar, Generic, TypeVar, cast

from pydantic import BaseModel, ConfigDict

MAX_MESSAGE_BYTES = 256 * 1024
"""The largest control message, in bytes of JSON. What is larger is a blob, and the message names it."""


class Message(BaseModel):
    """The base of everything that travels or is stored; immutable, tolerant of fields added later."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_bytes="base64", val_json_bytes="base64")

    v: int = 1


class Empty(Message):
    """A reply that says no more than that the request took effect."""


ReplyT_co = TypeVar("ReplyT_co", bound=Message, covariant=True)

REQUESTS: dict[str, type[Request[Any]]] = {}
EVENTS: dict[str, type[Event]] = {}


class Request(Message, Generic[ReplyT_co]):
    """A call on one service: exactly one handler answers it with a `ReplyT_co` or a typed error."""

    subject: ClassVar[str] = ""
    operation: ClassVar[str] = ""

    bucket: str
    """The bucket that the caller needs the operation's role in; ``*`` for what belongs to the whole mesh."""

    def __init_subclass__(cls, *, subject: str = "", operation: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if subject:
            cls.subject, cls.operation = subject, operation
            if REQUESTS.setdefault(subject, cls).__qualname__ != cls.__qualname__:
                raise TypeError(f"subject {subject!r} is taken by {REQUESTS[subject].__qualname__}")

    @classmethod
    def reply_type(cls) -> type[ReplyT_co]:
        """Give the class of the reply, from the type argument of the base class."""
        for base in cls.__mro__:
            generic = getattr(base, "__pydantic_generic_metadata__", None)
            if generic and generic["origin"] is Request:
                return cast("type[ReplyT_co]", generic["args"][0])
        raise TypeError(f"{cls.__name__} must derive from Request[SomeReply]")


class Event(Message):
    """A fact that happened; anyone may listen, nobody must."""

    subject: ClassVar[str] = ""

    def __init_subclass__(cls, *, subject: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if subject:
            cls.subject = subject
            EVENTS[subject] = cls


class Doorbell(Message):
    """Work is waiting for a label. The task document is the truth; a lost doorbell is rung again by a sweeper."""

    task_id: str
    label: str
