"""One child process as the supervisor sees it: start it, have it do one thing at a time, kill it, know that it died."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable

from omega_worker.channel import SupervisorEnd
from omega_worker.launch import Role, child_environment, child_options
from omega_worker.messages import NewToken, Ready
from omega_worker.output import OutputLines
from omega_worker.settings import WorkerOptions
from omegaproto.messages import Message

LineSink = Callable[[str | None, str], None]
"""Takes the id of the task that printed (None: no task ran yet) and a line."""


class ChildDied(Exception):
    """The child's process ended before it answered."""

    def __init__(self, returncode: int) -> None:
        super().__init__(describe_exit(returncode))
        self.returncode = returncode


def describe_exit(returncode: int) -> str:
    """Say how a process ended, for people."""
    if returncode >= 0:
        return f"exited with status {returncode}"
    with contextlib.suppress(ValueError):
        return f"was killed by {signal.Signals(-returncode).name}"
    return f"was killed by signal {-returncode}"


class ChildProcess:
    """A running child in a process group of its own. Made by `start`."""

    def __init__(self, process: asyncio.subprocess.Process, sink: LineSink, output_bytes: int) -> None:
        self._process = process
        self._sink = sink
        self._lines = OutputLines(output_bytes)
        self._channel: SupervisorEnd | None = None
        self._printing: asyncio.ReadTransport | None = None
        self._answer: asyncio.Future[Message] | None = None
        self._task_id: str | None = None
        self._leaving = False
        self._gone = asyncio.Event()
        self._pidfd = self._watch()
        self.ready: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
        self.buckets: set[str] = set()
        """The buckets whose tokens and data were in it; none while it is fresh."""
        self.ran_code = False
        """Whether code of a bucket ran in it, which may have kept all that was and will be in it."""
        self.exited: asyncio.Task[int] = asyncio.create_task(self._bury())

    @classmethod
    async def start(cls, options: WorkerOptions, role: Role, sink: LineSink) -> ChildProcess:
        """Start a child; it can be used once `ready` has a result. Raises OSError when the system refuses."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        printed, prints = os.pipe()
        # Not asyncio's own pipe: a process that the child left behind may hold it open, and wait() would wait for that.
        with theirs, os.fdopen(prints, "wb"):
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "omega_worker.child",
                child_options(options, role, theirs.fileno()).model_dump_json(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=prints,
                stderr=prints,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                env=child_environment(os.environ, options.blas_threads),
            )
        child = cls(process, sink, options.output_kib * 1024)
        loop = asyncio.get_running_loop()
        child._printing, _ = await loop.connect_read_pipe(lambda: _Printed(child._on_printed), os.fdopen(printed, "rb"))
        _, child._channel = await loop.create_unix_connection(
            lambda: SupervisorEnd(child._on_message, child._on_hung_up), sock=ours
        )
        return child

    @property
    def pid(self) -> int:
        """Give the process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Say whether it runs, as far as is known."""
        return not self._gone.is_set()

    async def run(self, message: Message, task_id: str | None = None) -> Message:
        """Send a message and give its answer. One at a time. Raises ChildDied when the child ends before it answers."""
        assert self._answer is None, "a child does one thing at a time"  # noqa: S101
        if task_id is not None:
            self._begin_output(task_id)
        self._answer = asyncio.get_running_loop().create_future()
        try:
            self._send(message)
            return await self._answer
        except asyncio.CancelledError:
            self.kill()  # it would answer nobody, or the next one
            raise
        finally:
            self._answer = None

    def renew(self, token: str) -> None:
        """Give the running task a new token."""
        self._send(NewToken(access_token=token))

    def terminate(self) -> None:
        """Ask it, and all it started, to end (SIGTERM)."""
        self._signal(signal.SIGTERM)

    def leave(self) -> None:
        """Hang up: an idle child then ends by itself, a busy one within a second."""
        self._leaving = True
        if self._channel is not None:
            self._channel.close()

    def kill(self) -> None:
        """End it, and all it started, at once (SIGKILL)."""
        self._signal(signal.SIGKILL)

    def _send(self, message: Message) -> None:
        if self._gone.is_set() or self._channel is None:
            raise ChildDied(self._process.returncode or 0)
        self._channel.send(message)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _on_message(self, message: Message) -> None:
        if isinstance(message, Ready):
            if not self.ready.done():
                self.ready.set_result(message)
        elif self._answer is not None and not self._answer.done():
            self._answer.set_result(message)

    def _watch(self) -> int:
        """Hear of the process's end from the kernel, whatever may still hold its pipes open."""
        try:
            pidfd = os.pidfd_open(self._process.pid)
        except ProcessLookupError:
            self._gone.set()
            return -1
        asyncio.get_running_loop().add_reader(pidfd, self._on_exit)
        return pidfd

    def _on_hung_up(self) -> None:
        if not self._leaving:
            self.kill()  # it cannot be told anything any more

    def _on_exit(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._gone.set()

    async def _bury(self) -> int:
        """Wait for the end, end what the child started, collect its output and its status, and fail who waits."""
        await self._gone.wait()
        self.kill()
        returncode = await self._process.wait()
        for end in (self._channel, self._printing):
            if end is not None:
                end.close()
        self._tell(self._lines.renew())
        for waiting in (self.ready, self._answer):
            if waiting is not None and not waiting.done():
                waiting.set_exception(ChildDied(returncode))
        self.ready.exception()  # nobody need have waited for it
        return returncode

    def _begin_output(self, task_id: str) -> None:
        self._tell(self._lines.renew())
        self._task_id = task_id

    def _on_printed(self, data: bytes) -> None:
        self._tell(self._lines.feed(data))

    def _tell(self, lines: list[str]) -> None:
        for line in lines:
            self._sink(self._task_id, line)


class _Printed(asyncio.Protocol):
    def __init__(self, on_data: Callable[[bytes], None]) -> None:
        self._on_data = on_data

    def data_received(self, data: bytes) -> None:
        self._on_data(data)
