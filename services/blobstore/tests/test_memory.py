"""A gibibyte in and out while the service's process stays small."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
from pydantic import SecretStr

from omegakit.http import AsyncClient, TransportError, open_client
from omegakit.settings import AuthSettings
from omegakit.tokens import Tokens
from omegaproto.scopes import Principal, Role

SECRET = "s" * 48
GIBIBYTE = 1024**3
LIMIT = 200 * 1024**2
BLOCK = os.urandom(1024**2)


@asynccontextmanager
async def blobstore_process(folder: Path, stores: tuple[str, str]) -> AsyncIterator[tuple[AsyncClient, psutil.Process]]:
    """Run blobstore as a process of its own, ready."""
    socket = folder / "s"
    environment = os.environ | {
        "OMEGA_AUTH__SECRET": SECRET,
        "OMEGA_DOCS__URL": stores[0],
        "OMEGA_BLOBS__URL": stores[1],
        "OMEGA_HTTP__UDS": str(socket),
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "omega_blobstore", env=environment)
    try:
        async with open_client(f"unix://{socket}", timeout=60) as http:
            async with asyncio.timeout(60):
                while not await _ready(http):
                    await asyncio.sleep(0.02)
            yield http, psutil.Process(process.pid)
    finally:
        process.terminate()
        assert await process.wait() == 0


async def _ready(http: AsyncClient) -> bool:
    try:
        return (await http.get("/readyz")).status_code == 200
    except TransportError:
        return False


async def _peak(process: psutil.Process, peak: list[int]) -> None:
    while True:
        peak.append(process.memory_info().rss)
        await asyncio.sleep(0.02)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_gibibyte_goes_in_and_out_in_constant_memory(tmp_path: Path, stores: tuple[str, str]) -> None:
    tokens = Tokens(AuthSettings(secret=SecretStr(SECRET)), "gateway")
    token = tokens.acting_for(Principal(userid="jo", grants={"omegaml": Role.writer}), "omegaml")
    headers, params = {"Authorization": f"Bearer {token}"}, {"bucket": "omegaml"}

    async def body() -> AsyncIterator[bytes]:
        for _ in range(GIBIBYTE // len(BLOCK)):
            yield BLOCK

    peak: list[int] = []
    async with blobstore_process(tmp_path, stores) as (http, process):
        watching = asyncio.create_task(_peak(process, peak))
        announced = {"Content-Length": str(GIBIBYTE)}
        response = await http.post("/v1/blobs", params=params, content=body(), headers=headers | announced)
        assert response.status_code == 201, response.text
        digest = hashlib.sha256()
        path = f"/v1/blobs/{response.json()['id']}"
        async with http.stream("GET", path, params=params, headers=headers) as download:
            async for chunk in download.aiter_raw():
                digest.update(chunk)
        assert digest.hexdigest() == response.json()["sha256"]
        watching.cancel()
    assert max(peak) < LIMIT, f"{max(peak) / 1024**2:.0f} MiB"
