"""Which mesh to talk to: arguments, then the environment, then ``~/.omegaml/config.yml``, then the embedded default.

Standard library only, so that ``import omegamesh`` stays quick.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

CONFIG_FILE = Path("~/.omegaml/config.yml")
DEFAULT_BUCKET = "omegaml"
"""How the default bucket is stored; users write ``default`` or None."""
_NAMES = {
    "url": "OMEGA_URL",
    "userid": "OMEGA_USERID",
    "apikey": "OMEGA_APIKEY",
    "token": "OMEGA_TOKEN",
    "bucket": "OMEGA_BUCKET",
}


@dataclass(frozen=True, slots=True)
class Config:
    """How to reach a mesh. `url` None means the embedded default. Secrets are left out of its repr."""

    url: str | None = None
    userid: str | None = None
    apikey: str | None = None
    token: str | None = None
    bucket: str = DEFAULT_BUCKET

    def __repr__(self) -> str:
        return f"Config(url={self.url!r}, userid={self.userid!r}, bucket={self.bucket!r})"

    def in_bucket(self, bucket: str | None) -> Config:
        """Give the same mesh, seen from another bucket."""
        return replace(self, bucket=stored_bucket(bucket))


def stored_bucket(bucket: str | None) -> str:
    """Give a bucket's stored name; None and ``default`` are the default bucket."""
    return DEFAULT_BUCKET if bucket in {None, "", "default"} else str(bucket)


def shown_bucket(bucket: str) -> str:
    """Give a bucket's name as users see it."""
    return "default" if bucket == DEFAULT_BUCKET else bucket


def load_config(environment: Mapping[str, str] | None = None, file: Path | None = None, **given: str | None) -> Config:
    """Give the configuration: each value from the first place that has it.

    Raises:
        ValueError: the configuration file is not a YAML mapping, or a URL comes without a way to log in.
    """
    environment = os.environ if environment is None else environment
    kept = _read_file(file or Path(environment.get("OMEGA_CONFIG_FILE", "") or CONFIG_FILE).expanduser())
    values = {key: given.get(key) or environment.get(name) or kept.get(name) or None for key, name in _NAMES.items()}
    found = {key: None if value is None else str(value) for key, value in values.items()}
    config = Config(found["url"], found["userid"], found["apikey"], found["token"], stored_bucket(found["bucket"]))
    if config.url is not None and config.token is None and not (config.userid and config.apikey):
        raise ValueError(
            f"OMEGA_URL is {config.url}, but OMEGA_USERID and OMEGA_APIKEY are not both set. "
            f"Set them in the environment or in {CONFIG_FILE}, or run: om init --url {config.url}"
        )
    return config


def save_config(config: Config, file: Path | None = None) -> Path:
    """Write the configuration for the next time, readable by its owner only; gives the file's path.

    What else the file says stays; an older login in it does not.
    """
    import yaml

    path = (file or CONFIG_FILE).expanduser()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    values = {name: getattr(config, key) for key, name in _NAMES.items()}
    values["OMEGA_BUCKET"] = shown_bucket(config.bucket)
    others = {key: value for key, value in _read_file(path).items() if key not in values}
    text = yaml.safe_dump(others | {key: value for key, value in values.items() if value is not None})
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as opened:
        os.fchmod(opened.fileno(), 0o600)
        opened.truncate()
        opened.write(text)
    return path


def _read_file(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError:
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"{path} is not a mapping of OMEGA_… names to values. Correct it, or remove it.")  # noqa: TRY004
    return found
