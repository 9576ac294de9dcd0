"""What a child is told on its command line. No secret is among it: tokens come with the tasks."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class ChildOptions(BaseModel):
    """How a child is to run."""

    model_config = ConfigDict(frozen=True)

    role: Literal["tasks", "predict"]
    gateway_url: str
    pipe: int = -1
    """The file descriptor of the child's end."""
    supervisor: int = -1
    """The supervisor's process id."""
    memory_limit_mb: int | None = None
    model_cache_mb: int = 512
