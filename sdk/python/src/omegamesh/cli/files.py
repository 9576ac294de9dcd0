"""Files as objects and objects as files, for ``om datasets put`` and ``get``, ``om models put`` and ``get``.

A file that is written appears whole or not at all.
"""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from omegamesh.cli.values import Format
from omegaproto.errors import BadInput, BadRequest

_MODEL_FILES = (".skops", ".joblib")


def read_dataset(path: str, given: Format, csv: dict[str, Any]) -> Any:
    """Give what a file holds: a frame (csv, parquet), an array (image), or the path itself (binary).

    Raises:
        FileNotFoundError: there is no such file.
        BadInput: it is not of that format.
    """
    if "://" not in path and not Path(path).is_file():
        raise FileNotFoundError(2, "There is no such file", path)
    readers: dict[str, Callable[[], Any]] = {
        "csv": lambda: import_module("pandas").read_csv(path, **csv),
        "parquet": lambda: import_module("pandas").read_parquet(path),
        "image": lambda: _read_image(path),
        "binary": lambda: Path(path),
    }
    try:
        return readers[given]()
    except ValueError as error:
        raise BadInput(f"{path} cannot be read as {given}: {error}.", action="Choose another --format.") from error


def _read_image(path: str) -> Any:
    if find_spec("PIL") is None:
        raise ModuleNotFoundError('Images need Pillow. Install it: pip install "omegamesh[images]"')
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return np.asarray(image)
    except UnidentifiedImageError as error:
        raise ValueError("it is no image that Pillow knows") from error


def write_dataset(value: Any, path: Path, given: Format, csv: dict[str, Any]) -> None:
    """Write an object: frames as csv or parquet, arrays as csv or npy, plain data as JSON.

    Raises BadRequest when the object cannot be written in that format.
    """
    with _replacing(path) as part:
        if hasattr(value, "to_csv"):
            _write_frame(value, part, given, csv)
        elif given == "csv" and hasattr(value, "ndim"):
            _write_frame(import_module("pandas").DataFrame(value), part, given, csv)
        elif given != "binary":
            raise BadRequest(
                f"An object of type {type(value).__name__} is not written as {given}.", action="Use --format binary."
            )
        elif hasattr(value, "ndim"):
            with part.open("wb") as file:
                import_module("numpy").save(file, value, allow_pickle=False)
        else:
            part.write_text(json.dumps(value, indent=1, default=str), encoding="utf-8")


def _write_frame(frame: Any, part: Path, given: Format, csv: dict[str, Any]) -> None:
    if given == "csv":
        counted = type(frame.index).__name__ == "RangeIndex" and frame.index.name is None
        frame.to_csv(part, **({"index": not counted} | csv))
    elif given == "parquet":
        (frame.to_frame() if frame.ndim == 1 else frame).to_parquet(part)
    else:
        raise BadRequest(f"A frame is not written as {given}.", action="Use --format csv or --format parquet.")


def read_model(source: str, *, trust: bool) -> Any:
    """Give the model that a callable ``module.name`` makes, or that a .skops or .joblib file holds.

    Raises:
        BadRequest: the callable does not exist, or the file may run code when it is loaded and `trust` is not set.
        FileNotFoundError: there is no such file.
    """
    suffix = Path(source).suffix
    if suffix not in _MODEL_FILES:
        return _made_by(source)
    if not Path(source).is_file():
        raise FileNotFoundError(2, "There is no such file", source)
    if suffix == ".skops":
        return _read_skops(source, trust=trust)
    if not trust:
        raise BadRequest(
            f"{source} can run any code when it is loaded.",
            action="Give --trust when you know who wrote it, or store it as .skops.",
        )
    return import_module("joblib").load(source)


def _read_skops(source: str, *, trust: bool) -> Any:
    skops = import_module("skops.io")
    unknown = skops.get_untrusted_types(file=source)
    if unknown and not trust:
        raise BadRequest(
            f"{source} holds types that are not known to be safe: {', '.join(unknown)}.",
            action="Give --trust when you know who wrote it.",
        )
    return skops.load(source, trusted=unknown)


def _made_by(source: str) -> Any:
    module, _, name = source.rpartition(".")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    found = getattr(_module(module, source), name, None) if module else None
    if found is None:
        raise BadRequest(
            f"{source!r} is neither a callable nor a model file.",
            action="Give module.callable, such as sklearn.linear_model.LinearRegression, or a .skops or .joblib file.",
        )
    return found() if callable(found) else found


def _module(module: str, source: str) -> Any:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            raise
        raise BadRequest(
            f"{source!r} cannot be imported: there is no module {error.name!r}.",
            action="Run om where the module lies, or install it.",
        ) from error


def write_model(model: Any, path: Path) -> None:
    """Write a model as .skops or .joblib. Raises BadRequest for any other ending."""
    if path.suffix not in _MODEL_FILES:
        raise BadRequest(f"{path} does not end in .skops or .joblib.", action="Choose one: .skops is the safe one.")
    with _replacing(path) as part:
        import_module("skops.io" if path.suffix == ".skops" else "joblib").dump(model, part)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Give a file beside `path` that takes its place when the block ends well."""
    part = path.with_name(f".{secrets.token_hex(4)}.{path.name}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
