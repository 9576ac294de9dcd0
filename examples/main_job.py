"""The main job on a real data set: store, fit on a worker, predict, score, look at versions, serve over HTTP.

Run it with ``make run``. It uses the public SDK and REST only, and keeps its data in a folder that goes when it ends.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
import urllib.request
from typing import Any

BEGIN = time.perf_counter()


def say(step: str, result: object) -> None:
    """Print a step with its result."""
    print(f"{time.perf_counter() - BEGIN:6.2f} s  {step:<58} {result}")


def predict_over_http(om: Any, body: dict[str, Any]) -> Any:
    """Ask the model as any application would: one POST with an API key."""
    config = om["default"].client.config
    request = urllib.request.Request(  # noqa: S310 - our own mesh
        f"{config.url}/api/v1/model/mymodel/predict",
        data=json.dumps(body).encode(),
        headers={"Authorization": f"ApiKey {config.userid}:{config.apikey}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        return json.load(answer)["result"]


def main() -> None:
    """Run all steps."""
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    import omegamesh as om

    frame = load_iris(as_frame=True).frame
    frame.columns = ["sepal_length", "sepal_width", "petal_length", "petal_width", "target"]

    om.datasets.put(frame, "sample")
    say("om.datasets.put(df, 'sample')", f"{len(frame)} rows")
    say("om.datasets.get('sample', sepal_length__gte=7)", f"{len(om.datasets.get('sample', sepal_length__gte=7))} rows")
    say("om.datasets.list()", om.datasets.list())

    om.models.put(LogisticRegression(max_iter=500), "mymodel")
    model = om.runtime.require("cpu").model("mymodel")
    say("om.models.put(LogisticRegression(), 'mymodel')", om.models.list())
    say(
        "….fit('sample[^target]', 'sample[target]').get()",
        model.fit("sample[^target]", "sample[target]").get()[:46] + "…",
    )
    say("….predict('sample[^target]').get()", model.predict("sample[^target]").get()[:5])
    say("….score('sample[^target]', 'sample[target]').get()", model.score("sample[^target]", "sample[target]").get())
    say("om.models.revisions('mymodel')", [name[:16] + "…" for name in om.models.revisions("mymodel")])

    body = {"columns": list(frame.columns[:-1]), "data": frame.iloc[[0, 75, 149], :-1].to_numpy().tolist()}
    say("POST /api/v1/model/mymodel/predict (three flowers)", predict_over_http(om, body))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ["OMEGA_HOME"] = folder
        main()
