"""Predictions through the gateway and the bus, answered by the predict child."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from misbehaving import Misbehaving
from sklearn.linear_model import LinearRegression, LogisticRegression

from omegaproto.errors import NotFitted, ObjectNotFound, OmegaError, RevisionNotFound, Unavailable, UnknownAction
from omegaproto.objects import Metadata
from omegaproto.predictions import PredictBatch, Predictions
from omegaproto.scopes import DEFAULT_BUCKET, Principal, Role

from .conftest import Mesh, until

pytestmark = pytest.mark.asyncio(loop_scope="module")
X, Y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 0, 1, 1])
GOOD = json.dumps({"data": [[0.0], [3.0]]})


async def put(mesh: Mesh, model: Any, name: str) -> Metadata:
    return await asyncio.to_thread(mesh.om().models.put, model, name)


async def predict(
    mesh: Mesh, metadata: Metadata, *bodies: str, bucket: str = DEFAULT_BUCKET, **fields: Any
) -> Predictions:
    kit = mesh.kits["gateway"]
    reader = Principal(userid="ann", grants={bucket: Role.reader})
    batch = PredictBatch(
        bucket=bucket,
        name=metadata.name,
        revision_id=fields.pop("revision_id", metadata.revision.id),
        bodies=bodies or (GOOD,),
        access_token=kit.tokens.acting_for(reader, bucket),
        **fields,
    )
    return await kit.bus.call(batch, token=kit.tokens.own(), route="cpu")


async def test_a_batch_is_answered_in_order_and_a_bad_body_fails_alone(mesh: Mesh) -> None:
    metadata = await put(mesh, LogisticRegression().fit(X, Y), "clf")
    answers = (await predict(mesh, metadata, GOOD, "no json", '{"data": [[1.0, 2.0]]}', GOOD)).items
    assert [answer.result for answer in answers] == ["[0,1]", None, None, "[0,1]"]
    assert [answer.error.code for answer in answers if answer.error] == ["bad_body", "bad_input"]


async def test_other_verbs_and_unknown_ones(mesh: Mesh) -> None:
    metadata = await put(mesh, LogisticRegression().fit(X, Y), "verbs")
    (answer,) = (await predict(mesh, metadata, action="predict_proba")).items
    assert np.array(json.loads(answer.result or "")).shape == (2, 2)
    with pytest.raises(UnknownAction):
        await predict(mesh, metadata, action="transform")


async def test_each_revision_answers_for_itself(mesh: Mesh) -> None:
    up = await put(mesh, LinearRegression().fit(X, X[:, 0]), "line")
    down = await put(mesh, LinearRegression().fit(X, -X[:, 0]), "line")
    for metadata, sign in ((up, 1), (down, -1), (up, 1)):
        (answer,) = (await predict(mesh, metadata)).items
        assert json.loads(answer.result or "") == pytest.approx([0, sign * 3])


async def test_a_model_that_was_never_fitted(mesh: Mesh) -> None:
    metadata = await put(mesh, LogisticRegression(), "unfitted")
    (answer,) = (await predict(mesh, metadata)).items
    assert answer.error is not None
    assert answer.error.code == NotFitted.code
    assert "fit" in answer.error.action


async def test_what_does_not_exist(mesh: Mesh) -> None:
    metadata = await put(mesh, LogisticRegression().fit(X, Y), "gone")
    with pytest.raises(RevisionNotFound):
        await predict(mesh, metadata, revision_id="0" * 32)
    with pytest.raises(ObjectNotFound):
        await predict(mesh, metadata.model_copy(update={"name": "never-was"}))


async def test_a_corrupted_blob_is_not_loaded(mesh: Mesh) -> None:
    metadata = await put(mesh, LogisticRegression().fit(X, Y), "corrupted")
    (blob,) = metadata.revision.blobs
    file = mesh.home.folder / "blobs" / blob.id[:2] / blob.id[2:]
    file.chmod(0o600)
    file.write_bytes(bytes(reversed(file.read_bytes())))
    with pytest.raises(OmegaError) as caught:
        await predict(mesh, metadata)
    assert caught.value.code in {"blob_corrupted", "unavailable"}


@pytest.mark.asyncio(loop_scope="function")
async def test_models_that_run_code_are_answered_in_a_child_of_their_bucket(own_mesh: Any, tmp_path: Path) -> None:
    """What another bucket's models are, and the tokens that read them, are never where a pickle was loaded."""
    mesh: Mesh = await own_mesh()
    pids: dict[str, str] = {}
    for bucket in ("east", "west", "east"):
        models = mesh.om(bucket).models
        safe = await asyncio.to_thread(models.put, LogisticRegression().fit(X, Y), "safe")
        assert (await predict(mesh, safe, bucket=bucket)).items[0].result == "[0,1]"
        told = tmp_path / bucket
        pickled = await asyncio.to_thread(models.put, Misbehaving("tells_its_process", str(told)), "pickled")
        assert pickled.revision.kind_meta["format"] == "joblib"
        for _ in range(2):
            assert (await predict(mesh, pickled, bucket=bucket)).items[0].result == "[0.0,0.0]"
        assert pids.setdefault(bucket, told.read_text()) == told.read_text()
        pool = mesh.services["worker"].predict_pool
        held = {str(child.pid): child.buckets for child in pool._children}
        assert held[told.read_text()] == {bucket}
        assert (await predict(mesh, safe, bucket=bucket)).items[0].result == "[0,1]"
    assert len(set(pids.values())) == len(pids)


@pytest.mark.asyncio(loop_scope="function")
async def test_without_isolation_one_child_answers_all(own_mesh: Any, tmp_path: Path) -> None:
    mesh: Mesh = await own_mesh(worker={"isolate_buckets": False, "predict_children": 1})
    for bucket in ("east", "west"):
        model = Misbehaving("tells_its_process", str(tmp_path / bucket))
        pickled = await asyncio.to_thread(mesh.om(bucket).models.put, model, "pickled")
        assert (await predict(mesh, pickled, bucket=bucket)).items[0].result == "[0.0,0.0]"
    assert (tmp_path / "east").read_text() == (tmp_path / "west").read_text()


async def test_a_predict_child_that_dies_is_replaced(mesh: Mesh) -> None:
    metadata = await put(mesh, LogisticRegression().fit(X, Y), "survivor")
    await predict(mesh, metadata)
    pool = mesh.services["worker"].predict_pool
    (pid,) = pool.pids
    os.kill(pid, signal.SIGKILL)
    await until(lambda: pool.pids and pool.pids != [pid])
    assert (await predict(mesh, metadata)).items[0].result == "[0,1]"
    assert 'omega_worker_child_deaths_total{role="predict"}' in mesh.metrics


async def test_a_model_that_kills_its_child_fails_its_batch(mesh: Mesh) -> None:
    metadata = await put(mesh, Misbehaving("exits"), "killer")
    with pytest.raises(Unavailable, match="exited with status 3"):
        await predict(mesh, metadata)


async def test_a_model_that_takes_too_long_loses_its_child(mesh: Mesh, tmp_path: Path) -> None:
    metadata = await put(mesh, Misbehaving("waits_for_file", str(tmp_path / "never")), "slow")
    predictor = mesh.services["worker"]._predictor
    before, predictor._options = predictor._options, predictor._options.model_copy(update={"predict_seconds": 0.5})
    try:
        with pytest.raises(Unavailable, match=r"within 0\.5 s"):
            await predict(mesh, metadata)
    finally:
        predictor._options = before
    fine = await put(mesh, LogisticRegression().fit(X, Y), "fine")
    assert (await predict(mesh, fine)).items[0].result == "[0,1]"


async def test_ready_while_it_can_do_its_work(mesh: Mesh) -> None:
    from omegakit.http import open_client

    pool = mesh.services["worker"].predict_pool
    await until(lambda: pool.pids)
    async with open_client(mesh.servers["worker"].url) as client:
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()["checks"]) == (
            200,
            {"bus": "ok", "scheduler": "ok", "predict": "ok"},
        )
        page = (await client.get("/metrics")).text
    for name in ("omega_worker_batch_requests_bucket", "omega_worker_predict_seconds_sum", "omega_worker_running"):
        assert name in page


async def test_overhead_of_a_batch(mesh: Mesh, capsys: pytest.CaptureFixture[str]) -> None:
    """Figures for the log: the whole way through bus, supervisor and child, without the gateway."""
    metadata = await put(mesh, LogisticRegression().fit(X, Y), "timed")
    loop, lines = asyncio.get_running_loop(), []
    body = json.dumps({"data": [[1.0]]})
    for size in (1, 16, 64):
        times = []
        for _ in range(100):
            begin = loop.time()
            answers = await predict(mesh, metadata, *[body] * size)
            times.append(loop.time() - begin)
            assert {answer.result for answer in answers.items} == {"[0]"}
        lines.append(f"{size} bodies: {sorted(times)[50] * 1e3:.2f} ms")
    with capsys.disabled():
        print("\npredict batch p50, " + ", ".join(lines))
