"""The folder of an embedded mesh: what is kept in it, for whom, and who runs its mesh."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from omega_mesh.home import Home


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_environment_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMEGA_HOME", str(tmp_path / "there"))
    assert Home().folder == tmp_path / "there"
    assert Home(tmp_path / "given").folder == tmp_path / "given"


@pytest.mark.parametrize("value", [None, ""])
def test_without_it_the_folder_is_among_the_users_data(
    value: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMEGA_HOME", raising=False)
    if value is not None:
        monkeypatch.setenv("OMEGA_HOME", value)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert Home().folder == tmp_path / "omegamesh"


def test_a_tilde_is_the_users_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("OMEGA_HOME", "~/a/b")
    assert Home().folder == tmp_path / "a" / "b"


def test_only_its_owner_can_read_it(home: Home) -> None:
    home.secrets()
    home.administrator()
    assert mode(home.folder) == 0o700
    assert {mode(home.folder / name) for name in ("secrets.json", "credentials")} == {0o600}


def test_secrets_are_made_once(home: Home) -> None:
    secrets, login = home.secrets(), home.administrator()
    again = Home(home.folder)
    assert again.secrets() == secrets
    assert again.administrator() == login
    assert login[0] == "admin"
    assert login[1].startswith("omk_")


def test_every_folder_has_secrets_of_its_own(home: Home, tmp_path: Path) -> None:
    other = Home(tmp_path / "other")
    assert not set(home.secrets().values()) & set(other.secrets().values())
    assert home.administrator() != other.administrator()


def test_one_at_a_time_runs_the_mesh(home: Home) -> None:
    held = home.acquire()
    assert held is not None
    assert Home(home.folder).acquire() is None
    held.close()
    again = home.acquire()
    assert again is not None
    again.close()


def test_the_lock_goes_with_a_process_that_is_killed(home: Home, spawn: Any) -> None:
    process = spawn("from omega_mesh.home import Home\nheld = Home().acquire()\nprint('held', flush=True)\ninput()")
    assert process.stdout.readline() == "held\n"
    assert home.acquire() is None
    process.kill()
    process.wait()
    freed = home.acquire()
    assert freed is not None
    freed.close()


def test_what_is_announced_is_found_with_a_login(home: Home) -> None:
    assert home.announced() is None
    home.announce("http://127.0.0.1:1")
    found = Home(home.folder).announced()
    assert found is not None
    assert (found.url, (found.userid, found.apikey)) == ("http://127.0.0.1:1", home.administrator())
    assert [path.name for path in home.folder.iterdir() if path.name.startswith(".")] == []
    home.withdraw()
    home.withdraw()
    assert home.announced() is None


def test_an_announcement_that_is_half_written_counts_as_none(home: Home) -> None:
    (home.folder / "mesh.json").write_text(json.dumps({"url": "http://x"})[:7], encoding="utf-8")
    assert home.announced() is None


def test_the_next_one_to_run_the_mesh_withdraws_what_the_last_one_announced(home: Home) -> None:
    home.announce("http://127.0.0.1:1")
    held = home.acquire()
    assert held is not None
    assert home.announced() is None
    home.announce("http://127.0.0.1:2")
    assert home.acquire() is None
    assert home.announced() is not None
    held.close()
