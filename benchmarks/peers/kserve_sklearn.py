"""KServe's model server with its scikit-learn model: one process, V1 protocol, no access or latency logs.

KServe's scikit-learn server is not on the package index; its model is this short: joblib.load, then one
`predict` of all instances through KServe's own request and response helpers.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import joblib
import uvicorn

_PARSER = argparse.ArgumentParser()
_PARSER.add_argument("--port", type=int, required=True)
_PARSER.add_argument("--models", type=Path, required=True)


def _keep_to_loopback() -> None:
    """KServe's server takes no host and listens on every address; a benchmark has no business there."""
    config = uvicorn.Config

    def on_loopback(app: Any, **settings: Any) -> uvicorn.Config:
        return config(app, **settings | {"host": "127.0.0.1"})

    uvicorn.Config = on_loopback


def main() -> None:
    """Serve every *.joblib file of the folder under its name."""
    chosen = _PARSER.parse_args()
    sys.argv = [sys.argv[0], "--configure_logging", "false"]  # KServe reads the command line while it is imported

    from kserve import Model, ModelServer
    from kserve.utils.utils import get_predict_input, get_predict_response

    class SklearnModel(Model):  # type: ignore[misc]
        """One joblib file."""

        def __init__(self, file: Path) -> None:
            super().__init__(file.stem)
            self._file = file

        def load(self) -> bool:
            """Read the file; the server calls nothing before."""
            self._model = joblib.load(self._file)
            self.ready = True
            return self.ready

        def predict(self, payload: Any, headers: dict[str, str] | None = None) -> Any:
            """Predict all instances at once."""
            return get_predict_response(payload, self._model.predict(get_predict_input(payload)), self.name)

    models = [SklearnModel(file) for file in sorted(chosen.models.glob("*.joblib"))]
    for model in models:
        model.load()
    _keep_to_loopback()
    ModelServer(http_port=chosen.port, enable_grpc=False, enable_latency_logging=False).start(models)


if __name__ == "__main__":
    main()
