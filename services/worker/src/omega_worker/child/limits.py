"""What the kernel holds a child to: it dies with its supervisor, and allocates no more than it may."""

from __future__ import annotations

import ctypes
import os
import resource
import signal

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_MIB = 1024 * 1024


def die_with(supervisor: int) -> None:
    """Have this process killed when `supervisor` (a process id, our parent) ends, however it ends."""
    _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != supervisor:  # it ended before the line above took effect
        os._exit(1)


def limit_memory(mebibytes: int | None) -> None:
    """Let this process allocate no more than that; beyond it Python raises MemoryError. None sets no limit.

    The limit is on private memory (RLIMIT_DATA): an address-space limit would count mapped libraries too.
    """
    if mebibytes is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (mebibytes * _MIB, mebibytes * _MIB))


def hide_from_children() -> None:
    """Close this process's memory and environment, which hold secrets, to other processes of the same user."""
    _prctl(_PR_SET_DUMPABLE, 0)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}, {value}) failed")
