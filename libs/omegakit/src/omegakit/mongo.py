"""MongoDB behind Motor, or behind its successor with `OMEGA_MONGO_DRIVER=pymongo`. The only importer of either.

Both drivers share nearly all of their API; what differs (clients, sessions) is hidden here. Writes are acknowledged by
a majority with their journal on disk. Reads go to the primary with read concern `majority`: a read never shows what a
failover could still roll back, and it does see every acknowledged write, which waited for the same majority.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, cast
from urllib.parse import parse_qsl, urlsplit

from bson import ObjectId
from bson.errors import BSONError, InvalidDocument
from pymongo import AsyncMongoClient, IndexModel, ReturnDocument, UpdateOne, WriteConcern
from pymongo.asynchronous.client_session import AsyncClientSession as Session
from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    DocumentTooLarge,
    DuplicateKeyError,
    InvalidURI,
    OperationFailure,
    PyMongoError,
    WTimeoutError,
)

from omegaproto.errors import BadBody, BadRequest, OmegaError, TooLarge, Unavailable

if TYPE_CHECKING:
    from pymongo.asynchronous.collection import AsyncCollection
    from pymongo.asynchronous.database import AsyncDatabase

__all__ = [
    "BulkWriteError",
    "DuplicateKeyError",
    "IndexModel",
    "Mongo",
    "ObjectId",
    "ReturnDocument",
    "Session",
    "UpdateOne",
    "WriteConcern",
    "bulk_failure",
    "duplicates",
    "mongo_errors",
]

T = TypeVar("T")
Driver = Literal["motor", "pymongo"]
Collection: TypeAlias = "AsyncCollection[dict[str, Any]]"

_DUPLICATE = 11_000
_BACKOFF_SECONDS = 0.01
_REFUSED_CHANGES = (14, 28)  # an addition to what is no number; a path through what is no document
_OPTIONS: dict[str, Any] = {
    "w": "majority",
    "journal": True,
    "readConcernLevel": "majority",
    "readPreference": "primary",
    "retryWrites": True,
    "retryReads": True,
    "tz_aware": True,
}
# A URL may name other ones; what makes writes durable it cannot weaken.
_DEFAULTS: dict[str, Any] = {
    "serverSelectionTimeoutMS": 5_000,
    "connectTimeoutMS": 5_000,
    "timeoutMS": 30_000,
    "appname": "omegamesh",
}


def driver_from_environment() -> Driver:
    """Give the driver that `OMEGA_MONGO_DRIVER` names, Motor by default. Raises BadRequest for an unknown one."""
    name = os.environ.get("OMEGA_MONGO_DRIVER", "motor")
    if name not in ("motor", "pymongo"):
        raise BadRequest(f"OMEGA_MONGO_DRIVER={name} names no driver.", action="Set it to motor or pymongo.")
    return cast(Driver, name)


class Mongo:
    """A connection pool to one database, for the event loop that makes it."""

    def __init__(self, url: str, *, driver: Driver | None = None) -> None:
        """Make the pool without connecting. Raises BadRequest for a URL that names no database, or is none."""
        self.driver = driver or driver_from_environment()
        self._collections: dict[str, Collection] = {}
        self._timeout_seconds = float(_named(url).get("timeoutms", _DEFAULTS["timeoutMS"])) / 1000
        try:
            self._client = _client(url, self.driver)
            self.database: AsyncDatabase[dict[str, Any]] = self._client.get_default_database()
        except (ConfigurationError, InvalidURI) as error:
            raise BadRequest(
                f"The MongoDB URL is not usable: {error}.", action="Use mongodb://host:27017/database?replicaSet=rs0."
            ) from error

    def collection(self, name: str) -> Collection:
        """Give a collection of the database; made once, for the driver makes a new object each time."""
        if name not in self._collections:
            self._collections[name] = self.database[name]
        return self._collections[name]

    async def ping(self) -> None:
        """Return when the primary answers. Raises Unavailable."""
        with mongo_errors():
            await self.database.command("ping")

    async def close(self) -> None:
        """Close all connections."""
        closing: Any = self._client.close()
        if closing is not None:
            await closing

    async def transaction(self, work: Callable[[Session], Awaitable[T]]) -> T:
        """Give what `work` gave, committed as a whole; it runs again when another writer was in its way.

        The drivers' own loop would go on for two minutes; this one ends with the URL's `timeoutMS`.
        """
        starting: Any = self._client.start_session()
        session: Session = starting if self.driver == "pymongo" else await starting
        deadline = time.monotonic() + self._timeout_seconds
        async with session:
            while True:
                try:
                    return await _attempt(session, work)
                except PyMongoError as error:
                    if not error.has_error_label("TransientTransactionError") or time.monotonic() > deadline:
                        raise
                await asyncio.sleep(random.uniform(0, _BACKOFF_SECONDS))  # noqa: S311 - spreads writers, no secret


async def _attempt(session: Session, work: Callable[[Session], Awaitable[T]]) -> T:
    beginning: Any = session.start_transaction()
    if inspect.isawaitable(beginning):
        await beginning
    try:
        result = await work(session)
        await session.commit_transaction()
    finally:
        if session.in_transaction:
            await session.abort_transaction()
    return result


def _named(url: str) -> dict[str, str]:
    """Give the options in a URL, their names in lower case."""
    return {name.lower(): value for name, value in parse_qsl(urlsplit(url).query)}


def _client(url: str, driver: Driver) -> AsyncMongoClient[dict[str, Any]]:
    named = _named(url)
    options = _OPTIONS | {name: value for name, value in _DEFAULTS.items() if name.lower() not in named}
    if driver == "pymongo":
        return AsyncMongoClient(url, **options)
    from motor.motor_asyncio import AsyncIOMotorClient

    return cast("AsyncMongoClient[dict[str, Any]]", AsyncIOMotorClient(url, **options))


@contextmanager
def mongo_errors() -> Iterator[None]:
    """Turn what the driver raises into errors that callers know; key conflicts stay for the adapter to explain."""
    try:
        yield
    except (DuplicateKeyError, BulkWriteError):
        raise
    except DocumentTooLarge as error:
        raise TooLarge(f"A document is over MongoDB's limit: {error}.", action="Store it as a blob.") from error
    except (InvalidDocument, BSONError, OverflowError, UnicodeEncodeError) as error:
        raise BadBody(f"A document cannot be stored: {error}.", action="Use values that JSON or BSON has.") from error
    except PyMongoError as error:
        raise _translated(error) from error


def duplicates(error: BulkWriteError) -> set[int]:
    """Give the positions that a unique key refused. Raises OmegaError when anything else went wrong, too."""
    found = error.details["writeErrors"]
    if error.details["writeConcernErrors"] or any(each["code"] != _DUPLICATE for each in found):
        raise bulk_failure(error) from error
    return {each["index"] for each in found}


def bulk_failure(error: BulkWriteError) -> OmegaError:
    """Give a failed bulk write as the error that callers know."""
    details = error.details
    unacknowledged = details["writeConcernErrors"]
    others = [each for each in details["writeErrors"] if each["code"] != _DUPLICATE]
    reasons = "; ".join(sorted({str(each.get("errmsg")) for each in [*unacknowledged, *others]}))
    if unacknowledged and not others:
        return Unavailable(
            f"MongoDB did not acknowledge a write: {reasons}.", action="Try again; it may have taken effect."
        )
    return OmegaError(f"MongoDB failed: {reasons}.", action="See the server's log.")


def _translated(error: PyMongoError) -> OmegaError:
    if isinstance(error, ConnectionFailure | WTimeoutError) or error.timeout:
        return Unavailable(
            f"MongoDB does not answer: {error}.", action="Try again; an unanswered write may have taken effect."
        )
    if isinstance(error, OperationFailure) and error.code in _REFUSED_CHANGES:
        return BadBody(f"MongoDB refuses the change: {error}.", action="Set whole fields; add to numbers only.")
    if isinstance(error, OperationFailure) and error.code in (13, 18):
        return Unavailable(f"MongoDB refuses this user: {error}.", action="Check the user, password and database.")
    return OmegaError(f"MongoDB failed: {error}.", action="See the server's log.")
