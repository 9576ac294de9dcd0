"""The least a person would write: FastAPI, joblib, predict on the event loop. No authentication, no broker."""

import argparse
from pathlib import Path
from typing import Any

import joblib
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel


class Rows(BaseModel):
    """The rows to predict."""

    data: list[list[float]]


def create_app(folder: Path) -> FastAPI:
    """Give an app that serves every *.joblib file of `folder` under its name."""
    models: dict[str, Any] = {file.stem: joblib.load(file) for file in folder.glob("*.joblib")}
    app = FastAPI()

    @app.get("/ready")
    async def ready() -> list[str]:
        return sorted(models)

    @app.post("/predict/{name}")
    async def predict(name: str, rows: Rows) -> dict[str, list[int]]:
        return {"predictions": models[name].predict(rows.data).tolist()}

    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--models", type=Path, required=True)
    chosen = parser.parse_args()
    uvicorn.run(create_app(chosen.models), host="127.0.0.1", port=chosen.port, access_log=False, log_level="warning")
