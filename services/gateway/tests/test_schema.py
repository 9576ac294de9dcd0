"""The OpenAPI page is kept: schemathesis sends what it allows and what it does not; only what it says answers."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.generation.modes import GenerationMode

from .conftest import ADMIN_KEY, Mesh

EXAMPLES = 12
"""Requests to each operation; the end-to-end tests send more."""


async def test_every_answer_is_documented_and_none_is_an_accident(mesh: Mesh) -> None:
    await mesh.put_model("x")
    async with mesh.client() as client:
        page = (await client.get("/openapi.json")).json()
    seen, faults = await asyncio.to_thread(check_all, mesh.url, page)
    assert faults == []
    assert {200, 204, 400, 404} <= set(seen)


def check_all(url: str, page: dict[str, Any]) -> tuple[list[int | None], list[str]]:
    """Send generated requests to every operation; gives all statuses, and what should not have been answered."""
    schema = schemathesis.openapi.from_dict(page)
    schema.config.update(base_url=url)
    seen: list[int | None] = []
    faults: list[str] = []
    with httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {ADMIN_KEY}"}, timeout=30) as client:
        for result in schema.get_all_operations():
            check_operation(client, result.ok(), seen, faults)
    return seen, faults


def check_operation(client: httpx2.Client, operation: Any, seen: list[int | None], faults: list[str]) -> None:
    documented = {int(status) for status in operation.definition.raw["responses"] if status.isdigit()}

    @given(st.data())
    @settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def check(data: st.DataObject) -> None:
        mode = data.draw(st.sampled_from([GenerationMode.POSITIVE, GenerationMode.NEGATIVE]))
        case = data.draw(operation.as_strategy(generation_mode=mode))
        status = send(client, case)
        seen.append(status)
        if status is not None and (status >= 500 or status not in documented | {404, 405}):
            faults.append(
                f"{operation.label} answered {status} to {case.body!r} {case.query!r} {case.path_parameters!r}"
            )

    check()


def send(client: httpx2.Client, case: Any) -> int | None:
    """Send a generated request; gives the status, or None for one that HTTP itself cannot carry."""
    sent = case.as_transport_kwargs(base_url=str(client.base_url))
    headers = {name: value for name, value in dict(sent["headers"]).items() if name.lower() not in {"authorization"}}
    try:
        answer = client.request(
            sent["method"],
            sent["url"],
            params=sent.get("params"),
            json=sent.get("json"),
            content=sent.get("data") if isinstance(sent.get("data"), bytes | str) else None,
            headers=headers,
        )
    except (ValueError, TypeError, httpx2.InvalidURL, httpx2.LocalProtocolError):
        return None
    return answer.status_code
