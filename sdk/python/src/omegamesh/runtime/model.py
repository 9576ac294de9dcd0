"""The verbs of a stored model, as calls that give promises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from omegamesh.runtime.execute import execute
from omegamesh.runtime.promise import Promise
from omegaproto.errors import BadInput
from omegaproto.ids import new_id
from omegaproto.names import parse_name
from omegaproto.tasks import DEFAULT_LABEL, RESULT_NAME, Payload, TaskSpec

if TYPE_CHECKING:
    from omegamesh.client import Omega
    from omegamesh.runtime.tasks import TaskApi


class Done:
    """A promise that is kept already: the result of a call in this process."""

    id = task_id = None
    status = "SUCCESS"

    def __init__(self, value: Any) -> None:
        self._value = value

    def ready(self) -> bool:
        """Say that the call has ended."""
        return True

    def get(self, timeout: float | None = None) -> Any:
        """Give the result."""
        return self._value


class ModelProxy:
    """One model of one bucket. X and Y are dataset names (with column expressions) or data."""

    def __init__(self, om: Omega, api: TaskApi, name: str, *, label: str | None, local: bool) -> None:
        parse_name(name)
        self._om = om
        self._api = api
        self._name = name
        self._label = label
        self._local = local

    def __repr__(self) -> str:
        return f"<ModelProxy {self._name} on {'this process' if self._local else self._label or DEFAULT_LABEL}>"

    def require(self, label: str | None = None) -> ModelProxy:
        """Give the same model on workers that offer `label`."""
        return ModelProxy(self._om, self._api, self._name, label=label, local=label == "local")

    def fit(self, X: Any, Y: Any = None, **params: Any) -> Promise | Done:
        """Fit the model and store it as a new version; the result is the text of its Metadata."""
        return self._call("fit", X, Y, params)

    def partial_fit(self, X: Any, Y: Any = None, **params: Any) -> Promise | Done:
        """Fit the model further and store it as a new version; the result is the text of its Metadata."""
        return self._call("partial_fit", X, Y, params)

    def predict(self, X: Any, rName: str | None = None, **params: Any) -> Promise | Done:
        """Predict; with `rName` the result is stored as that dataset, and is the text of its Metadata."""
        return self._call("predict", X, None, params, rName)

    def predict_proba(self, X: Any, rName: str | None = None, **params: Any) -> Promise | Done:
        """Give class probabilities, of shape (rows, classes)."""
        return self._call("predict_proba", X, None, params, rName)

    def decision_function(self, X: Any, rName: str | None = None, **params: Any) -> Promise | Done:
        """Give confidence scores."""
        return self._call("decision_function", X, None, params, rName)

    def transform(self, X: Any, rName: str | None = None, **params: Any) -> Promise | Done:
        """Transform X."""
        return self._call("transform", X, None, params, rName)

    def score(self, X: Any, Y: Any = None, **params: Any) -> Promise | Done:
        """Give the model's score on X and Y."""
        return self._call("score", X, Y, params)

    def _call(
        self, verb: str, X: Any, Y: Any, params: dict[str, Any], result_name: str | None = None
    ) -> Promise | Done:
        given = {name: self._input(name, value) for name, value in (("X", X), ("Y", Y)) if value is not None}
        if result_name is not None:
            params = params | {RESULT_NAME: result_name}
        spec: dict[str, Any] = {"action": f"model.{verb}", "target": self._name, "inputs": given, "params": params}
        if self._local:
            full = TaskSpec(bucket=self._om.client.config.bucket, idempotency_key=new_id(), **spec)
            return Done(execute(self._om, full))
        label = self._label or self._required() or DEFAULT_LABEL
        return self._api.submit(**spec, label=label)

    def _required(self) -> str | None:
        """Give the label that the model's own attributes require."""
        found = self._om.models.metadata(parse_name(self._name).path)
        required = found.attributes.get("require") if found is not None else None
        return required if isinstance(required, str) else None

    def _input(self, name: str, value: Any) -> str | Payload:
        if isinstance(value, str):
            parse_name(value)
            return value
        if callable(value) or isinstance(value, type):
            raise BadInput(f"{name} is a {type(value).__name__}.", action="Give a dataset's name, or data.")
        from omegakinds.wire import encode_value

        return encode_value(value, self._om.blobs, self._om.kinds)
