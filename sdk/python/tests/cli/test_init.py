"""`om init`: nothing is written before the login works."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from omegamesh.config import Config, load_config

PING = {"ping": "2026-01-01T00:00:00Z", "userid": "ann", "bucket": "red"}
LOGIN = ("--userid", "ann", "--apikey", "omk_1_x")


@pytest.fixture
def written(nobody_home: Path) -> Path:
    """Where the configuration is written."""
    return nobody_home / ".omegaml" / "config.yml"


def test_the_embedded_mesh_needs_nothing(om: Any, written: Path) -> None:
    result = om("init")
    assert result.exit_code == 0
    assert "Nothing is needed" in result.stdout
    assert not written.exists()


def test_a_login_that_works_is_written_for_its_owner_only(om: Any, server: Any, answer: Any, written: Path) -> None:
    server.answer(answer(body=PING))
    result = om("init", "--url", server.url + "/", *LOGIN, "--bucket", "red")
    assert result.exit_code == 0, result.output
    assert f"Logged in at {server.url} as ann, bucket red. Written to {written}" in result.stdout
    assert "omk_1_x" not in result.output
    assert load_config({}, written) == Config(server.url, "ann", "omk_1_x", bucket="red")
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert server.requests[0].headers["Authorization"] == "ApiKey ann:omk_1_x"
    assert server.requests[0].headers["Bucket"] == "red"


def test_another_file_can_be_named(om: Any, server: Any, answer: Any, tmp_path: Path, written: Path) -> None:
    server.answer(answer(body=PING))
    for where in (["--config", str(tmp_path / "a.yml")], []):
        result = om("init", "--url", server.url, *LOGIN, *where, env={"OMEGA_CONFIG_FILE": str(tmp_path / "b.yml")})
        assert result.exit_code == 0
    assert load_config({}, tmp_path / "a.yml") == load_config({}, tmp_path / "b.yml")
    assert not written.exists()


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (
            401,
            {"error": {"code": "unauthenticated", "status": 401, "message": "Unknown key.", "action": "Ask for one."}},
            "Unknown key. Ask for one.",
        ),
        (404, {"detail": "Not Found"}, "does not answer as a mesh"),
        (200, b"<html>", "does not answer as a mesh"),
        (200, ["ping"], "does not answer as a mesh"),
        (200, {}, "does not answer as a mesh"),
        (503, b"", "answered with status 503"),
    ],
)
def test_a_login_that_fails_writes_nothing(
    om: Any, server: Any, answer: Any, written: Path, status: int, body: Any, message: str
) -> None:
    server.answer(answer(status, body))
    result = om("init", "--url", server.url, *LOGIN)
    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not written.exists()


def test_an_older_configuration_survives_a_failed_login(om: Any, server: Any, answer: Any, written: Path) -> None:
    written.parent.mkdir()
    written.write_text("OMEGA_URL: http://old\n", encoding="utf-8")
    server.answer(answer(503))
    assert om("init", "--url", server.url, *LOGIN).exit_code == 1
    assert written.read_text(encoding="utf-8") == "OMEGA_URL: http://old\n"


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        (["--userid", "ann"], "--url"),
        (["--url", "http://x", "--userid", "ann"], "--apikey"),
        (["--url", "http://x", "--apikey", "k"], "--userid"),
        (["--url", "x.example"], "does not start with https://"),
    ],
)
def test_what_is_missing_is_named_when_nobody_can_be_asked(om: Any, words: list[str], missing: str) -> None:
    result = om("init", *words)
    assert result.exit_code == 2
    assert missing in result.stderr


def test_a_person_is_asked_for_what_is_missing(
    person: Callable[..., tuple[int, str]], server: Any, answer: Any, written: Path
) -> None:
    server.answer(answer(body=PING))
    answers = [("[]: ", server.url), ("User id: ", "ann"), ("API key: ", "omk_1_hidden")]
    status, shown = person("init", answers=answers)
    assert status == 0, shown
    assert "omk_1_hidden" not in shown
    assert load_config({}, written) == Config(server.url, "ann", "omk_1_hidden")


def test_a_person_who_names_no_url_means_the_embedded_mesh(person: Callable[..., tuple[int, str]]) -> None:
    status, shown = person("init", answers=[("[]: ", "")])
    assert status == 0
    assert "Nothing is needed" in shown


def test_a_person_who_wants_no_questions_gets_none(person: Callable[..., tuple[int, str]]) -> None:
    status, shown = person("init", "-q", "--url", "http://x")
    assert status == 2
    assert "--userid" in shown
