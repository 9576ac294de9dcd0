"""Running one action: load the object and its inputs, call the verb, keep what changed; on a worker and locally."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from omegakinds.wire import decode_value
from omegaproto.errors import IdempotencyMismatch, ObjectNotFound, UnknownAction
from omegaproto.names import parse_name
from omegaproto.tasks import FORMAT, RESULT_NAME, Payload, TaskSpec

if TYPE_CHECKING:
    from omegamesh.client import Omega
    from omegamesh.stores.datasets import Datasets
    from omegamesh.stores.models import Models

ACTIONS = ("noop", "model.<verb>")


def execute(om: Omega, spec: TaskSpec, *, task_id: str | None = None) -> Any:
    """Run what `spec` asks for and give its result. Writes carry the task's id, so a second run changes nothing more.

    Raises:
        UnknownAction: there is no such action, or the model has no such verb.
        ObjectNotFound: the model or a dataset does not exist.
        Exception: whatever the object's own code raises.
    """
    group, _, verb = spec.action.partition(".")
    if spec.action == "noop":
        return None
    if group != "model":
        raise UnknownAction(f"There is no action {spec.action!r}.", action=f"Use one of: {', '.join(ACTIONS)}.")
    return _run_model(om, spec, verb, task_id)


def _run_model(om: Omega, spec: TaskSpec, verb: str, task_id: str | None) -> Any:
    reference = parse_name(spec.target)
    metadata, kind, model = om.models.load(spec.target)
    params = {name: value for name, value in spec.params.items() if name not in {FORMAT, RESULT_NAME}}
    inputs = {name: resolve_input(om, value) for name, value in spec.inputs.items()}
    outcome = kind.run(verb, model, inputs.get("X"), inputs.get("Y"), **params)
    if outcome.model_changed:
        return _put_once(om.models, model, reference.path, task_id and f"task-{task_id}", kind=metadata.kind)
    if name := spec.params.get(RESULT_NAME):
        return _put_once(om.datasets, outcome.result, str(name), task_id and f"task-{task_id}-result", append=False)
    return outcome.result


def _put_once(store: Datasets | Models, obj: Any, name: str, key: str | None, **options: Any) -> str:
    """Put what a run made; when an earlier attempt of the same task has put it already, that one stays."""
    try:
        return repr(store.put(obj, name, idempotency_key=key, **options))
    except IdempotencyMismatch:
        if key is None:
            raise
        return repr(store.metadata(name))


def resolve_input(om: Omega, value: str | Payload) -> Any:
    """Give the data that an input stands for: the dataset it names, or the value it carries. Raises ObjectNotFound."""
    if isinstance(value, Payload):
        return decode_value(value, om.blobs, om.kinds)
    found = om.datasets.get(value)
    if found is None:
        raise ObjectNotFound(
            f"There is no dataset {value!r} in bucket {om.bucket!r}.",
            action="List what is there: om.datasets.list().",
            name=value,
        )
    return found
