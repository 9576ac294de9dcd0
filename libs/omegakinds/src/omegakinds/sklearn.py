"""The kind ``sklearn.joblib``: scikit-learn estimators, pipelines and searches.

Stored in skops format where that holds the whole model, else as a joblib pickle; ``kind_meta["format"]`` says which.
"""

from __future__ import annotations

import hashlib
from typing import Any

from omegakinds.base import BlobSink, BlobSource, Dumped, Kind, Outcome, Servable, Stored
from omegaproto.errors import BlobCorrupted, Forbidden
from omegaproto.objects import Store

_MAX_NAMES = 1000


class SklearnModels:
    """Everything that derives from scikit-learn's BaseEstimator."""

    name = "sklearn.joblib"
    stores = frozenset({Store.models})
    reproducible = False
    """The skops format writes object ids and times into the file."""

    def supports(self, obj: object, name: str, **options: Any) -> bool:
        """Say whether `obj` is an estimator."""
        roots = {base.__module__.partition(".")[0] for base in type(obj).__mro__}
        if isinstance(obj, type) or "sklearn" not in roots:
            return False
        from sklearn.base import BaseEstimator

        return isinstance(obj, BaseEstimator)

    def dump(self, obj: Any, sink: BlobSink, **options: Any) -> Dumped:
        """Write the model. Raises UnknownKind when it holds what cannot be stored."""
        from omegakinds.pickles import dump_pickle
        from omegakinds.safe_models import dump_safe

        data = dump_safe(obj)
        meta = {"format": "joblib" if data is None else "skops", **describe(obj)}
        return Dumped(self.name, meta, (sink.put(dump_pickle(obj) if data is None else data),))

    def load(self, stored: Stored, source: BlobSource, *, trusted: bool = False, **_: Any) -> Any:
        """Give the model back.

        Raises:
            Forbidden: it is stored as a pickle and `trusted` is not True, or names types that are not reviewed.
            BlobCorrupted: the bytes are not those that were stored.
        """
        ref = stored.blobs[0]
        if stored.kind_meta.get("format") == "skops":
            return _load_safe(source.read(ref), ref.sha256)
        from omegakinds.pickles import load_pickle

        return load_pickle(source, ref, trusted=trusted)

    def verbs(self, model: Any) -> tuple[str, ...]:
        """Name the verbs that this model has."""
        from omegakinds.verbs import verbs_of

        return verbs_of(model)

    def run(self, verb: str, model: Any, X: Any = None, Y: Any = None, **params: Any) -> Outcome:
        """Run one verb. Raises UnknownAction, NotFitted, BadInput; what user code raises passes through."""
        from omegakinds.verbs import run

        return run(verb, model, X, Y, **params)

    def servable(self, model: Any) -> Servable:
        """Prepare a loaded model for answering request bodies in batches."""
        from omegakinds.serving import ServedModel

        return ServedModel(model)


def describe(model: Any) -> dict[str, Any]:
    """Give what a signature needs to know: class, versions, whether fitted, features, classes, verbs."""
    import sklearn

    from omegakinds.verbs import is_fitted, verbs_of

    names = [str(name) for name in getattr(model, "feature_names_in_", ())]
    classes = getattr(model, "classes_", None)
    features = getattr(model, "n_features_in_", None)
    return {
        "sklearn": sklearn.__version__,
        "class": f"{type(model).__module__}.{type(model).__qualname__}",
        "fitted": is_fitted(model),
        "n_features_in_": None if features is None else int(features),
        "feature_names_in_": names if 0 < len(names) <= _MAX_NAMES else None,
        "n_classes": None if classes is None else len(classes),
        "verbs": list(verbs_of(model)),
    }


def _load_safe(data: bytes, sha256: str) -> Any:
    from skops.io.exceptions import UntrustedTypesFoundException

    from omegakinds.safe_models import load_safe

    if hashlib.sha256(data).hexdigest() != sha256:
        raise BlobCorrupted("The model's blob has changed since its upload.", action="Store the model again.")
    try:
        return load_safe(data)
    except UntrustedTypesFoundException as error:
        raise Forbidden(
            f"The stored model names types that are not known to be safe: {error}.", action="Store the model again."
        ) from error


def kinds() -> list[Kind]:
    """Give the kinds of this module, for the entry point."""
    return [SklearnModels()]
