"""Predictions: a batch from the gateway goes to a warm child, and its answers go straight back.

Models in safe formats share the children that ran nobody's code. One whose reading runs code is answered in a child of
its bucket: the shared one refuses it once, and where it belongs is remembered.
"""

from __future__ import annotations

import asyncio
import time

from omega_worker.framing import BadFraming
from omega_worker.messages import AnswerBatch, BatchEnded
from omega_worker.metrics import WorkerMetrics
from omega_worker.pool import ChildPool
from omega_worker.process import ChildDied, ChildProcess
from omega_worker.settings import WorkerOptions
from omegaproto.errors import ErrorInfo, Forbidden, Overloaded, TooLarge, Unavailable, error_from
from omegaproto.predictions import PredictBatch, Prediction, Predictions
from omegaproto.scopes import Principal

REPLY_BYTES = 240 * 1024
"""What fits into one reply; see omegaproto.messages.MAX_MESSAGE_BYTES."""
_ITEM_BYTES = 64
_ERROR_BYTES = 1024
_REMEMBERED = 4096


class Predictor:
    """Answers PredictBatch."""

    def __init__(self, options: WorkerOptions, pool: ChildPool, metrics: WorkerMetrics) -> None:
        self._options = options
        self._pool = pool
        self._metrics = metrics
        self._run_code: dict[str, None] = {}
        """Revisions that run code when they are read, the newest last."""

    async def answer(self, batch: PredictBatch, _caller: Principal) -> Predictions:
        """Answer each request of a batch.

        Raises:
            Unavailable: the child died, or answered too late; another try may succeed.
            OmegaError: what keeps the model from answering at all, such as ObjectNotFound.
        """
        begin = time.perf_counter()
        try:
            async with asyncio.timeout(self._options.predict_seconds):
                ended = await self._ended(batch)
        except TimeoutError:
            raise Unavailable(
                f"The model {batch.name!r} did not answer within {self._options.predict_seconds:g} s.",
                action="Ask for fewer rows at once, or run it as a task.",
            ) from None
        if ended.error is not None:
            raise error_from(ended.error)
        self._metrics.predict_seconds.observe(time.perf_counter() - begin)
        self._metrics.batch_size.observe(len(batch.bodies))
        return Predictions.model_construct(items=fitting(ended.items))

    async def _ended(self, batch: PredictBatch) -> BatchEnded:
        runs_code = not self._options.isolate_buckets or batch.revision_id in self._run_code
        ended = await self._in_child(batch, trusted=runs_code)
        if runs_code or ended.error is None or ended.error.code != Forbidden.code:
            return ended
        self._run_code[batch.revision_id] = None
        if len(self._run_code) > _REMEMBERED:
            del self._run_code[next(iter(self._run_code))]
        return await self._in_child(batch, trusted=True)

    async def _in_child(self, batch: PredictBatch, *, trusted: bool) -> BatchEnded:
        child = await self._pool.acquire(batch.bucket, code=trusted)
        try:
            return await self._run(child, batch, trusted=trusted)
        finally:
            self._pool.release(child)

    async def _run(self, child: ChildProcess, batch: PredictBatch, *, trusted: bool) -> BatchEnded:
        try:
            answer = await child.run(AnswerBatch.model_construct(batch=batch, trusted=trusted))
        except ChildDied as death:
            raise Unavailable(
                f"The process that answered for the model {batch.name!r} {death}.", action="Try again in a moment."
            ) from death
        except BadFraming as error:
            raise TooLarge(str(error), action="Ask for fewer rows at once.") from error
        if isinstance(answer, BatchEnded) and (answer.error is not None or len(answer.items) == len(batch.bodies)):
            return answer
        child.kill()
        raise Unavailable(f"The model {batch.name!r} gave no answers.", action="Try again in a moment.")


def fitting(items: tuple[Prediction, ...]) -> tuple[Prediction, ...]:
    """Give the answers as far as one reply holds them; in place of each that is over, an error for its request."""
    room = REPLY_BYTES
    kept: list[Prediction] = []
    for item in items:
        size = _ITEM_BYTES + (_ERROR_BYTES if item.result is None else len(item.result.encode()))
        if size > room:
            item = Prediction(error=_too_large(size))  # noqa: PLW2901 - the request gets this answer instead
        else:
            room -= size
        kept.append(item)
    return tuple(kept)


def _too_large(size: int) -> ErrorInfo:
    if size > REPLY_BYTES // 2:
        return TooLarge(
            f"The result is {size} bytes, which is too much for one answer.",
            action="Ask for fewer rows at once, or run it as a task.",
            limit=REPLY_BYTES // 2,
        ).info()
    return Overloaded("Too many large results came together.", action="Try again in a moment.").info()
