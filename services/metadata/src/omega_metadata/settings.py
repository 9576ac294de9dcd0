"""Settings of the metadata service."""

from __future__ import annotations

from pydantic import Field, SecretStr

from omegakit.settings import DocsSettings, Group, ServiceSettings


class MetadataOptions(Group):
    """What metadata alone needs."""

    admin_userid: str = Field(default="admin", description="User that is made at the first start, admin of everything.")
    admin_apikey: SecretStr | None = Field(
        default=None, description="API key of that user, `omk_<id>_<secret>`. None: no user is made."
    )
    commit_attempts: int = Field(
        default=64, ge=1, description="How often a commit is tried again when others commit to the same object."
    )


class MetadataSettings(ServiceSettings):
    """Everything metadata reads from the environment."""

    docs: DocsSettings = DocsSettings()
    metadata: MetadataOptions = MetadataOptions()
