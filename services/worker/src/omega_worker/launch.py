"""How a child process is started: its command, its environment without secrets, its end of the pipe."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal

from omega_worker.child.options import ChildOptions
from omega_worker.settings import WorkerOptions

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "BLIS_NUM_THREADS")
Role = Literal["tasks", "predict"]


def child_environment(environment: Mapping[str, str], blas_threads: int) -> dict[str, str]:
    """Give a child's environment: ours without anything of the mesh's (``OMEGA_*``), and the threads it may use."""
    kept = {name: value for name, value in environment.items() if not name.upper().startswith("OMEGA_")}
    return kept | dict.fromkeys(_THREADS, str(blas_threads)) | {"PYTHONFAULTHANDLER": "1"}


def child_options(options: WorkerOptions, role: Role, pipe: int) -> ChildOptions:
    """Give what a child is told."""
    return ChildOptions(
        role=role,
        gateway_url=options.gateway_url,
        pipe=pipe,
        supervisor=os.getpid(),
        memory_limit_mb=options.memory_limit_mb,
        model_cache_mb=options.model_cache_mb,
    )
