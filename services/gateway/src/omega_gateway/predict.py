"""Predictions: which worker answers a model verb, and the batches that requests for one model travel in.

Nothing here knows HTTP. A request's body stays the text that it came as; the worker parses it. One batch of a model
revision is in flight, and whatever arrives meanwhile is the next one.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import NamedTuple
from urllib.parse import quote

import structlog

from omega_gateway.cache import ReadThrough
from omega_gateway.settings import GatewayOptions
from omegakit.batching import GreedyBatcher
from omegakit.bus import Bus
from omegakit.metrics import Metrics
from omegakit.tokens import Tokens
from omegaproto.errors import BadBody, CallTimeout, OmegaError, Overloaded, TooLarge, Unavailable, error_from
from omegaproto.messages import MAX_MESSAGE_BYTES
from omegaproto.names import parse_name
from omegaproto.objects import GetObject, Metadata, ObjectDropped, RevisionCommitted, Store
from omegaproto.predictions import PredictBatch, Prediction
from omegaproto.scopes import Principal, Role
from omegaproto.tasks import DEFAULT_LABEL

INLINE_ACTIONS = frozenset({"predict", "predict_proba", "transform", "decision_function"})
"""The verbs that a worker answers directly; the others are tasks."""

_ENVELOPE_BYTES = 12 * 1024
MAX_BATCH_BYTES = MAX_MESSAGE_BYTES - _ENVELOPE_BYTES
"""The most that the bodies of one message take, as JSON text; names and the access token travel in the rest."""


class Item(NamedTuple):
    """One request of a batch."""

    body: str
    size: int
    """Bytes that the body takes inside the message."""
    principal: Principal
    request_id: str
    deadline: float


@dataclass(frozen=True, slots=True)
class Target:
    """What a URL means: one verb of one model revision, its batches, and the JSON around each result."""

    bucket: str
    name: str
    revision_id: str
    label: str
    action: str
    batcher: GreedyBatcher[Item, str]
    head: str
    tail: str


def label_of(metadata: Metadata) -> str:
    """Give the label of the workers that a model requires by its attribute ``require``."""
    required = metadata.attributes.get("require")
    return required if isinstance(required, str) and 0 < len(required) <= 63 else DEFAULT_LABEL


def envelope(name: str, uri: str) -> tuple[str, str]:
    """Give the JSON text before and after a result."""
    return f'{{"model": {_quoted(name)}, "result": ', f', "resource_uri": {_quoted(uri)}}}'


def verb_uri(name: str, action: str) -> str:
    """Give the path of a model's verb."""
    return f"/api/v1/model/{quote(name)}/{action}"


def _quoted(text: str) -> str:
    return encode_basestring(text)


def read_body(raw: bytes, limit: int) -> tuple[str, int]:
    """Give a body as text, and the bytes that it takes inside a message.

    Raises:
        TooLarge: it is over the limit.
        BadBody: it is empty, or not UTF-8.
    """
    if len(raw) > limit:
        raise too_large(limit)
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise BadBody(f"The body is not UTF-8 ({error.reason}).", action="Send JSON text in UTF-8.") from None
    if not text:
        raise BadBody(
            "The body is empty.", action='Send {"columns": [...], "data": [...]}, or name a dataset: ?datax=.'
        )
    size = len(encode_basestring(text)) + len(raw) - len(text) + len(",")
    if size > MAX_BATCH_BYTES:
        raise too_large(limit)
    return text, size


def too_large(limit: int) -> TooLarge:
    """Give the error for data that does not fit into a message."""
    return TooLarge(
        f"Inline data and its result are limited to about {limit // 1024} KiB each.",
        action="Put the data as a dataset and predict with ?datax=<dataset>.",
        limit=limit,
    )


class Predictor:
    """Targets by URL, and batches by model revision and verb."""

    def __init__(self, bus: Bus, tokens: Tokens, metrics: Metrics, options: GatewayOptions) -> None:
        self._bus = bus
        self._tokens = tokens
        self._options = options
        self._targets: ReadThrough[tuple[str, str, str], Target] = ReadThrough(
            size=options.models_cached, seconds=lambda _target: options.model_seconds
        )
        self._batchers: OrderedDict[tuple[str, ...], GreedyBatcher[Item, str]] = OrderedDict()
        self._batches = metrics.counter("omega_predict_batches_total", "Messages sent to workers for predictions.")
        self._items = metrics.counter("omega_predict_requests_total", "Predictions sent to workers.")

    async def start(self) -> None:
        """Listen for models that change."""
        await self._bus.subscribe(RevisionCommitted, self._changed)
        await self._bus.subscribe(ObjectDropped, self._changed)
        self._bus.on_reconnect(self._targets.clear)

    async def drain(self) -> None:
        """Return when everything that waits is answered."""
        for batcher in list(self._batchers.values()):
            await batcher.drain()

    async def stop(self) -> None:
        """Let go of what is being looked up."""
        await self._targets.close()

    async def _changed(self, event: RevisionCommitted | ObjectDropped) -> None:
        if event.store is Store.models:
            self.forget(event.bucket, event.name)

    def forget(self, bucket: str, name: str) -> None:
        """Forget what is known of a model: it has changed."""

        def matches(key: tuple[str, str, str], target: Target | None) -> bool:
            return key[0] == bucket and (target is None or target.name == name)

        self._targets.evict(matches)

    # Targets.

    def known(self, bucket: str, reference: str, action: str) -> Target | None:
        """Give the target of a verb that was asked for lately, if it was; asks nobody."""
        return self._targets.get((bucket, reference, action))

    async def target(self, bucket: str, reference: str, action: str, token: str) -> Target:
        """Give the target of a verb. Raises BadName, ObjectNotFound, RevisionNotFound."""
        return await self._targets.read(
            (bucket, reference, action), lambda: self._find(bucket, reference, action, token)
        )

    async def _find(self, bucket: str, reference: str, action: str, token: str) -> Target:
        metadata = await self.metadata(bucket, reference, token)
        head, tail = envelope(reference, verb_uri(reference, action))
        revision_id, label = metadata.revision.id, label_of(metadata)
        batcher = self._batcher(bucket, metadata.name, revision_id, action, label)
        return Target(bucket, metadata.name, revision_id, label, action, batcher, head, tail)

    async def metadata(self, bucket: str, reference: str, token: str) -> Metadata:
        """Give a model's metadata, as metadata answers now. Raises BadName, ObjectNotFound, RevisionNotFound."""
        name = parse_name(reference)
        request = GetObject(bucket=bucket, store=Store.models, name=name.path, tag=name.version, offset=name.back)
        return await self._bus.call(request, token=token)

    def _batcher(self, *key: str) -> GreedyBatcher[Item, str]:
        batcher = self._batchers.pop(key, None) or self._new_batcher(key)
        self._batchers[key] = batcher
        if len(self._batchers) > self._options.models_cached:
            idle = next((old for old, unused in self._batchers.items() if unused.idle and old != key), None)
            if idle is not None:
                del self._batchers[idle]
        return batcher

    def _new_batcher(self, key: tuple[str, ...]) -> GreedyBatcher[Item, str]:
        async def run(items: list[Item]) -> Sequence[str | BaseException]:
            return await self._run(key, items)

        return GreedyBatcher(
            run,
            max_items=self._options.predict_batch,
            max_waiting=self._options.predict_waiting,
            max_size=MAX_BATCH_BYTES,
            size_of=_size_of,
            linger=self._options.predict_linger,
        )

    # Batches.

    def item(self, body: str, size: int, principal: Principal, request_id: str) -> Item:
        """Give a request as it goes into a batch."""
        return Item(body, size, principal, request_id, time.monotonic() + self._options.predict_seconds)

    async def _run(self, key: tuple[str, ...], items: list[Item]) -> Sequence[str | BaseException]:
        now = time.monotonic()
        timely = [item for item in items if item.deadline > now]
        if len(timely) < len(items):
            answers = iter(await self._send(key, timely)) if timely else iter(())
            return [next(answers) if item.deadline > now else self._too_late(key) for item in items]
        return await self._send(key, items)

    async def _send(self, key: tuple[str, ...], items: list[Item]) -> Sequence[str | BaseException]:
        try:
            return await self._ask(key, items)
        except TooLarge:
            # The answers together are too large for one message: each half has a message of its own.
            if len(items) == 1:
                return [too_large(self._options.predict_body_bytes)]
            half = len(items) // 2
            return [*await self._send(key, items[:half]), *await self._send(key, items[half:])]

    async def _ask(self, key: tuple[str, ...], items: list[Item]) -> Sequence[str | BaseException]:
        bucket, name, revision_id, action, label = key
        structlog.contextvars.bind_contextvars(request_id=items[0].request_id)
        self._batches.inc()
        self._items.inc(len(items))
        request = PredictBatch.model_construct(  # made of what was checked when it came
            bucket=bucket,
            name=name,
            revision_id=revision_id,
            action=action,
            bodies=tuple(item.body for item in items),
            access_token=self._reader_token(items[0].principal, bucket),
        )
        try:
            reply = await self._bus.call(
                request, token=self._tokens.own(), route=label, timeout=self._options.predict_seconds
            )
        except Unavailable as error:
            raise Unavailable(
                f"No worker with the label {label!r} answered: {error.message}",
                action=f"{error.action} Workers with the label {label!r} answer for this model.".strip(),
                label=label,
            ) from error
        if len(reply.items) != len(items):
            raise OmegaError("The worker answered another number of requests than it was sent.")
        return await self._ask_again(key, items, [_opened(prediction) for prediction in reply.items])

    async def _ask_again(
        self, key: tuple[str, ...], items: list[Item], answers: list[str | BaseException]
    ) -> Sequence[str | BaseException]:
        """Send those again whose results found no room in the reply beside the others."""
        crowded_out = [index for index, answer in enumerate(answers) if isinstance(answer, Overloaded)]
        if 0 < len(crowded_out) < len(items):
            again = await self._send(key, [items[index] for index in crowded_out])
            for index, answer in zip(crowded_out, again, strict=True):
                answers[index] = answer
        return answers

    def _reader_token(self, principal: Principal, bucket: str) -> str:
        return self._tokens.acting_for(principal.model_copy(update={"grants": {bucket: Role.reader}}), bucket)

    def _too_late(self, key: tuple[str, ...]) -> CallTimeout:
        return CallTimeout(
            f"The prediction by {key[1]!r} waited for its turn longer than {self._options.predict_seconds:g} s.",
            action="Try again, or add workers.",
        )


def _size_of(item: Item) -> int:
    return item.size


def _opened(prediction: Prediction) -> str | BaseException:
    if prediction.error is not None:
        return error_from(prediction.error)
    if prediction.result is None:
        return OmegaError("The worker gave neither a result nor an error.")
    return prediction.result
