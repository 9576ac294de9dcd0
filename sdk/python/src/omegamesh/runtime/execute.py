"""Running one action: load the object and its inputs, call the verb, keep what changed; on a worker and locally."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from omegakinds.wire import decode_value
from omegaproto.errors import ObjectNotFound, UnknownAction
from omegaproto.names import parse_name
from omegaproto.tasks import FORMAT, RESULT_NAME, Payload, TaskSpec

if TYPE_CHECKING:
    from omegamesh.client import Omega

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
        key = None if task_id is None else f"task-{task_id}"
        return repr(om.models.put(model, reference.path, kind=metadata.kind, idempotency_key=key))
    if name := spec.params.get(RESULT_NAME):
        key = None if task_id is None else f"task-{task_id}-result"
        return repr(om.datasets.put(outcome.result, str(name), append=False, idempotency_key=key))
    return outcome.result


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
