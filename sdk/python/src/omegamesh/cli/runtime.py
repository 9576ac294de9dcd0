"""``om runtime``: run models on workers, look at tasks and workers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from omegamesh.cli.output import show_json, show_table, show_value
from omegamesh.cli.session import session
from omegamesh.cli.values import parse_input, parse_pairs

app = typer.Typer(help="Run models, and look at tasks and workers.", no_args_is_help=True)

Action = Literal["fit", "partial_fit", "predict", "predict_proba", "decision_function", "transform", "score"]
_WITH_Y = frozenset({"fit", "partial_fit", "score"})
_INPUT = "A dataset (sales[^y]), a number, or JSON: [[1, 2]]."
TaskId = Annotated[str, typer.Argument(metavar="TASKID", help="The task's id.")]


@app.command()
def model(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The model, with a version if wanted.")],
    action: Annotated[Action, typer.Argument(metavar="ACTION", help="What to do.")],
    x: Annotated[str, typer.Argument(metavar="X", help=_INPUT)],
    y: Annotated[str | None, typer.Argument(metavar="Y", help=_INPUT)] = None,
    result: Annotated[str | None, typer.Option("--result", help="Store the result as this dataset.")] = None,
    param: Annotated[list[str] | None, typer.Option("--param", metavar="KEY=VALUE", help="A keyword argument.")] = None,
    asynchronous: Annotated[bool, typer.Option("--async", help="Print the task's id and do not wait.")] = False,
    require: Annotated[str | None, typer.Option("--require", help="Run on workers that offer this label.")] = None,
    local: Annotated[bool, typer.Option("--local", help="Run in this process.")] = False,
) -> None:
    """Run a verb of a stored model and print its result."""
    runtime = session(context).om.runtime
    here = local or runtime.is_local
    arguments = verb_arguments(action, x, y, result) | parse_pairs(param or (), "--param")
    if asynchronous and here:
        raise typer.BadParameter("A call in this process cannot be waited for later.", param_hint="--async")
    promise = getattr(runtime.model(name, require="local" if local else require), action)(**arguments)
    if asynchronous:
        typer.echo(promise.id)
    else:
        show_value(promise.get(), as_json=session(context).json)


def verb_arguments(action: str, x: str, y: str | None, result: str | None) -> dict[str, Any]:
    """Give the arguments of a verb. Raises BadParameter for one that the verb does not take."""
    given: dict[str, Any] = {"X": parse_input(x, "X")}
    if y is not None:
        if action not in _WITH_Y:
            raise typer.BadParameter(f"{action} takes no Y.", param_hint="Y")
        given["Y"] = parse_input(y, "Y")
    if result is not None:
        if action in _WITH_Y:
            raise typer.BadParameter(f"{action} has no result to store.", param_hint="--result")
        given["rName"] = result
    return given


@app.command()
def result(context: typer.Context, task_id: TaskId) -> None:
    """Wait for a task and print its result."""
    show_value(session(context).om.runtime.result(task_id), as_json=session(context).json)


@app.command()
def cancel(context: typer.Context, task_id: TaskId) -> None:
    """Cancel a task: at once when it waits, soon when it runs."""
    promise = session(context).om.runtime.result(task_id, wait=False)
    promise.cancel()
    typer.echo(f"{task_id} {promise.status}")


@app.command()
def ping(
    context: typer.Context,
    require: Annotated[str | None, typer.Option("--require", help="Ask a worker that offers this label.")] = None,
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, help="How long to wait, in seconds.")] = 10.0,
) -> None:
    """Have a worker answer."""
    answer = session(context).om.runtime.ping(require=require, timeout=timeout)
    if session(context).json:
        show_json(answer)
    else:
        typer.echo(f"{answer['message']} from {answer['worker']} in {answer['time'] * 1000:.0f} ms")


@app.command()
def status(
    context: typer.Context,
    what: Annotated[
        Literal["workers", "labels"], typer.Argument(metavar="workers|labels", help="What to show.")
    ] = "workers",
) -> None:
    """Show the live workers, or the labels that can be required."""
    runtime = session(context).om.runtime
    found: Any = runtime.workers() if what == "workers" else runtime.labels()
    if session(context).json:
        show_json(found)
    elif what == "labels":
        show_table(("label",), [(label,) for label in found], found)
    else:
        rows = [
            (worker, ",".join(item["labels"]), f"{item['running']}/{item['slots']}", f"{item['seen']:%H:%M:%S}")
            for worker, item in found.items()
        ]
        show_table(("worker", "labels", "running/slots", "seen (UTC)"), rows, ("\t".join(row) for row in rows))
