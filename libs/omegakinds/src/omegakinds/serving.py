"""Many requests, one vectorised call: the hot path of predict.

Rows of all good bodies are stacked, the model is called once, and its answer is split by request. When that call fails,
each request is answered by a call of its own, so that a bad one fails alone. Numbers are float64, as in JSON.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic_core import to_json

from omegakinds.bodies import Rows, parse_body
from omegakinds.linear import compiled
from omegakinds.verbs import expected, explain, run, wants_table
from omegaproto.errors import BadInput, OmegaError, TaskFailed, UnknownAction
from omegaproto.predictions import Prediction

SERVED = frozenset({"predict", "predict_proba", "transform", "decision_function"})
ROW_WISE_PACKAGES = frozenset({"sklearn", "xgboost", "lightgbm", "catboost"})
"""Packages whose models answer each row by itself. Models of others opt in with ``omega_row_wise = True``."""
_FRAME_ONLY = frozenset({
    "ColumnTransformer", "FunctionTransformer", "OneHotEncoder", "OrdinalEncoder", "TargetEncoder",
    "CalibratedClassifierCV", "FrozenEstimator",
})  # fmt: skip


class ServedModel:
    """A loaded model, prepared once for answering batches of bodies.

    The model is not changed. Not safe for use by two threads at a time when the model is not.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        names = getattr(model, "feature_names_in_", None)
        self._names = None if names is None else tuple(str(name) for name in names)
        features = getattr(model, "n_features_in_", None)
        self._features = None if features is None else int(features)
        self._table = wants_table(model)
        self._direct = compiled(model)
        parts = list(_parts(model))
        self._row_wise = all(_is_row_wise(part) for part in parts)
        self._plain = self._names is not None and all(_is_plain(part) for part in parts)
        self._nameless = _without_names(model) if self._plain else model

    def answer(self, verb: str, bodies: Sequence[str | bytes]) -> list[Prediction]:
        """Answer each body, in order: the result as JSON text, or the error of that body alone.

        Raises:
            UnknownAction: the model does not serve that verb.
        """
        if verb not in SERVED or not hasattr(self._model, verb):
            have = ", ".join(sorted(name for name in SERVED if hasattr(self._model, name)))
            raise UnknownAction(f"A {type(self._model).__name__} serves no {verb!r}.", action=f"It serves: {have}.")
        answers: list[Prediction | None] = [None] * len(bodies)
        good: list[tuple[int, Rows]] = []
        for at, body in enumerate(bodies):
            try:
                good.append((at, self._parse(body)))
            except OmegaError as error:
                answers[at] = Prediction(error=error.info())
        predicted = self._predict(verb, [rows for _, rows in good]) if good else []
        for (at, _), prediction in zip(good, predicted, strict=True):
            answers[at] = prediction
        return [answer for answer in answers if answer is not None]

    def _parse(self, body: str | bytes) -> Rows:
        rows = parse_body(body, self._features, table=self._table)
        if rows.names is None or self._names is None or rows.names == self._names:
            return rows
        return Rows(_reorder(rows, self._names), self._names)

    def _predict(self, verb: str, requests: list[Rows]) -> list[Prediction]:
        if (self._row_wise or len(requests) == 1) and (together := self._together(verb, requests)) is not None:
            return together
        return [self._alone(verb, request) for request in requests]

    def _together(self, verb: str, requests: list[Rows]) -> list[Prediction] | None:
        """Answer all requests by one call; None when that fails or gives other than one answer a row."""
        try:
            result = self._call(verb, *self._input([row for request in requests for row in request.rows]))
        except Exception:
            return None
        return _split(result, [len(request.rows) for request in requests])

    def _call(self, verb: str, model: Any, data: Any) -> Any:
        direct = self._direct.get(verb)
        if direct is not None and isinstance(data, np.ndarray) and data.dtype == np.float64 and np.isfinite(data).all():
            return direct(data)
        return getattr(model, verb)(data)

    def _alone(self, verb: str, request: Rows) -> Prediction:
        try:
            model, data = self._input(request.rows)
            result = run(verb, model, data).result
            return Prediction(result=_encode(_listed(result)))
        except OmegaError as error:
            return Prediction(error=error.info())
        except Exception as error:
            known = explain(error, self._model, None) or TaskFailed(
                f"The model raised {type(error).__name__}: {error}.",
                action="Look at the model's own code.",
                type=type(error).__name__,
            )
            return Prediction(error=known.info())

    def _input(self, rows: list[Any]) -> tuple[Any, Any]:
        """Give the model to call and what to call it with: numbers as an array where that is the same, else a frame."""
        if not self._table:
            return self._model, rows
        if self._features is not None and any(len(row) != self._features for row in rows):
            raise BadInput(f"A row has not {self._features} values.", action=expected(self._model))
        if self._names is None or self._plain:
            numbers = _numbers(rows)
            if numbers is not None:
                return self._nameless, numbers
        if self._names is None:
            return self._model, np.array(rows, dtype=object)
        import pandas as pd

        return self._model, pd.DataFrame(rows, columns=list(self._names))


def _reorder(rows: Rows, names: tuple[str, ...]) -> list[Any]:
    given = rows.names or ()
    if missing := [name for name in names if name not in given]:
        raise BadInput(f"The columns {', '.join(missing[:20])} are missing.", action=f"Give: {', '.join(names[:50])}.")
    if len(given) != len(names):
        extra = [name for name in given if name not in names] or ["given twice"]
        raise BadInput(f"The model was not fitted with the columns {', '.join(extra[:20])}.", action="Leave them out.")
    order = [given.index(name) for name in names]
    return [[row[at] for at in order] for row in rows.rows]


def _numbers(rows: list[Any]) -> np.ndarray[Any, Any] | None:
    """Give the rows as float64 when all values are numbers, truth values or null (NaN); None when one is not."""
    try:
        array = np.array(rows)
    except ValueError:
        return None
    if array.dtype.kind in "fiub":
        return array.astype(np.float64, copy=False) if array.ndim == 2 else None
    numeric = all(value is None or isinstance(value, int | float) for row in rows for value in row)
    return array.astype(np.float64) if numeric and array.ndim == 2 else None


def _split(result: Any, counts: list[int]) -> list[Prediction] | None:
    listed, total = _listed(result), sum(counts)
    several = isinstance(result, list) and len(result) > 0 and isinstance(result[0], np.ndarray)
    if any(len(part) != total for part in (listed if several else [listed])):
        return None
    answers, start = [], 0
    for count in counts:
        stop = start + count
        mine = [part[start:stop] for part in listed] if several else listed[start:stop]
        answers.append(Prediction(result=_encode(mine)))
        start = stop
    return answers


def _listed(result: Any) -> Any:
    """Give a model's answer as nested lists: sparse and pandas answers as their values, text vectors as they are."""
    if hasattr(result, "toarray"):
        result = result.toarray()
    elif hasattr(result, "to_numpy"):
        result = result.to_numpy()
    if isinstance(result, list):
        return [_listed(part) if hasattr(part, "tolist") else part for part in result]
    return result.tolist() if hasattr(result, "tolist") else result


def _encode(value: Any) -> str:
    return to_json(value, inf_nan_mode="null", fallback=str).decode()


def _parts(value: Any) -> Any:
    """Walk the estimators inside a model, itself first."""
    pending, seen = [value], set()
    while pending:
        found = pending.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        if hasattr(found, "get_params") and not isinstance(found, type):
            yield found
            pending.extend(vars(found).values())
        elif isinstance(found, dict):
            pending.extend(found.values())
        elif isinstance(found, list | tuple):
            pending.extend(found)
        elif isinstance(found, np.ndarray) and found.dtype == object:
            pending.extend(found.ravel().tolist())


def _is_row_wise(part: Any) -> bool:
    own = type(part).__module__.partition(".")[0] in ROW_WISE_PACKAGES
    return bool(getattr(part, "omega_row_wise", own and type(part).__name__ != "FunctionTransformer"))


def _is_plain(part: Any) -> bool:
    """Say whether the estimator does with an array just what it does with a frame of the same numbers."""
    own = type(part).__module__.partition(".")[0] == "sklearn"
    return own and type(part).__name__ not in _FRAME_ONLY and not getattr(part, "_sklearn_output_config", None)


def _without_names(value: Any) -> Any:
    """Give a shallow copy of the model whose estimators know no feature names, and so do not miss them in an array."""
    if hasattr(value, "get_params") and not isinstance(value, type):
        twin = copy.copy(value)
        twin.__dict__ = {key: _without_names(held) for key, held in vars(value).items() if key != "feature_names_in_"}
        return twin
    if type(value) in {list, tuple}:
        return type(value)(_without_names(held) for held in value)
    if isinstance(value, dict):
        twin = copy.copy(value)
        twin.update({key: _without_names(held) for key, held in value.items()})
        return twin
    if isinstance(value, np.ndarray) and value.dtype == object:
        twin = np.empty_like(value)
        twin.ravel()[:] = [_without_names(held) for held in value.ravel()]
        return twin
    return value
