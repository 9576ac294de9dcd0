"""What is measured on: the two models and the frame, the same in every system and every run."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

ROW = [5.9, 3.0, 5.1, 1.8]  # an iris virginica: the label is 2 in both models
LABEL = 2
COLUMNS = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
_ROWS = 1_000_000


def models() -> dict[str, Any]:
    """Give the fitted models by name: logistic regression on iris, and a forest of 200 trees."""
    features, target = load_iris(return_X_y=True)
    return {
        "lr": LogisticRegression(max_iter=1000).fit(features, target),
        "rf": RandomForestClassifier(n_estimators=200, n_jobs=1, random_state=0).fit(features, target),
    }


def dump_models(folder: Path) -> None:
    """Write each model to `folder`/<name>.joblib."""
    import joblib

    for name, model in models().items():
        joblib.dump(model, folder / f"{name}.joblib")


def mixed_frame(rows: int = _ROWS) -> pd.DataFrame:
    """Give 10 columns of mixed types: whole numbers, measurements, text of few and of many values, times, gaps."""
    dice = np.random.default_rng(7)
    cities = np.array(["Berlin", "Bern", "Delhi", "Lagos", "Lima", "Oslo", "Quito", "Tokyo"])
    names = np.array([f"customer-{number:04d}" for number in range(5000)])
    reading = dice.normal(size=rows)
    return pd.DataFrame(
        {
            "id": np.arange(rows),
            "quantity": dice.integers(0, 100, rows),
            "price": dice.uniform(1, 500, rows).round(2),
            "reading": reading,
            "share": dice.beta(2, 5, rows).round(4),
            "city": cities[dice.integers(0, len(cities), rows)],
            "customer": names[dice.integers(0, len(names), rows)],
            "active": dice.random(rows) < 0.5,
            "at": pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(rows), unit="s"),
            "gap": np.where(dice.random(rows) < 0.1, np.nan, reading * 2),
        }
    )
