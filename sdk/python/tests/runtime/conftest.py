"""A bucket in which there is something to run."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from omegamesh.client import Omega

FRAME = pd.DataFrame({"x": [1.0, 2.0, 3.0, 0.0], "y": [2.0, 3.0, 4.0, 1.0], "target": [0, 1, 1, 0]})


@pytest.fixture
def ready(omega: Omega) -> Omega:
    """A bucket with the dataset `sample` (x, y, target), the fitted model `m`, and the same model unfitted, `raw`."""
    omega.datasets.put(FRAME, "sample")
    omega.models.put(LogisticRegression().fit(FRAME[["x", "y"]], FRAME["target"]), "m")
    omega.models.put(LogisticRegression(), "raw")
    return omega


@pytest.fixture
def large() -> pd.DataFrame:
    """Rows that do not fit into a message."""
    values = np.random.default_rng(0).normal(1.5, 1.0, size=(50_000, 2))
    return pd.DataFrame(values, columns=["x", "y"])
