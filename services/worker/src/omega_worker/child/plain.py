"""Results as plain JSON, for callers that are not Python."""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json, to_json

from omegaproto.errors import TooLarge
from omegaproto.tasks import Payload

MAX_JSON_BYTES = 128 * 1024
"""What fits into one control message beside the rest of the task."""


def json_payload(value: Any) -> Payload:
    """Give a result as JSON: arrays, frames and series as nested lists of their values, what is not finite as null.

    Raises:
        TooLarge: the text is over MAX_JSON_BYTES.
    """
    text = to_json(_listed(value), inf_nan_mode="null", fallback=_plain)
    if len(text) > MAX_JSON_BYTES:
        raise TooLarge(
            f"The result is {len(text)} bytes of JSON, over the limit of {MAX_JSON_BYTES}.",
            action="Store it as a dataset by the parameter rName, or ask with the Python SDK.",
            limit=MAX_JSON_BYTES,
        )
    return Payload(value=from_json(text))


def _listed(value: Any) -> Any:
    if hasattr(value, "toarray"):
        value = value.toarray()
    elif hasattr(value, "to_numpy"):
        value = value.to_numpy()
    return value.tolist() if hasattr(value, "tolist") else value


def _plain(value: Any) -> Any:
    listed = _listed(value)
    return str(value) if listed is value else listed
