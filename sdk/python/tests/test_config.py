"""Where each setting comes from, and how the file is kept."""

from __future__ import annotations

import stat
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from omegamesh.config import Config, load_config, save_config, shown_bucket, stored_bucket

NAMES = {"url": "OMEGA_URL", "userid": "OMEGA_USERID", "apikey": "OMEGA_APIKEY", "token": "OMEGA_TOKEN"}
TEXT = st.text("abcxyz0189:/._-", min_size=1)
PLACE = st.fixed_dictionaries({}, optional={**dict.fromkeys(NAMES, TEXT), "bucket": TEXT})


def in_environment(values: dict[str, str]) -> dict[str, str]:
    return {f"OMEGA_{key.upper()}": value for key, value in values.items()}


@given(arguments=PLACE, environment=PLACE, kept=PLACE)
def test_each_value_comes_from_the_first_place_that_has_it(
    arguments: dict[str, str], environment: dict[str, str], kept: dict[str, str]
) -> None:
    expected = kept | environment | arguments
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.yml"
        file.write_text(yaml.safe_dump(in_environment(kept)), encoding="utf-8")
        if "url" in expected and "token" not in expected and not {"userid", "apikey"} <= expected.keys():
            with pytest.raises(ValueError, match="OMEGA_USERID and OMEGA_APIKEY are not both set"):
                load_config(in_environment(environment), file, **arguments)
            return
        found = load_config(in_environment(environment), file, **arguments)
    assert {key: getattr(found, key) for key in NAMES} == {key: expected.get(key) for key in NAMES}
    assert found.bucket == stored_bucket(expected.get("bucket"))


def test_an_empty_value_counts_as_none(nobody_home: Path) -> None:
    assert load_config({"OMEGA_URL": "", "OMEGA_BUCKET": ""}) == Config()


def test_without_any_configuration_it_is_the_embedded_mesh(nobody_home: Path) -> None:
    assert load_config().url is None


def test_the_environment_names_another_file(tmp_path: Path) -> None:
    file = tmp_path / "other.yml"
    file.write_text("OMEGA_BUCKET: red\nunrelated: 1\n", encoding="utf-8")
    assert load_config({"OMEGA_CONFIG_FILE": str(file)}).bucket == "red"


def test_numbers_in_the_file_are_text(tmp_path: Path) -> None:
    file = tmp_path / "config.yml"
    file.write_text("OMEGA_URL: http://x\nOMEGA_USERID: 12\nOMEGA_APIKEY: 34\nOMEGA_BUCKET: 56\n", encoding="utf-8")
    assert load_config({}, file) == Config("http://x", "12", "34", bucket="56")


@pytest.mark.parametrize("text", ["- a list", "just text", "{broken", "a: b: c"])
def test_a_file_that_is_no_mapping_is_refused_by_its_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.yml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"config\.yml is not a mapping"):
        load_config({}, file)


@pytest.mark.parametrize("name", [None, "", "default"])
def test_the_default_bucket_has_three_spellings(name: str | None) -> None:
    assert stored_bucket(name) == "omegaml"


@given(st.text(min_size=1))
def test_a_bucket_is_shown_as_it_can_be_asked_for(name: str) -> None:
    assert stored_bucket(shown_bucket(name)) == stored_bucket(name)


def test_secrets_are_not_shown() -> None:
    assert "hush" not in repr(Config("http://x", "ann", apikey="hush", token="hush"))


def test_another_bucket_is_the_same_mesh() -> None:
    config = Config("http://x", "ann", "k")
    assert config.in_bucket("red") == Config("http://x", "ann", "k", bucket="red")
    assert config.in_bucket("red").in_bucket(None) == config


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    config = Config("http://x", "ann", "k", bucket="red")
    path = save_config(config, tmp_path / "new" / "config.yml")
    assert load_config({}, path) == config
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_everybody_could_read_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "config.yml"
    path.touch(mode=0o644)
    save_config(Config("http://x", "ann", "k"), path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_saving_keeps_what_else_the_file_says_but_no_old_login(tmp_path: Path) -> None:
    path = tmp_path / "config.yml"
    path.write_text("OMEGA_TOKEN: old\nOMEGA_LOGLEVEL: info\nmine: [1]\n", encoding="utf-8")
    save_config(Config("http://x", "ann", "k"), path)
    kept = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert kept["mine"] == [1] and kept["OMEGA_LOGLEVEL"] == "info" and "OMEGA_TOKEN" not in kept
