"""Query and path parameters that several routes share, and what is made of them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Query

from omegaproto.errors import UnknownStore
from omegaproto.names import MAX_NAME_LENGTH, check_path
from omegaproto.objects import Store

_STORES = ", ".join(Store)

StoreName = Annotated[
    str, Path(description=f"One of: {_STORES}.", json_schema_extra={"enum": [str(store) for store in Store]})
]
ObjectName = Annotated[str, Path(description="The object's name; it may hold slashes.")]
Limit = Annotated[int, Query(ge=1, le=1000, description="Most items of the answer.")]
After = Annotated[str | None, Query(max_length=MAX_NAME_LENGTH, description="`next` of the page before.")]


def store_of(name: str) -> Store:
    """Give the store of a name. Raises UnknownStore."""
    try:
        return Store(name)
    except ValueError:
        raise UnknownStore(f"There is no store {name[:80]!r}.", action=f"Use one of: {_STORES}.") from None


def key_of(bucket: str, store: str, name: str) -> dict[str, Any]:
    """Give the fields that name an object. Raises UnknownStore, BadName."""
    return {"bucket": bucket, "store": store_of(store), "name": check_path(name)}
