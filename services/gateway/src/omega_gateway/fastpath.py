"""The shortcut of predictions: a known key, a known model, an inline body, and nothing else asked for.

It stands for the route in ``routes/models.py``. No request model, no routing, no parsing of the body.
"""

from __future__ import annotations

from starlette.types import Receive, Scope

from omega_gateway.auth import Authenticator
from omega_gateway.predict import Predictor, Target, read_body, too_large
from omega_gateway.settings import GatewayOptions
from omega_gateway.shortcut import Answer, Reply, known_caller, whole_body
from omegaproto.scopes import Principal, action_operation, allows

PREFIX = "/api/v1/model/"
_METHODS = frozenset({"POST", "PUT"})


class FastPredict:
    """Answers predictions by known callers on known models."""

    route = "fast predict"

    def __init__(self, keys: Authenticator, predictor: Predictor, options: GatewayOptions) -> None:
        self._keys = keys
        self._predictor = predictor
        self._limit = options.predict_body_bytes

    def match(self, scope: Scope) -> Answer | None:
        """Give what answers a prediction when caller and model are known, and the caller may."""
        path: str = scope["path"]
        if not path.startswith(PREFIX) or scope["query_string"] or scope["method"] not in _METHODS:
            return None
        caller = known_caller(scope, self._keys)
        if caller is None:
            return None
        principal, bucket = caller
        reference, _, action = path[len(PREFIX) :].rpartition("/")
        target = self._predictor.known(bucket, reference, action)
        if target is None or not allows(principal.role_in(bucket), action_operation(action)):
            return None

        async def predict(receive: Receive, request_id: str) -> Reply:
            return Reply(200, await self._predict(principal, target, receive, request_id))

        return predict

    async def _predict(self, principal: Principal, target: Target, receive: Receive, request_id: str) -> bytes:
        body, size = read_body(await whole_body(receive, self._limit, too_large), self._limit)
        item = self._predictor.item(body, size, principal, request_id)
        return (target.head + await target.batcher.submit(item) + target.tail).encode()
