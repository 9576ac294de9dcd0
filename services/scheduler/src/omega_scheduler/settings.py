"""Settings of the scheduler."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from omegakit.settings import DocsSettings, Group, ServiceSettings
from omegaproto.states import Policy
from omegaproto.tasks import DEFAULT_LABEL

Label = Annotated[str, StringConstraints(min_length=1, max_length=63)]
_DAY = 24 * 3600.0


class SchedulerOptions(Group):
    """What the scheduler alone needs."""

    pools: tuple[Label, ...] = Field(
        default=(DEFAULT_LABEL,),
        description='Labels that tasks may ask for although no worker offers them now, as JSON: `["cpu", "gpu"]`. '
        "Their tasks wait until a worker comes.",
    )
    lease_seconds: float = Field(
        default=30.0,
        gt=0,
        description="How long a worker may be silent about a task before it runs elsewhere, in seconds. "
        "Workers renew every 10 s, so one lost renewal does no harm.",
    )
    worker_seconds: float = Field(
        default=30.0,
        gt=0,
        description="How long a worker is listed after its last heartbeat, in seconds: three missed ones of 10 s.",
    )
    max_lost: int = Field(default=3, ge=1, description="How many lost workers make a task dead.")
    backoff_base_seconds: float = Field(
        default=1.0, ge=0, description="Wait before the second attempt, in seconds; doubled for each further one."
    )
    backoff_cap_seconds: float = Field(default=60.0, ge=0, description="Longest wait between attempts, in seconds.")
    ring_again_seconds: float = Field(
        default=10.0,
        gt=0,
        description="How long a queued task waits for a claim before its doorbell is rung again, in seconds; "
        "doubled each time, since under load the doorbell is most likely still waiting its turn.",
    )
    ring_again_cap_seconds: float = Field(default=300.0, gt=0, description="Longest such wait, in seconds.")
    sweep_seconds: float = Field(
        default=5.0,
        gt=0,
        description="Longest pause between two sweeps, in seconds; a sweep comes sooner when something is due sooner.",
    )
    sweep_batch: int = Field(default=500, ge=1, le=1000, description="Tasks that a sweep changes in one go.")
    count_seconds: float = Field(
        default=15.0,
        gt=0,
        description="How often queued and running tasks are counted in the store, in seconds; between, each replica "
        "counts what it does itself.",
    )
    labels_seconds: float = Field(
        default=2.0, ge=0, description="How long the list of live workers is kept before it is read again, in seconds."
    )
    result_days: float = Field(
        default=7.0, gt=0, description="How long finished tasks and their results are kept, in days."
    )
    max_queued: int = Field(
        default=100_000, ge=1, description="How many tasks may wait in all; what comes on top is refused (429)."
    )
    max_waiting: int = Field(
        default=10_000, ge=1, description="How many submits may wait for the store in one replica; more are refused."
    )

    def policy(self) -> Policy:
        """Give the figures of the task table."""
        return Policy(
            lease_seconds=self.lease_seconds,
            max_lost=self.max_lost,
            backoff_base_seconds=self.backoff_base_seconds,
            backoff_cap_seconds=self.backoff_cap_seconds,
            ring_again_seconds=self.ring_again_seconds,
            ring_again_cap_seconds=self.ring_again_cap_seconds,
            retention_seconds=self.result_days * _DAY,
        )


class SchedulerSettings(ServiceSettings):
    """Everything the scheduler reads from the environment."""

    docs: DocsSettings = DocsSettings()
    scheduler: SchedulerOptions = SchedulerOptions()
