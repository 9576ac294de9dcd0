"""The verbs of scikit-learn models: calls with data in the shape that they want, and errors that say what they want."""

from __future__ import annotations

from typing import Any

from omegakinds.base import Outcome
from omegaproto.errors import BadInput, NotFitted, UnknownAction

VERBS = (
    "fit",
    "partial_fit",
    "fit_transform",
    "predict",
    "predict_proba",
    "score",
    "transform",
    "decision_function",
)
CHANGING = frozenset({"fit", "partial_fit", "fit_transform"})
_WITH_Y = frozenset({"fit", "partial_fit", "fit_transform", "score"})


def verbs_of(model: Any) -> tuple[str, ...]:
    """Name the verbs that this model has, as it is configured now."""
    return tuple(verb for verb in VERBS if hasattr(model, verb))


def is_fitted(model: Any) -> bool:
    """Say whether the model was fitted. One that needs no fit counts as fitted."""
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(model)
    except (NotFittedError, TypeError):
        return False
    return True


def run(verb: str, model: Any, X: Any = None, Y: Any = None, **params: Any) -> Outcome:
    """Run one verb; `fit` and its like change the model in place, and `fit` gives the model itself.

    One-dimensional X becomes a column; Y of one column becomes one-dimensional.

    Raises:
        UnknownAction: the model has no such verb; the message names those it has.
        NotFitted: the model was never fitted.
        BadInput: the model refuses the data; the message says what it expects.
    """
    if verb not in VERBS or not hasattr(model, verb):
        raise UnknownAction(
            f"A {type(model).__name__} has no {verb!r}.", action=f"It has: {', '.join(verbs_of(model))}."
        )
    x, y = shape_x(model, X), shape_y(Y)
    args = (x,) if verb not in _WITH_Y or y is None else (x, y)
    try:
        result = getattr(model, verb)(*args, **params)
    except Exception as error:
        known = explain(error, model, x)
        if known is None:
            raise
        raise known from error
    return Outcome(result, model_changed=verb in CHANGING)


def shape_x(model: Any, X: Any) -> Any:
    """Give X with two dimensions, or with one for a model that reads texts."""
    if X is None:
        return X
    if not wants_table(model):
        return shape_y(X)
    if hasattr(X, "to_frame") and getattr(X, "ndim", 0) == 1:
        return X.to_frame()
    if isinstance(X, list | tuple):
        import numpy as np

        if X and not isinstance(X[0], list | tuple | dict | np.ndarray):
            return np.asarray(X).reshape(-1, 1)
        return X
    return X.reshape(-1, 1) if getattr(X, "ndim", 0) == 1 else X


def shape_y(Y: Any) -> Any:
    """Give Y with one dimension when it has one column."""
    if getattr(Y, "ndim", 0) == 2 and Y.shape[1] == 1:
        return Y.iloc[:, 0] if hasattr(Y, "iloc") else Y.ravel()
    return Y


def wants_table(model: Any) -> bool:
    """Say whether the model reads rows of columns, as most do, rather than texts or dicts."""
    from sklearn.utils import get_tags

    try:
        tags = get_tags(_first_step(model)).input_tags
    except Exception:
        return True
    return bool(tags.two_d_array or not (tags.string or tags.dict or tags.one_d_array))


def _first_step(model: Any) -> Any:
    """Give the estimator that meets the data first: a pipeline and a search pass it on unseen."""
    while True:
        if steps := getattr(model, "steps", None) or getattr(model, "transformer_list", None):
            model = steps[0][1]
        elif hasattr(model, "cv") and hasattr(model, "estimator"):
            model = model.estimator
        else:
            return model


def explain(error: Exception, model: Any, X: Any) -> BadInput | NotFitted | None:
    """Give the typed error for what a model raised about its data or state; None for an error of its own code."""
    from sklearn.exceptions import NotFittedError

    if isinstance(error, NotFittedError):
        return NotFitted(f"The {type(model).__name__} was never fitted.", action="Call fit(X, Y) first.")
    if isinstance(error, ValueError | TypeError | KeyError) and _is_about_data(error):
        return BadInput(f"The {type(model).__name__} refuses the data: {error}", action=expected(model, X))
    return None


def expected(model: Any, X: Any = None) -> str:
    """Say in one sentence what rows the model expects, and what X has."""
    names = [str(name) for name in getattr(model, "feature_names_in_", ())]
    count = getattr(model, "n_features_in_", None)
    shape = getattr(X, "shape", None)
    got = f" This has the shape {tuple(shape)}." if shape is not None else ""
    if names:
        more = ", …" if len(names) > 50 else ""
        return f"It expects numbers or the fitted types in the columns {', '.join(names[:50])}{more}.{got}"
    if count is not None:
        return f"It expects rows of {count} values without NaN or text, as at its fit.{got}"
    return f"It expects X as rows of numbers, and Y with one value a row.{got}"


def _is_about_data(error: BaseException) -> bool:
    """Say whether scikit-learn's or numpy's checks of data raised it, rather than other code."""
    trace, modules = error.__traceback__, []
    while trace is not None:
        modules.append(trace.tb_frame.f_globals.get("__name__", ""))
        trace = trace.tb_next
    last = modules[-1] if modules else ""
    checks = ("sklearn.utils.", "sklearn.base", "pandas.")
    inner = [module for module in modules if module.startswith("sklearn.")]
    return last.startswith("sklearn.") or (bool(inner) and inner[-1].startswith(checks))
