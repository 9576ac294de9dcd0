"""Frames over HTTP and the bus, on files and on GridFS."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omega_blobstore import manifests
from omegakit.http import TransportError
from omegaproto.blobs import CreateFrame, GetFrame
from omegaproto.errors import BadFrame, BlobNotFound, Forbidden
from omegaproto.frames import ROW_COLUMN, FrameManifest
from omegaproto.scopes import Role

B = "omegaml"


def parquet(columns: Any, **options: Any) -> bytes:
    out = io.BytesIO()
    table = columns if isinstance(columns, pa.Table) else pa.table(columns)
    pq.write_table(table, out, **options)
    return out.getvalue()


async def make_frame(store: Any, *parts: Any, base: str | None = None, **options: Any) -> Any:
    ids = [(await store.upload(parquet(part, **options))).id for part in parts]
    return await store.call(CreateFrame(bucket=B, parts=tuple(ids), base=base))


async def post_rows(store: Any, frame_id: str, bucket: str = B, **query: Any) -> Any:
    return await store.http.post(
        f"/v1/frames/{frame_id}/rows", params={"bucket": bucket}, headers=store.headers(Role.reader, bucket), json=query
    )


async def rows(store: Any, frame_id: str, **query: Any) -> pa.Table:
    response = await post_rows(store, frame_id, **query)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/vnd.apache.arrow.stream"
    return pa.ipc.open_stream(response.content).read_all()


def code_of(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


async def test_a_frame_is_described_by_its_footers(store: Any) -> None:
    info = await make_frame(store, {"x": [1, 2, None], "s": ["b", "a", None]}, {"x": [9], "s": ["z" * 100]})
    assert (info.columns, info.dtypes, info.rows, info.parts) == (("x", "s"), ("int64", "string"), 4, 2)
    manifest = await store.call(GetFrame(bucket=B, frame_id=info.frame_id), Role.reader)
    assert [part.rows for part in manifest.parts] == [3, 1]
    first, second = (part.stats for part in manifest.parts)
    assert (first["x"].min, first["x"].max, first["x"].nulls) == (1, 2, 1)
    assert (first["s"].min, first["s"].max, first["s"].nulls) == ("a", "b", 1)
    assert second["s"].min < "z" * 100 < second["s"].max
    assert pa.ipc.read_schema(pa.py_buffer(manifest.arrow_schema)).names == ["x", "s"]
    assert manifest.info == info
    response = await store.http.get(f"/v1/frames/{info.frame_id}", params={"bucket": B}, headers=store.headers())
    assert FrameManifest.model_validate_json(response.content) == manifest


async def test_rows_come_as_they_were_put(store: Any) -> None:
    frame = pd.DataFrame({"x": np.arange(1000), "s": [f"k{at % 7}" for at in range(1000)]})
    table = pa.Table.from_pandas(frame, preserve_index=False)
    info = await make_frame(store, table.slice(0, 600), table.slice(600), row_group_size=250)
    assert (await rows(store, info.frame_id)).equals(table)
    found = await rows(store, info.frame_id, where=[["x__gte", 595], ["s", "k1"]], columns={"items": [{"start": "s"}]})
    expected = frame[(frame.x >= 595) & (frame.s == "k1")]
    assert found.column_names == ["s", ROW_COLUMN]
    assert found.column(ROW_COLUMN).to_pylist() == expected.index.tolist()


async def test_an_append_shares_the_parts_and_goes_on_counting(store: Any) -> None:
    first = await make_frame(store, {"x": [1, 2]})
    second = await make_frame(store, {"x": [3, 1]}, base=first.frame_id)
    assert (first.rows, second.rows) == (2, 4)
    old, new = [await store.call(GetFrame(bucket=B, frame_id=info.frame_id)) for info in (first, second)]
    assert new.parts[:1] == old.parts
    assert (await rows(store, first.frame_id)).column("x").to_pylist() == [1, 2]
    assert (await rows(store, second.frame_id, where=[["x", 1]])).column(ROW_COLUMN).to_pylist() == [0, 3]
    assert (await rows(store, second.frame_id, start=1, stop=3)).to_pydict() == {"x": [2, 3], ROW_COLUMN: [1, 2]}


async def test_parts_that_statistics_rule_out_are_never_read(store: Any) -> None:
    info = await make_frame(store, *({"x": [at * 10, at * 10 + 5]} for at in range(4)))
    manifest = await store.call(GetFrame(bucket=B, frame_id=info.frame_id))
    for part in (*manifest.parts[:2], manifest.parts[3]):
        assert await store.service._blobs.delete(part.blob.id)
    assert (await rows(store, info.frame_id, where=[["x__between", [20, 29]]])).num_rows == 2
    assert store.metric("omega_frame_parts_read_total") == 1
    assert store.metric("omega_frame_parts_skipped_total") == 3
    assert (await rows(store, info.frame_id, start=5, stop=6)).column("x").to_pylist() == [25]
    assert code_of(await post_rows(store, info.frame_id)) == (404, "blob_not_found")


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        ({"items": [{"start": "c"}, {"start": "a"}]}, ["c", "a", "i"]),
        ({"items": [{"start": "b", "is_slice": True}]}, ["b", "c", "i"]),
        ({"items": [{"start": "a"}, {"start": "b"}], "exclude": True}, ["c", "i"]),
        ({"items": [{"is_slice": True}]}, ["a", "b", "c", "i"]),
        ({"items": [{"start": "i"}]}, None),
    ],
)
async def test_projections_keep_what_is_to_be_kept(local_store: Any, columns: Any, names: list[str] | None) -> None:
    info = await make_frame(local_store, {"a": [1], "b": [2], "c": [3], "i": [4]})
    if names is None:
        assert code_of(await post_rows(local_store, info.frame_id, columns=columns, keep=["i"])) == (
            400,
            "unknown_column",
        )
    else:
        assert (await rows(local_store, info.frame_id, columns=columns, keep=["i"])).column_names == names


async def test_the_index_of_pandas_metadata_is_kept(local_store: Any) -> None:
    frame = pd.DataFrame({"x": [1, 2], "y": [3, 4]}, index=pd.Index(["a", "b"], name="key"))
    info = await make_frame(local_store, pa.Table.from_pandas(frame))
    found = await rows(local_store, info.frame_id, columns={"items": [{"start": "y"}]}, where=[["key", "b"]])
    assert found.drop([ROW_COLUMN]).to_pandas().equals(frame.loc[["b"], ["y"]])


@pytest.mark.parametrize("metadata", [b"[]", b"{", b'{"index_columns": 5}'])
async def test_odd_pandas_metadata_does_no_harm(local_store: Any, metadata: bytes) -> None:
    table = pa.table({"x": [1]}).replace_schema_metadata({b"pandas": metadata})
    info = await make_frame(local_store, table)
    assert (await rows(local_store, info.frame_id, columns={"items": [{"start": "x"}]})).column_names == ["x"]


async def test_columns_with_dots_and_nested_columns_are_told_apart(local_store: Any) -> None:
    table = pa.table({"a": [{"b": 1, "c": 2}], "a.b": [7], "l": [[1, 2]], "z": [9]})
    info = await make_frame(local_store, table)
    manifest = await local_store.call(GetFrame(bucket=B, frame_id=info.frame_id))
    stats = manifest.parts[0].stats
    assert [(stats[name].min, stats[name].max) for name in table.column_names] == [
        (None, None),
        (7, 7),
        (None, None),
        (9, 9),
    ]
    found = await rows(local_store, info.frame_id, columns={"items": [{"start": "a"}]}, where=[["a.b", 7]])
    assert found.column("a").to_pylist() == [{"b": 1, "c": 2}]


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ({"where": [["nix__gt", 1]]}, (400, "unknown_column")),
        ({"where": [["x__median", 1]]}, (400, "bad_filter")),
        ({"where": [["x__gt", "a"]]}, (400, "bad_filter")),
        ({"columns": {"items": [{"start": "nix"}]}}, (400, "unknown_column")),
        ({"columns": {"items": []}, "keep": ["nix"]}, (400, "unknown_column")),
        ({"start": -1}, (400, "bad_body")),
        ({"where": 5}, (400, "bad_body")),
    ],
)
async def test_a_bad_query_is_refused_before_the_first_byte(local_store: Any, query: Any, answer: Any) -> None:
    info = await make_frame(local_store, {"x": [1]})
    assert code_of(await post_rows(local_store, info.frame_id, **query)) == answer


async def test_a_query_that_is_no_json_or_too_long_is_refused(local_store: Any) -> None:
    info = await make_frame(local_store, {"x": [1]})
    for body in (b"no json", b"[" * (5 * 1024 * 1024)):
        response = await local_store.http.post(
            f"/v1/frames/{info.frame_id}/rows", params={"bucket": B}, headers=local_store.headers(), content=body
        )
        assert code_of(response) == (400, "bad_body")


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def footer_garbled(data: bytes) -> bytes:
    size = int.from_bytes(data[-8:-4], "little")
    return data[: -8 - size] + os.urandom(size) + data[-8:]


def footer_endless(data: bytes) -> bytes:
    return data[:-8] + b"\xff\xff\xff\x7f" + data[-4:]


@pytest.mark.parametrize(
    "damage", [cut, footer_garbled, footer_endless, lambda _: b"", lambda _: b"PAR1", lambda _: b"a,b\n1,2\n"]
)
async def test_what_is_not_parquet_is_no_part(local_store: Any, damage: Callable[[bytes], bytes]) -> None:
    ref = await local_store.upload(damage(parquet({"x": [1, 2, 3]})))
    with pytest.raises(BadFrame, match="not Parquet"):
        await local_store.call(CreateFrame(bucket=B, parts=(ref.id,)))


async def test_parts_must_have_the_same_columns(store: Any) -> None:
    base = await make_frame(store, {"x": [1], "s": ["a"]})
    for part, said in {
        "type": ({"x": [1.5], "s": ["a"]}, "'x' is int64 in the frame and double in the part"),
        "missing": ({"x": [1]}, r"1 missing \('s'\)"),
        "unknown": ({"x": [1], "s": ["a"], "t": [1]}, r"1 unknown \('t'\)"),
        "order": ({"s": ["a"], "x": [1]}, "in another order"),
    }.values():
        with pytest.raises(BadFrame, match=said):
            await make_frame(store, part, base=base.frame_id)
        with pytest.raises(BadFrame, match=said):
            await make_frame(store, {"x": [1], "s": ["a"]}, part)


async def test_frames_that_cannot_be_are_refused(open_store: Any, local_stores: tuple[str, str]) -> None:
    store = await open_store(local_stores, max_row_group_bytes=10_000)
    with pytest.raises(BadFrame, match="at least one part"):
        await make_frame(store)
    with pytest.raises(BadFrame, match="more than one column 'x'"):
        await make_frame(store, pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"]))
    with pytest.raises(BadFrame, match="taken by the mesh"):
        await make_frame(store, {ROW_COLUMN: [1]})
    with pytest.raises(BadFrame, match="row group of"):
        await make_frame(store, {"x": list(range(5000))})
    assert (await make_frame(store, {"x": list(range(5000))}, row_group_size=500)).rows == 5000


async def test_another_buckets_frames_and_parts_are_not_there(store: Any) -> None:
    info = await make_frame(store, {"x": [1]})
    theirs = await store.upload(parquet({"x": [1]}), bucket="other")
    for request in (
        CreateFrame(bucket=B, parts=(theirs.id,)),
        CreateFrame(bucket="other", parts=(theirs.id,), base=info.frame_id),
        GetFrame(bucket="other", frame_id=info.frame_id),
        GetFrame(bucket=B, frame_id=info.frame_id + "-00001"),
        GetFrame(bucket=B, frame_id="nonsense"),
    ):
        with pytest.raises(BlobNotFound):
            await store.call(request)
    assert code_of(await post_rows(store, info.frame_id, "other")) == (404, "blob_not_found")
    with pytest.raises(Forbidden):
        await store.call(CreateFrame(bucket=B, parts=()), Role.runner)


async def test_a_frame_of_many_parts_is_many_documents(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "MAX_PARTS", 3)
    ref = await store.upload(parquet({"x": [1]}))
    info = await store.call(CreateFrame(bucket=B, parts=(ref.id,) * 8))
    manifest = await store.call(GetFrame(bucket=B, frame_id=info.frame_id))
    assert (len(manifest.parts), info.rows) == (8, 8)
    page = await store.service._docs.find("frames")
    assert [doc["number"] for doc in page.items] == [0, 1, 2]
    assert all(isinstance(json.loads(doc["parts"]), list) for doc in page.items)
    await store.service._docs.delete("frames", f"{info.frame_id}-00001")
    with pytest.raises(BlobNotFound):
        await store.call(GetFrame(bucket=B, frame_id=info.frame_id))


async def test_a_part_with_broken_pages_breaks_the_stream_off(local_store: Any) -> None:
    table = pa.table({"x": np.arange(400_000)})
    data = bytearray(parquet(table, row_group_size=100_000, write_page_checksum=True, compression="none"))
    metadata = pq.read_metadata(io.BytesIO(data))
    damaged = metadata.row_group(3).column(0).data_page_offset + 5000
    data[damaged] ^= 1
    ref = await local_store.upload(bytes(data))
    info = await local_store.call(CreateFrame(bucket=B, parts=(ref.id,)))
    with pytest.raises(TransportError):
        await post_rows(local_store, info.frame_id)
    assert code_of(await post_rows(local_store, info.frame_id, start=390_000)) == (500, "blob_corrupted")
    assert local_store.metric("omega_blob_corrupted_total") == 2


async def test_readers_who_go_away_leave_no_work_behind(local_store: Any) -> None:
    info = await make_frame(local_store, {"x": np.arange(3_000_000)}, row_group_size=100_000)
    path = f"/v1/frames/{info.frame_id}/rows"
    for _ in range(3):
        async with local_store.http.stream(
            "POST", path, params={"bucket": B}, headers=local_store.headers(), json={}
        ) as response:
            await anext(response.aiter_raw())
    assert (await rows(local_store, info.frame_id, stop=1)).num_rows == 1


async def test_an_empty_frame_has_a_schema(store: Any) -> None:
    info = await make_frame(store, pa.table({"x": pa.array([], pa.int64())}))
    assert (await rows(store, info.frame_id)).schema.names == ["x"]
    assert (await rows(store, info.frame_id, where=[["x__isnull", True]])).num_rows == 0
