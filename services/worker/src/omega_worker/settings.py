"""Settings of the worker."""

from __future__ import annotations

import os
import secrets
import socket

from pydantic import Field, field_validator

from omegakit.settings import Group, ServiceSettings
from omegaproto.tasks import DEFAULT_LABEL

MOST_LABELS = 64
MOST_LABEL_LENGTH = 63


def default_name() -> str:
    """Give a worker's id that no other worker has: host, process and a few random digits."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


class WorkerOptions(Group):
    """What the worker alone needs."""

    gateway_url: str = Field(
        default="http://127.0.0.1:8000",
        description="The gateway's address as children reach it, `http://host:port` or `unix:///path`.",
    )
    # The union lets the environment carry either form: settings decode JSON and leave other text to the validator.
    labels: tuple[str, ...] | str = Field(
        default=(DEFAULT_LABEL,),
        description='Labels whose tasks this worker takes: `cpu,gpu`, or JSON `["cpu", "gpu"]`.',
    )
    slots: int = Field(default=2, ge=1, le=1024, description="How many tasks run at once, each in a child process.")
    name: str = Field(
        default="",
        max_length=128,
        description="The worker's id, which no other worker may have. Empty: made of host, process and random digits.",
    )
    predict_children: int = Field(
        default=2,
        ge=1,
        le=64,
        description="At most how many child processes answer predictions, one batch at a time each. One that loaded a "
        "pickled model serves its bucket alone: give one more than buckets whose pickled models are in use at once.",
    )
    model_cache_mb: int = Field(
        default=512, ge=1, description="How much stored model each predict child keeps loaded, in MiB of stored bytes."
    )
    memory_limit_mb: int | None = Field(
        default=None, ge=128, description="Memory that a child may allocate, in MiB; None leaves it to the container."
    )
    blas_threads: int = Field(
        default=1, ge=1, description="Threads of BLAS and OpenMP in each child; slots run beside each other already."
    )
    isolate_buckets: bool = Field(
        default=True,
        description="Whether a child that ran code of one bucket is replaced before it runs code of another.",
    )
    claim_ahead: int = Field(
        default=32,
        ge=0,
        le=256,
        description="How many tasks more than slots are claimed while tasks take milliseconds; long tasks get 0.",
    )
    predict_seconds: float = Field(
        default=30.0, gt=0, description="How long one batch of predictions may take, in seconds, before its child dies."
    )
    drain_seconds: float = Field(
        default=20.0, ge=0, description="How long running tasks may go on after SIGTERM, in seconds; then they go back."
    )
    heartbeat_seconds: float = Field(
        default=10.0, gt=0, description="How often the worker tells the scheduler that it lives, in seconds."
    )
    output_kib: int = Field(
        default=64, ge=0, description="How much of a task's printed output is logged, in KiB; the rest is counted."
    )

    @field_validator("labels", mode="after")
    @classmethod
    def _split(cls, given: tuple[str, ...] | str) -> tuple[str, ...]:
        parts = given.split(",") if isinstance(given, str) else given
        labels = tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))
        if not labels or len(labels) > MOST_LABELS or any(len(label) > MOST_LABEL_LENGTH for label in labels):
            raise ValueError(f"Give 1 to {MOST_LABELS} labels of 1 to {MOST_LABEL_LENGTH} characters, such as cpu,gpu.")
        return labels

    def named(self) -> WorkerOptions:
        """Give the same options with a name."""
        return self if self.name else self.model_copy(update={"name": default_name()})

    @property
    def label_names(self) -> tuple[str, ...]:
        """Give the labels."""
        return tuple(self.labels)


class WorkerSettings(ServiceSettings):
    """Everything the worker reads from the environment."""

    worker: WorkerOptions = WorkerOptions()
