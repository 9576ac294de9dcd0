"""Settings of the gateway."""

from __future__ import annotations

from pydantic import Field

from omegakit.settings import Group, ServiceSettings


class GatewayOptions(Group):
    """What the gateway alone needs."""

    blobstore_url: str = Field(
        default="http://127.0.0.1:8002",
        description="Where blobstore listens: `http://host:port` or `unix:///path/to/socket`.",
    )
    max_requests: int = Field(
        default=2000, ge=1, description="Requests answered at the same time; what comes on top is refused with 429."
    )
    json_body_bytes: int = Field(
        default=1024 * 1024, ge=1024, description="Largest JSON body in bytes. Blobs have no limit: they stream."
    )

    keys_cached: int = Field(default=10_000, ge=1, description="How many checked API keys are remembered.")
    key_seconds: float = Field(
        default=30.0, ge=0, description="How long a checked key is trusted; a revoked one is forgotten at once."
    )
    refused_seconds: float = Field(
        default=5.0, ge=0, description="How long a refused key is refused again without asking metadata."
    )
    key_checks: int = Field(
        default=16,
        ge=1,
        description="Keys checked with metadata at the same time, so that a flood of them does no harm.",
    )
    key_checks_waiting: int = Field(
        default=512, ge=1, description="Key checks that may wait for their turn; more are refused with 429."
    )

    predict_body_bytes: int = Field(
        default=200 * 1024,
        ge=1024,
        le=240 * 1024,
        description="Largest inline body of a prediction in bytes: it travels in one message. Use a dataset for more.",
    )
    predict_seconds: float = Field(default=30.0, gt=0, description="How long a prediction may take before a 504.")
    predict_batch: int = Field(default=512, ge=1, le=4096, description="Most requests of one model in one message.")
    predict_waiting: int = Field(
        default=4096, ge=1, description="Requests that may wait for one model; more are refused with 429."
    )
    predict_linger: float = Field(
        default=1.0,
        ge=0,
        le=10,
        description="How long a batch waits, after one that was much larger, for those who were just answered to ask "
        "again: times the time that the larger one took. 0 waits for nobody.",
    )
    models_cached: int = Field(default=1024, ge=1, description="How many models' metadata are remembered.")
    model_seconds: float = Field(
        default=5.0, ge=0, description="How long a model's metadata is trusted; a new revision is seen at once."
    )

    wait_seconds: float = Field(default=60.0, gt=0, description="Longest wait for a task that a request may ask for.")
    sync_seconds: float = Field(
        default=300.0, gt=0, description="How long a model verb waits for its task before it answers 504."
    )
    recheck_seconds: float = Field(
        default=10.0, gt=0, description="How often a waiting request reads its tasks again, should an event be lost."
    )
    max_waiters: int = Field(default=10_000, ge=1, description="Requests that may wait for tasks at the same time.")

    max_transfers: int = Field(default=256, ge=1, description="Connections to blobstore.")
    idle_seconds: float = Field(
        default=60.0, gt=0, description="How long a transfer may stand still, on either side, before it is cut."
    )
    commit_attempts: int = Field(
        default=16, ge=1, description="How often an append is tried again when others append to the same frame."
    )


class GatewaySettings(ServiceSettings):
    """Everything the gateway reads from the environment."""

    gateway: GatewayOptions = GatewayOptions()
