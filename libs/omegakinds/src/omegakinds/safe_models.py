"""scikit-learn models in the skops format: read from a fixed list of types only, never from types that a file adds.

skops itself trusts scikit-learn's estimators, numpy and scipy functions. The list below adds what fitted estimators of
scikit-learn hold, and their families: kernels, distances, splitters, metrics. All are of functools, numpy, scipy
or scikit-learn. Compiled types follow indices in their state without checks: trees are checked here after loading;
neighbour indexes (KDTree, BallTree) are not, so a hostile file could crash the process that uses one.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from typing import Any

from omegaproto.errors import BlobCorrupted

_REVIEWED = {
    "functools": ("partial",),
    "numpy": ("dtype", "mean", "median", "max", "min", "sum"),
    "scipy._lib.array_api_compat.numpy._aliases": ("asarray",),
    "scipy.interpolate._bsplines": ("BSpline",),
    "scipy.sparse._csr": ("csr_matrix", "csr_array"),
    "scipy.sparse._csc": ("csc_matrix", "csc_array"),
    "sklearn._loss.loss": ("HalfTweedieLoss", "HalfTweedieLossIdentity"),
    "sklearn.calibration": ("_CalibratedClassifier", "_SigmoidCalibration", "_TemperatureScaling"),
    "sklearn.cluster._bisect_k_means": ("_BisectingTree",),
    "sklearn.cluster._kmeans": ("_kmeans_single_lloyd", "_kmeans_single_elkan"),
    "sklearn.ensemble._hist_gradient_boosting.predictor": ("TreePredictor",),
    "sklearn.feature_selection._univariate_selection": (
        "chi2", "f_classif", "f_oneway", "f_regression", "r_regression",
    ),
    "sklearn.feature_selection._mutual_info": ("mutual_info_classif", "mutual_info_regression"),
    "sklearn.gaussian_process._gpc": ("_BinaryGaussianProcessClassifierLaplace",),
    "sklearn.gaussian_process.kernels": (
        "CompoundKernel", "ConstantKernel", "DotProduct", "ExpSineSquared", "Exponentiation", "Hyperparameter",
        "Matern", "PairwiseKernel", "Product", "RBF", "RationalQuadratic", "Sum", "WhiteKernel",
    ),
    "sklearn.metrics._dist_metrics": tuple(
        f"{name}Distance{bits}"
        for name in (
            "BrayCurtis", "Canberra", "Chebyshev", "Dice", "Euclidean", "Hamming", "Haversine", "Jaccard",
            "Mahalanobis", "Manhattan", "Minkowski", "RogersTanimoto", "RussellRao", "SEuclidean", "SokalSneath",
        )
        for bits in (32, 64)
    ),
    "sklearn.metrics._scorer": ("_PassthroughScorer", "_Scorer", "_MultimetricScorer"),
    "sklearn.metrics._classification": (
        "accuracy_score", "balanced_accuracy_score", "f1_score", "jaccard_score", "log_loss", "matthews_corrcoef",
        "precision_score", "recall_score",
    ),
    "sklearn.metrics._ranking": ("average_precision_score", "roc_auc_score", "top_k_accuracy_score"),
    "sklearn.metrics._regression": (
        "explained_variance_score", "max_error", "mean_absolute_error", "mean_squared_error", "median_absolute_error",
        "r2_score", "root_mean_squared_error",
    ),
    "sklearn.model_selection._search_successive_halving": ("HalvingGridSearchCV", "HalvingRandomSearchCV"),
    "sklearn.model_selection._split": (
        "GroupKFold", "GroupShuffleSplit", "KFold", "LeaveOneOut", "LeavePOut", "PredefinedSplit", "RepeatedKFold",
        "RepeatedStratifiedKFold", "ShuffleSplit", "StratifiedGroupKFold", "StratifiedKFold", "StratifiedShuffleSplit",
        "TimeSeriesSplit",
    ),
    "sklearn.neighbors._ball_tree": ("BallTree", "BallTree32", "BallTree64"),
    "sklearn.neighbors._kd_tree": ("KDTree", "KDTree32", "KDTree64"),
    "sklearn.neural_network._stochastic_optimizers": ("AdamOptimizer", "SGDOptimizer"),
    "sklearn.tree._tree": ("Tree",),
    "sklearn.utils._bunch": ("Bunch",),
    "sklearn.utils.validation": ("check_array",),
}  # fmt: skip

REVIEWED_TYPES = frozenset(f"{module}.{name}" for module, names in _REVIEWED.items() for name in names)
"""What may stand in a model's file beyond what skops trusts by itself."""


def dump_safe(model: Any) -> bytes | None:
    """Give the model in skops format, or None when it cannot be read back from that without trusting other types."""
    import skops.io
    from skops.io.exceptions import UnsupportedTypeException, UntrustedTypesFoundException

    try:
        data = bytes(skops.io.dumps(model))
        load_safe(data)
    except (UnsupportedTypeException, UntrustedTypesFoundException):
        return None
    except Exception:
        return None
    return data


def load_safe(data: bytes) -> Any:
    """Give the model out of its skops bytes.

    Raises:
        BlobCorrupted: the bytes are not a model, or its trees point outside themselves.
        UntrustedTypesFoundException: the file names a type that is not on the list.
    """
    import skops.io

    try:
        model = skops.io.loads(data, trusted=sorted(REVIEWED_TYPES))
    except zipfile.BadZipFile as error:
        raise _corrupted("it is not a skops file") from error
    for estimator in _estimators([model]):
        _check_trees(estimator)
    return model


def _estimators(values: Iterable[Any]) -> Iterator[Any]:
    """Walk all objects of scikit-learn inside the values, each once."""
    pending, seen = list(values), set()
    while pending:
        value = pending.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if type(value).__module__.partition(".")[0] == "sklearn":
            yield value
            pending.extend(getattr(value, "__dict__", {}).values())
        if isinstance(value, dict):
            pending.extend(value.values())
        elif isinstance(value, list | tuple):
            pending.extend(value)
        elif type(value).__name__ == "ndarray" and value.dtype == object:
            pending.extend(value.ravel().tolist())


def _check_trees(estimator: Any) -> None:
    features: Any = getattr(estimator, "n_features_in_", None)
    held: dict[str, Any] = getattr(estimator, "__dict__", {})
    tree: Any = held.get("tree_")
    if type(tree).__name__ == "Tree" and not _is_sound(
        tree.children_left, tree.children_right, tree.feature, tree.n_features, tree.children_left == -1
    ):
        raise _corrupted("a tree in it points outside itself")
    if "estimators_features_" not in held:
        for child in _flat(held.get("estimators_", ())):
            below = getattr(getattr(child, "tree_", None), "n_features", features)
            if features is not None and below != features:
                raise _corrupted("its trees expect other features than it does")
    for stage in held.get("_predictors", ()):
        for predictor in stage:
            _check_predictor(predictor, features)


def _check_predictor(predictor: Any, features: int) -> None:
    nodes = predictor.nodes
    leaf = nodes["is_leaf"].astype(bool)
    categorical = nodes["is_categorical"].astype(bool) & ~leaf
    sound = _is_sound(nodes["left"], nodes["right"], nodes["feature_idx"], features, leaf)
    bits = len(predictor.raw_left_cat_bitsets)
    if not sound or (nodes["bitset_idx"][categorical] >= bits).any():
        raise _corrupted("a tree in it points outside itself")


def _is_sound(left: Any, right: Any, feature: Any, features: int, leaf: Any) -> bool:
    """Say whether every inner node's children come after it, inside the tree, and its feature exists."""
    import numpy as np

    at, inner, count = np.arange(len(leaf)), ~leaf, len(leaf)
    if not count:
        return False
    sides = [side[inner].astype(np.int64) for side in (left, right)]
    forward = all(((side > at[inner]) & (side < count)).all() for side in sides)
    chosen = feature[inner].astype(np.int64)
    return bool(forward and ((chosen >= 0) & (chosen < features)).all())


def _flat(values: Any) -> list[Any]:
    return list(values.ravel()) if hasattr(values, "ravel") else list(values)


def _corrupted(reason: str) -> BlobCorrupted:
    return BlobCorrupted(f"The stored model is damaged: {reason}.", action="Store the model again.")
