"""The generated pages: nothing is left out of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr

from omega_mesh import docs
from omega_mesh.catalog import NAMES, entry
from omegaproto.errors import error_types
from omegaproto.messages import EVENTS, REQUESTS
from omegaproto.scopes import OPERATIONS


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    """The generated pages by file name."""
    return docs.pages()


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_of_a_service_is_there_with_its_meaning(pages: dict[str, str], name: str) -> None:
    page = pages["settings.md"]
    section = page[page.index(f"## {name}\n") :].partition("\n## ")[0]
    for group, field in entry(name).settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            for key, option in field.annotation.model_fields.items():
                (line,) = [each for each in section.splitlines() if f"`OMEGA_{group}__{key}`".upper() in each]
                assert option.description
                assert " ".join(option.description.split()).replace("|", "\\|") in line
        else:
            assert f"`OMEGA_{group}`".upper() in section


def test_no_secret_is_shown(pages: dict[str, str]) -> None:
    (line,) = {each for each in pages["settings.md"].splitlines() if "`OMEGA_AUTH__SECRET`" in each}
    assert line.split("|")[2].strip() == ""
    assert str(SecretStr("x")) not in pages["settings.md"]


def test_every_error_is_there_with_its_status(pages: dict[str, str]) -> None:
    for code, error in error_types().items():
        assert f"| {code} | {error.status} | `{error.__name__}` |" in pages["errors.md"]


def test_every_message_is_there(pages: dict[str, str]) -> None:
    for subject, request in docs.contracts(REQUESTS).items():
        row = f"| {subject} | {request.reply_type().__name__} | {request.operation} |"
        assert row in pages["messages.md"]
    for subject in docs.contracts(EVENTS):
        assert f"| {subject} |" in pages["messages.md"]
    assert set(docs.contracts(REQUESTS)) >= {"metadata.get_object", "scheduler.submit_tasks", "worker.predict_batch"}


def test_every_operation_is_there_and_an_admin_may_do_what_a_reader_may(pages: dict[str, str]) -> None:
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in pages["scopes.md"].splitlines()]
    table = {row[0]: row[1:] for row in rows if row and row[0] in OPERATIONS}
    assert set(table) == set(OPERATIONS)
    assert all(row[3] == "yes" for row in table.values() if row[0] == "yes")


def test_tables_are_whole(pages: dict[str, str]) -> None:
    for page in pages.values():
        rows = [line for line in page.splitlines() if line.startswith("|")]
        assert all(line.endswith("|") for line in rows)


def test_the_pages_are_written_as_they_are(pages: dict[str, str], tmp_path: Path) -> None:
    docs.main(tmp_path)
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == pages
