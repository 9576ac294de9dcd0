"""Loaded models by revision, the least recently used dropped first when their bytes pass a limit. No I/O."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

ModelT = TypeVar("ModelT")
Key = tuple[str, str, str]
"""Bucket, name and revision id: a revision is never found under another bucket's or object's name."""


class ModelCache(Generic[ModelT]):
    """Models and their sizes in bytes. A model over the limit is kept until the next one comes."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._models: OrderedDict[Key, tuple[ModelT, int]] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return len(self._models)

    def get(self, key: Key) -> ModelT | None:
        """Give a model and mark it as used now."""
        found = self._models.get(key)
        if found is None:
            return None
        self._models.move_to_end(key)
        return found[0]

    def put(self, key: Key, model: ModelT, size: int) -> None:
        """Keep a model of `size` bytes, and drop others until all fit."""
        if key in self._models:
            self._size -= self._models.pop(key)[1]
        while self._models and self._size + size > self._limit:
            _, (_, dropped) = self._models.popitem(last=False)
            self._size -= dropped
        self._models[key] = (model, size)
        self._size += size
