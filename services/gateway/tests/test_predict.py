"""Predictions: batches, bounds, one bad request alone, time limits, absent workers, and what caches must forget."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from omega_gateway.predict import MAX_BATCH_BYTES, envelope, label_of, read_body, verb_uri
from omegaproto.errors import BadBody, BadInput, TooLarge
from omegaproto.messages import MAX_MESSAGE_BYTES
from omegaproto.objects import Metadata, RevisionCommitted, Store

from .conftest import Gateways, Mesh

LIMIT = 200 * 1024


@given(st.text(min_size=1, max_size=200))
def test_the_size_of_a_body_is_what_it_takes_inside_a_message(text: str) -> None:
    found, size = read_body(text.encode(), LIMIT)
    assert found == text
    assert size == len(to_json(text)) + 1


@pytest.mark.parametrize("raw", [b"", b"\xff\xfe", b'{"data": "\xc3"}'])
def test_a_body_that_is_not_text_is_refused(raw: bytes) -> None:
    with pytest.raises(BadBody):
        read_body(raw, LIMIT)


@pytest.mark.parametrize("raw", [b"1" * (LIMIT + 1), b'"' * (LIMIT - 1)])
def test_a_body_that_fits_no_message_is_refused(raw: bytes) -> None:
    with pytest.raises(TooLarge, match="dataset"):
        read_body(raw, LIMIT)


@given(st.text(min_size=1, max_size=20))
def test_the_envelope_is_json_whatever_the_name(name: str) -> None:
    head, tail = envelope(name, verb_uri("m", "predict"))
    parsed = json.loads(f"{head}[1]{tail}")
    assert parsed == {"model": name, "result": [1], "resource_uri": "/api/v1/model/m/predict"}


@pytest.mark.parametrize(
    ("attributes", "label"),
    [({}, "cpu"), ({"require": "gpu"}, "gpu"), ({"require": ["gpu"]}, "cpu"), ({"require": ""}, "cpu")],
)
def test_the_label_is_an_attribute_of_the_model(attributes: dict[str, Any], label: str) -> None:
    now = "2026-11-21T00:00:00Z"
    revision = {"id": "r", "number": 1, "kind": "k", "created": now, "created_by": "ann"}
    fields = {"bucket": "b", "store": "models", "name": "m", "kind": "k", "created": now, "modified": now, "etag": 1}
    assert label_of(Metadata(**fields, revision=revision, attributes=attributes)) == label


async def predict(client: Any, rows: Any, name: str = "m", action: str = "predict") -> Any:
    return await client.post(f"/api/v1/model/{name}/{action}", json={"data": rows})


async def test_many_requests_travel_in_few_messages_and_keep_their_order(mesh: Mesh) -> None:
    await mesh.put_model()
    async with mesh.client() as client:
        first = await predict(client, [[0]])
        assert first.status_code == 200, first.text
        mesh.worker.batches.clear()
        mesh.worker.arrived.clear()
        mesh.worker.open.clear()
        asking = [asyncio.create_task(predict(client, [[number]])) for number in range(64)]
        await mesh.worker.arrived.wait()
        (batcher,) = mesh.gateway._parts.predictor._batchers.values()
        while sum(len(batch.bodies) for batch in mesh.worker.batches) + len(batcher._waiting) < 64:
            await asyncio.sleep(0.001)
        mesh.worker.open.set()
        answers = await asyncio.gather(*asking)
    assert [answer.json()["result"] for answer in answers] == [[number] for number in range(64)]
    assert len(mesh.worker.batches) <= 3
    revision = mesh.worker.batches[0].revision_id
    assert {batch.revision_id for batch in mesh.worker.batches} == {revision}


async def test_one_bad_request_of_a_batch_fails_alone(mesh: Mesh) -> None:
    await mesh.put_model()
    async with mesh.client() as client:
        await predict(client, [[0]])
        bodies = [b'{"data": [[1]]}', b"not json", b'{"data": 3}', b'{"data": [[4]]}']
        answers = await asyncio.gather(*(client.post("/api/v1/model/m/predict", content=body) for body in bodies))
    assert [answer.status_code for answer in answers] == [200, 400, 400, 200]
    assert [answers[0].json()["result"], answers[3].json()["result"]] == [[1], [4]]
    assert answers[1].json()["error"]["code"] == "bad_body"


async def test_the_worker_gets_a_token_that_reads_the_bucket_and_no_more(mesh: Mesh) -> None:
    await mesh.put_model()
    async with mesh.client() as client:
        await predict(client, [[0]])
    token = mesh.worker.batches[0].access_token
    async with mesh.client(f"Bearer {token}") as worker:
        assert (await worker.get("/api/v1/objects/models/m")).status_code == 200
        assert (await worker.patch("/api/v1/objects/models/m", json={"attributes": {}})).status_code == 403
        assert (await worker.get("/api/v1/objects/models", headers={"Bucket": "sales"})).status_code == 403


@pytest.mark.parametrize("crowded", [False, True])
async def test_answers_too_large_for_one_message_come_in_several(mesh: Mesh, crowded: bool) -> None:
    await mesh.put_model()
    mesh.worker.padding = 60 * 1024
    mesh.worker.crowded = crowded
    async with mesh.client() as client:
        await predict(client, [[0]])
        mesh.worker.open.clear()
        mesh.worker.arrived.clear()
        asking = [asyncio.create_task(predict(client, [[number]])) for number in range(12)]
        await mesh.worker.arrived.wait()
        mesh.worker.open.set()
        answers = await asyncio.gather(*asking)
        assert [answer.json()["result"] for answer in answers] == [[number] for number in range(12)]
        mesh.worker.padding = MAX_MESSAGE_BYTES
        answer = await predict(client, [[1]])
    assert answer.status_code == 413 and "dataset" in answer.json()["message"]


async def test_large_bodies_never_make_a_message_too_large(mesh: Mesh) -> None:
    await mesh.put_model()
    rows = [["x" * 100] for _ in range(900)]
    body = json.dumps({"columns": ["a"], "data": rows})
    assert MAX_BATCH_BYTES / 3 < len(body) < LIMIT
    async with mesh.client() as client:
        await predict(client, [[0]])
        answers = await asyncio.gather(*(client.post("/api/v1/model/m/predict", content=body) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {400}  # text cannot be summed, says the worker
    assert {answer.json()["error"]["code"] for answer in answers} == {"bad_body"}


@pytest.mark.parametrize("warm", [False, True])
async def test_bad_bodies(mesh: Mesh, warm: bool) -> None:
    await mesh.put_model()
    async with mesh.client() as client:
        if warm:
            await predict(client, [[0]])
        cases = [(b"", 400), (b"\xff", 400), (b"x" * (LIMIT + 1), 413), (b"x" * (2 * 1024 * 1024), 413)]
        for body, status in cases:
            answer = await client.post("/api/v1/model/m/predict", content=body)
            assert answer.status_code == status, (body[:10], answer.text)

        async def chunks() -> Any:
            for _ in range(40):
                yield b"x" * 10_000

        assert (await client.post("/api/v1/model/m/predict", content=chunks())).status_code == 413


async def test_a_slow_worker_is_not_waited_for_for_ever(meshes: Gateways) -> None:
    mesh = await meshes(predict_seconds=0.2)
    await mesh.put_model()
    async with mesh.client() as client:
        await predict(client, [[0]])
        mesh.worker.open.clear()
        asking = [asyncio.create_task(predict(client, [[1]]))]
        mesh.worker.arrived.clear()
        await mesh.worker.arrived.wait()
        asking += [asyncio.create_task(predict(client, [[2]])) for _ in range(3)]
        answers = await asyncio.gather(*asking)
        assert {answer.status_code for answer in answers} == {504}
        mesh.worker.open.set()
        assert (await predict(client, [[3]])).json()["result"] == [3]


async def test_an_absent_worker_is_named_by_its_label(mesh: Mesh) -> None:
    await mesh.put_model(attributes={"require": "gpu"})
    async with mesh.client() as client:
        answer = await predict(client, [[1]])
    assert answer.status_code == 503 and "'gpu'" in answer.json()["message"]
    assert answer.headers["Retry-After"] == "1"


async def test_what_the_worker_raises_arrives_as_it_is(mesh: Mesh) -> None:
    await mesh.put_model()
    mesh.worker.broken = BadInput("The model takes 4 features.", action="Send 4.")
    async with mesh.client() as client:
        answer = await predict(client, [[1]])
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "bad_input")
        mesh.worker.broken = None
        mesh.worker.short = True
        answer = await predict(client, [[1]])
        assert answer.status_code == 500


async def test_too_many_waiting_requests_are_refused(meshes: Gateways) -> None:
    mesh = await meshes(predict_waiting=2)
    await mesh.put_model()
    async with mesh.client() as client:
        await predict(client, [[0]])
        mesh.worker.open.clear()
        mesh.worker.arrived.clear()
        running = asyncio.create_task(predict(client, [[1]]))
        await mesh.worker.arrived.wait()
        others = [asyncio.create_task(predict(client, [[2]])) for _ in range(5)]
        refused = await next(asyncio.as_completed(others))
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "overloaded")
        mesh.worker.open.set()
        answers = await asyncio.gather(running, *others)
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 429, 429, 429]


async def test_a_new_revision_is_used_at_once(mesh: Mesh) -> None:
    first = await mesh.put_model()
    async with mesh.client() as client:
        await predict(client, [[0]])
        second = await mesh.put_model()
        await predict(client, [[0]])
        await predict(client, [[0]], name="m^")
        tag = {"tag": "live", "revision_id": first["revision"]["id"]}
        assert (await client.put("/api/v1/tags/models/m", params=tag)).status_code == 200
        await predict(client, [[0]], name="m@live")
        assert (await client.delete("/api/v1/objects/models/m")).status_code == 204
        assert (await predict(client, [[0]])).status_code == 404
    ids = [batch.revision_id for batch in mesh.worker.batches]
    old, new = first["revision"]["id"], second["revision"]["id"]
    assert ids == [old, new, old, old]


async def test_a_revision_made_elsewhere_is_seen_by_its_event(mesh: Mesh) -> None:
    await mesh.put_model()
    predictor = mesh.gateway._parts.predictor
    async with mesh.client() as client:
        await predict(client, [[0]])
    assert predictor.known("omegaml", "m", "predict") is not None
    other = RevisionCommitted(bucket="omegaml", store=Store.datasets, name="m", revision_id="r")
    mine = RevisionCommitted(bucket="omegaml", store=Store.models, name="m", revision_id="r")
    await predictor._changed(other)
    assert predictor.known("omegaml", "m", "predict") is not None
    await mesh.worker.kit.bus.publish(mine)
    async with asyncio.timeout(5):
        while predictor.known("omegaml", "m", "predict") is not None:
            await asyncio.sleep(0)


async def test_a_warm_model_opens_to_nobody_else(mesh: Mesh) -> None:
    await mesh.put_model()
    async with mesh.client() as client:
        await predict(client, [[0]])
    async with mesh.client(await mesh.user("rea", omegaml="reader")) as reader:
        assert (await reader.get("/api/v1/ping")).status_code == 200
        assert (await predict(reader, [[0]])).status_code == 403
    async with mesh.client(bucket="sales") as elsewhere:
        assert (await predict(elsewhere, [[0]])).status_code == 404
    async with mesh.client(bucket="default") as default:
        assert (await predict(default, [[0]])).status_code == 200


async def test_a_key_revoked_in_mid_air_predicts_no_more(mesh: Mesh) -> None:
    await mesh.put_model()
    async with mesh.client() as admin:
        made = (await admin.post("/api/v1/users", json={"userid": "ann", "grants": {"*": "runner"}})).json()
        async with mesh.client(f"ApiKey ann:{made['apikey']}") as ann:
            assert (await predict(ann, [[0]])).status_code == 200
            assert (await predict(ann, [[0]])).status_code == 200
            assert (await admin.delete(f"/api/v1/keys/{made['key_id']}")).status_code == 204
            assert (await predict(ann, [[0]])).status_code == 401


async def test_unknown_models_actions_and_names(mesh: Mesh) -> None:
    await mesh.put_model()
    async with mesh.client() as client:
        cases = {
            ("nothing", "predict"): (404, "object_not_found"),
            ("m@nothing", "predict"): (404, "revision_not_found"),
            ("m", "dance"): (400, "unknown_action"),
            ("m%5B%5D%5B", "predict"): (400, "bad_name"),
        }
        for (name, action), (status, code) in cases.items():
            answer = await predict(client, [[0]], name, action)
            assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
        assert (await client.delete("/api/v1/model/m/predict")).status_code == 405


async def test_a_model_describes_itself(mesh: Mesh) -> None:
    await mesh.put_model("a/b")
    async with mesh.client() as client:
        answer = (await client.get("/api/v1/model/a/b/")).json()
    assert (answer["model"], answer["resource_uri"]) == ("a/b", "/api/v1/model/a/b/")
    assert (answer["result"]["name"], answer["result"]["kind"]) == ("a/b", "test.model")


async def test_batchers_of_unused_models_are_dropped(meshes: Gateways) -> None:
    mesh = await meshes(models_cached=2)
    async with mesh.client() as client:
        for name in "abc":
            await mesh.put_model(name)
            assert (await predict(client, [[1]], name)).status_code == 200
    assert len(mesh.gateway._parts.predictor._batchers) == 2


async def test_a_drain_answers_what_waits(mesh: Mesh) -> None:
    await mesh.put_model()
    async with mesh.client() as client:
        await predict(client, [[0]])
        mesh.worker.open.clear()
        mesh.worker.arrived.clear()
        asking = asyncio.create_task(predict(client, [[1]]))
        await mesh.worker.arrived.wait()
        draining = asyncio.create_task(mesh.gateway.drain())
        mesh.worker.open.set()
        await draining
        assert (await asking).json()["result"] == [1]
        assert (await client.get("/readyz")).status_code == 503
