"""The one place that writes and reads pickles (through joblib). Reading runs code, so it refuses unless told to trust.

Who passes ``trusted=True`` has made sure that the bytes are a committed revision's, in a bucket that allows pickles.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from typing import Any

from omegakinds.base import BlobSource
from omegaproto.errors import BlobCorrupted, Forbidden, UnknownKind
from omegaproto.objects import BlobRef


def dump_pickle(obj: Any) -> bytes:
    """Give the object as a joblib pickle. Raises UnknownKind when it holds what cannot be pickled."""
    import joblib

    file = io.BytesIO()
    try:
        joblib.dump(obj, file)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise UnknownKind(
            f"The {type(obj).__name__} holds something that cannot be stored: {error}.",
            action="Replace lambdas, open files and functions of the notebook by functions of an installed module.",
        ) from error
    return file.getvalue()


def load_pickle(source: BlobSource, ref: BlobRef, *, trusted: bool) -> Any:
    """Give the object of a joblib pickle.

    Raises:
        Forbidden: the caller does not trust the bytes.
        BlobCorrupted: the bytes are not those of `ref`.
        UnknownKind: a module that the object needs is not installed here.
    """
    if not trusted:
        raise Forbidden(
            "This object is stored as a pickle, and reading a pickle runs code.",
            action="Store it in a safe format, or load it where pickles are trusted (trusted=True).",
        )
    data = source.read(ref)
    if hashlib.sha256(data).hexdigest() != ref.sha256:
        raise BlobCorrupted(f"The blob {ref.id} has changed since its upload.", action="Store the object again.")
    import joblib

    try:
        return joblib.load(io.BytesIO(data))
    except (ImportError, AttributeError) as error:
        raise UnknownKind(
            f"The stored object needs code that is not here: {error}.", action="Install the package it comes from."
        ) from error
