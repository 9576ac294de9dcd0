"""Global options anywhere on the line, errors in one line, help, and how long that takes."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import omegamesh
from omegamesh.cli import main
from omegamesh.cli.group import described, hoisted
from omegaproto.errors import ObjectNotFound

WORDS = st.lists(st.text("abc", min_size=1) | st.sampled_from(["--replace", "--csv", "-x"]))
GLOBAL = st.lists(st.sampled_from([["--json"], ["-q"], ["--bucket", "red"], ["--bucket=red"], ["--config", "c.yml"]]))


@given(WORDS, GLOBAL, WORDS)
def test_global_options_come_first_wherever_they_stood(
    before: list[str], options: list[list[str]], after: list[str]
) -> None:
    flat = [word for option in options for word in option]
    assert hoisted([*before, *flat, *after]) == [*flat, *before, *after]
    assert hoisted([*before, "--", *flat]) == [*before, "--", *flat]


def test_an_option_without_its_value_is_refused_as_such(om: Any) -> None:
    result = om("datasets", "list", "--bucket")
    assert result.exit_code == 2
    assert "'--bucket' requires an argument" in result.stderr


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ObjectNotFound("There is\nno 'x'.", action="Look."), "There is no 'x'. Look."),
        (FileNotFoundError(2, "There is no such file", "a.csv"), "a.csv: There is no such file."),
        (OSError(98, "Address already in use"), "Address already in use."),
        (ValueError("Not so."), "Not so."),
        (ModuleNotFoundError("Install it."), "Install it."),
        (KeyError("x"), "KeyError: 'x' (see the traceback with --debug)"),
    ],
)
def test_an_error_is_one_line(error: Exception, line: str) -> None:
    assert described(error) == line


def test_a_refused_command_says_why_on_standard_error_and_exits_1(om: Any, tmp_path: Path) -> None:
    result = om("datasets", "put", tmp_path / "no.csv", "x")
    assert result.exit_code == 1
    assert result.stderr == f"{tmp_path / 'no.csv'}: There is no such file.\n"
    assert not result.stdout


def test_debug_shows_where_an_error_comes_from(om: Any, tmp_path: Path) -> None:
    result = om("datasets", "put", tmp_path / "no.csv", "x", "--debug")
    assert isinstance(result.exception, FileNotFoundError)


def test_a_configuration_that_is_not_there_is_refused(om: Any) -> None:
    result = om("datasets", "list", "--config", "no.yml")
    assert result.exit_code == 1
    assert "There is no file no.yml. Write it with: om init --config no.yml" in result.stderr


def test_an_address_without_a_login_is_refused(om: Any) -> None:
    result = om("datasets", "list", env={"OMEGA_URL": "http://127.0.0.1:1"})
    assert result.exit_code == 1
    assert "OMEGA_USERID and OMEGA_APIKEY are not both set" in result.stderr


@pytest.mark.parametrize(
    "words", [["datasets"], ["datasets", "put"], ["nope"], ["serve", "nope"], ["up", "--port", "x"]]
)
def test_misuse_exits_2(om: Any, words: list[str]) -> None:
    result = om(*words)
    assert result.exit_code == 2
    assert "Traceback" not in result.stderr


def test_warnings_are_one_line_too(om: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: Any) -> None:
        warnings.warn("This is how it is.", stacklevel=2)
        warnings.warn("Old.", DeprecationWarning, stacklevel=2)
        raise ValueError("Enough.")

    monkeypatch.setattr("omegamesh.cli.files.read_dataset", read)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        result = om("datasets", "put", "x.csv", "x")
    assert result.stderr == "warning: This is how it is.\nEnough.\n"


def test_the_version(om: Any) -> None:
    assert om("--version").stdout == f"omegamesh {omegamesh.__version__}\n"


@pytest.mark.parametrize("words", [["help"], ["--help"], ["-h"], []])
def test_help_names_every_command(om: Any, words: list[str]) -> None:
    result = om(*words)
    for name in ("up", "serve", "init", "help", "datasets", "models", "runtime"):
        assert f"\n  {name} " in result.output


def test_help_of_one_command(om: Any) -> None:
    assert om("help", "datasets", "put").stdout == om("datasets", "put", "-h").stdout
    assert om("help", "nope").exit_code == 2


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom omegamesh.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'pandas','numpy','pydantic','httpx2','sklearn','omega_mesh'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -c 'from omegamesh.cli import main; main()' --help | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: om")
    assert not done.stderr


def test_the_entry_point_exits_with_the_status(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--loglevel", "info", "--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("omegamesh ")
