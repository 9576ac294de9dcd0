"""Settings that every service has, each with its unit, default and reason. Environment names start with ``OMEGA_``.

Nested settings are joined by two underscores: ``OMEGA_BUS__URL``, ``OMEGA_LOG__LEVEL``. Each service adds its own
group in its own ``settings.py``. The page docs/settings.md is generated from these models.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Group(BaseModel):
    """A group of settings; an unknown name in it is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class BusSettings(Group):
    """Where control messages travel."""

    url: str = Field(default="memory://", description="`amqp://user:password@host:5672/vhost`, or `memory://`.")


class DocsSettings(Group):
    """Where documents are kept."""

    url: str = Field(
        default="sqlite:///omegamesh.sqlite3",
        description="`mongodb://host:27017/database?replicaSet=rs0`, or `sqlite:///path/to/file`.",
    )


class BlobsSettings(Group):
    """Where bytes are kept (blobstore only)."""

    url: str = Field(
        default="file:///tmp/omegamesh-blobs",
        description="`mongodb://…` for GridFS in that database, or `file:///path/to/folder`.",
    )


class AuthSettings(Group):
    """The secrets with which services know each other. All services share `secret`; workers get the two others."""

    secret: SecretStr | None = Field(
        default=None, description="Mesh secret, 32 characters or more. Signs tokens; never given to workers."
    )
    worker_secret: SecretStr | None = Field(
        default=None, description="Worker secret (printed by `om serve secrets`): lets a worker claim tasks, no more."
    )
    mesh_public_key: str | None = Field(
        default=None, description="Mesh public key (printed by `om serve secrets`): lets a worker check who calls it."
    )
    pepper: SecretStr | None = Field(
        default=None, description="Pepper of the API keys' HMAC (metadata only). Changing it revokes all keys."
    )
    token_seconds: float = Field(default=120.0, gt=0, description="Life of a token between services, in seconds.")


class HttpSettings(Group):
    """Where a service listens for HTTP: its API where it has one, and health and metrics always."""

    host: str = Field(default="127.0.0.1", description="Address to listen on; `0.0.0.0` in a container.")
    port: int = Field(default=0, ge=0, le=65535, description="TCP port; 0 takes a free one.")
    uds: Path | None = Field(default=None, description="Unix socket to listen on instead of a TCP port.")
    drain_seconds: float = Field(
        default=25.0, gt=0, description="How long SIGTERM waits for running requests; below Kubernetes' 30 s."
    )


class LogSettings(Group):
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level logged.")
    format: Literal["json", "console"] = Field(default="json", description="One JSON object a line, or for people.")
    file: Path | None = Field(default=None, description="Log to this file instead of standard error.")


class ServiceSettings(BaseSettings):
    """What every service reads from the environment."""

    model_config = SettingsConfigDict(
        env_prefix="OMEGA_",
        env_nested_delimiter="__",
        extra="ignore",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    bus: BusSettings = BusSettings()
    auth: AuthSettings = AuthSettings()
    http: HttpSettings = HttpSettings()
    log: LogSettings = LogSettings()
