"""A bucket in which there is something to run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from omega_mesh.home import Credentials
from omegamesh.client import Omega, setup

FRAME = pd.DataFrame({"x": [1.0, 2.0, 3.0, 0.0], "y": [2.0, 3.0, 4.0, 1.0], "target": [0, 1, 1, 0]})


def fill(om: Omega) -> Omega:
    om.datasets.put(FRAME, "sample")
    om.models.put(LogisticRegression().fit(FRAME[["x", "y"]], FRAME["target"]), "m")
    om.models.put(LogisticRegression(), "raw")
    return om


@pytest.fixture
def own(omega: Omega) -> Omega:
    """A bucket of the test's own: the dataset `sample` (x, y, target), a fitted model `m`, an unfitted one, `raw`."""
    return fill(omega)


@pytest.fixture(scope="session")
def shared_bucket(embedded_mesh: Credentials) -> str:
    """A bucket with the same content, for all tests: workers keep a warm process for a bucket."""
    with closing(setup(embedded_mesh.userid, embedded_mesh.apikey, embedded_mesh.url, "test-shared")) as om:
        return fill(om).bucket


@pytest.fixture
def ready(embedded_mesh: Credentials, shared_bucket: str) -> Iterator[Omega]:
    """That bucket: tests may add to it, and change nothing of what is in it."""
    with closing(setup(embedded_mesh.userid, embedded_mesh.apikey, embedded_mesh.url, shared_bucket)) as om:
        yield om


@pytest.fixture
def large() -> pd.DataFrame:
    """Rows that do not fit into a message."""
    values = np.random.default_rng(0).normal(1.5, 1.0, size=(50_000, 2))
    return pd.DataFrame(values, columns=["x", "y"])
