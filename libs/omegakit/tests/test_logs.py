"""Logs: one JSON object a line, ids that follow a call, and no secret in any of them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from omegakit.logs import configure_logs, get_logger, mask_secrets
from omegakit.settings import LogSettings


@pytest.fixture
def log_file(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "log"
    structlog.get_config()["logger_factory"]._file.close()
    logging.captureWarnings(capture=False)
    logging.getLogger().handlers = [
        kept for kept in logging.getLogger().handlers if type(kept).__module__ != "omegakit.logs"
    ]
    structlog.reset_defaults()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_is_json_with_the_ids_of_its_call(log_file: Path) -> None:
    configure_logs(LogSettings(file=log_file))
    with structlog.contextvars.bound_contextvars(request_id="r1", task_id="t1"):
        get_logger("gateway").info("answered", seconds=0.5)
    (line,) = lines(log_file)
    assert line | {"timestamp": ""} == {
        "event": "answered", "level": "info", "request_id": "r1", "task_id": "t1", "seconds": 0.5, "service": "gateway",
        "timestamp": "",
    }  # fmt: skip


def test_the_level_is_kept(log_file: Path) -> None:
    configure_logs(LogSettings(file=log_file, level="warning"))
    get_logger("gateway").info("quiet")
    get_logger("gateway").warning("loud")
    assert [line["event"] for line in lines(log_file)] == ["loud"]


def test_an_exception_is_told_with_its_traceback(log_file: Path) -> None:
    configure_logs(LogSettings(file=log_file))
    try:
        int("omk_0123_verysecret")
    except ValueError:
        get_logger("gateway").exception("failed", apikey="omk_0123_verysecret")
    (line,) = lines(log_file)
    assert "ValueError" in line["exception"]
    assert "verysecret" not in log_file.read_text()


def test_what_libraries_log_has_the_same_form(log_file: Path) -> None:
    configure_logs(LogSettings(file=log_file))
    logging.getLogger("aio_pika").error("lost %s", "it")
    logging.getLogger("aio_pika").info("chatter")
    (line,) = lines(log_file)
    assert (line["event"], line["level"], line["service"]) == ("lost it", "error", "aio_pika")


def test_people_can_read_it_too(log_file: Path) -> None:
    configure_logs(LogSettings(file=log_file, format="console"))
    get_logger("gateway").info("hello")
    assert "hello" in log_file.read_text()


@given(
    st.sampled_from(["secret", "PASSWORD", "apikey", "access_token", "Authorization", "pepper"]),
    st.text(min_size=1),
)
def test_telling_names_are_masked(name: str, value: str) -> None:
    assert mask_secrets(None, "info", {name: value}) == {name: "***"}
    assert mask_secrets(None, "info", {"headers": {name: value}}) == {"headers": {name: "***"}}


@given(st.text(alphabet="0123456789abcdef", min_size=1), st.text(alphabet="abcXYZ_-09", min_size=1))
def test_keys_inside_text_are_masked(identifier: str, secret: str) -> None:
    masked = mask_secrets(None, "info", {"event": f"got omk_{identifier}_{secret}!"})
    assert masked["event"] == f"got omk_{identifier}_***!"


def test_other_values_stay() -> None:
    assert mask_secrets(None, "info", {"event": "x", "n": 5}) == {"event": "x", "n": 5}
