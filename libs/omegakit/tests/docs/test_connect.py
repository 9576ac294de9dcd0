from pathlib import Path

import pytest

from omegakit.docs import Collection, open_docs
from omegaproto.errors import BadName, BadRequest, Unavailable


@pytest.mark.parametrize("url", ["redis://host/0", "sqlite:///", "docs.sqlite3", ""])
def test_a_url_that_names_no_store_is_refused(url: str) -> None:
    with pytest.raises(BadRequest):
        open_docs(url)


async def test_a_sqlite_path_may_be_relative_and_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for url in ("sqlite:///some%20folder/a.db", f"sqlite:///{tmp_path}/b.db"):
        docs = open_docs(url)
        await docs.start([])
        await docs.close()
    assert (tmp_path / "some folder" / "a.db").exists()
    assert (tmp_path / "b.db").exists()


async def test_a_path_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    docs = open_docs(f"sqlite:///{tmp_path}/file/docs.db")
    with pytest.raises(Unavailable):
        await docs.start([])
    await docs.close()


async def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "docs.db").write_bytes(b"something else entirely" * 100)
    docs = open_docs(f"sqlite:///{tmp_path}/docs.db")
    with pytest.raises(Unavailable):
        await docs.start([])
    await docs.close()


async def test_a_collection_name_is_plain(tmp_path: Path) -> None:
    docs = open_docs(f"sqlite:///{tmp_path}/docs.db")
    with pytest.raises(BadName):
        await docs.start([Collection('a"; DROP TABLE x')])
    await docs.close()


@pytest.mark.servers
async def test_a_mongodb_url_needs_a_database(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadRequest):
        await open_docs("mongodb://127.0.0.1:1/").start([])
    monkeypatch.setenv("OMEGA_MONGO_DRIVER", "mongoose")
    with pytest.raises(BadRequest):
        await open_docs("mongodb://127.0.0.1:1/db").start([])
