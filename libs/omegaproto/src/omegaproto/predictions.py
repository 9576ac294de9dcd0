"""Predictions skip the task store: the gateway sends one batch for a model revision, a worker answers it directly."""

from __future__ import annotations

from pydantic import Field

from omegaproto.errors import ErrorInfo
from omegaproto.messages import Message, Request


class Prediction(Message):
    """The answer to one request of a batch: the result as JSON text, or the error of that request alone."""

    result: str | None = None
    error: ErrorInfo | None = None


class Predictions(Message):
    """One answer for each request, in the order sent."""

    items: tuple[Prediction, ...]


class PredictBatch(Request[Predictions], subject="worker.predict_batch", operation="worker.predict"):
    """Run one verb of one model revision over a batch of requests.

    `bodies` are the requests' JSON texts as the callers sent them (``{"columns": […], "data": […]}``); the worker
    parses them, answers all with one vectorised call, and splits the rows. Routed by worker label.
    """

    bucket: str
    name: str
    revision_id: str
    action: str = "predict"
    bodies: tuple[str, ...] = Field(min_length=1, max_length=4096)
    access_token: str
    """A short-lived token that reads this model's bucket, for the worker to fetch the revision with."""
