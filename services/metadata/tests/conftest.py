"""A metadata service on each document store, with a caller for each role."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from omega_metadata.app import MetadataService, create
from omega_metadata.settings import MetadataOptions, MetadataSettings
from omegakit.bus.memory import MemoryBroker, MemoryBus
from omegakit.clock import ManualClock
from omegakit.service import Kit, make_kit
from omegakit.settings import AuthSettings, DocsSettings
from omegaproto.ids import new_id
from omegaproto.objects import BlobRef, CommitRevision, Metadata, Store
from omegaproto.scopes import Principal, Role

ADMIN_KEY = "omk_0123456789abcdef_" + "s" * 43
BUCKET = "omegaml"


@dataclass
class Caller:
    """Calls the service as a user with one role in the default bucket."""

    kit: Kit
    clock: ManualClock
    role: Role = Role.writer
    bucket: str = BUCKET

    @property
    def token(self) -> str:
        if self.role is Role.service:
            return self.kit.tokens.own()
        return self.kit.tokens.acting_for(Principal(userid="ann", grants={self.bucket: self.role}), self.bucket)

    async def call(self, request: Any) -> Any:
        return await self.kit.bus.call(request, token=self.token)

    def having(self, role: Role, bucket: str = BUCKET) -> Caller:
        return Caller(self.kit, self.clock, role, bucket)

    async def commit(self, name: str = "m", **fields: Any) -> Metadata:
        return await self.call(a_commit(name, **fields))


def a_commit(name: str = "m", **fields: Any) -> CommitRevision:
    blob = BlobRef(id=new_id(), sha256="0" * 64, length=3)
    given = {
        "bucket": BUCKET,
        "store": Store.models,
        "kind": "test.kind",
        "blobs": (blob,),
        "idempotency_key": new_id(),
    }
    return CommitRevision(name=name, **(given | fields))


@pytest.fixture(params=["sqlite", pytest.param("mongodb", marks=pytest.mark.servers)])
def docs_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty document store of each kind."""
    if request.param == "mongodb":
        return str(request.getfixturevalue("mongo_url"))
    return f"sqlite:///{tmp_path / 'docs.sqlite3'}"


def settings_for(docs_url: str) -> MetadataSettings:
    return MetadataSettings(
        docs=DocsSettings(url=docs_url),
        auth=AuthSettings(secret=SecretStr("m" * 40), pepper=SecretStr("p" * 40)),
        metadata=MetadataOptions(admin_apikey=SecretStr(ADMIN_KEY)),
    )


@pytest.fixture
async def service(docs_url: str) -> AsyncIterator[tuple[MetadataService, Kit, ManualClock]]:
    """The running service."""
    bus = MemoryBus(MemoryBroker())
    await bus.start()
    settings, clock = settings_for(docs_url), ManualClock(datetime(2026, 11, 21, tzinfo=UTC))
    kit = make_kit("metadata", settings, bus, clock)
    made = create(kit, settings)
    await made.start()
    yield made, kit, clock
    await made.drain()
    await made.stop()
    await bus.close()


@pytest.fixture
def ann(service: tuple[MetadataService, Kit, ManualClock]) -> Caller:
    """A writer in the default bucket."""
    return Caller(service[1], service[2])
