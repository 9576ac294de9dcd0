"""The life of a child: the main thread runs one message after the other, a second thread listens meanwhile.

The listener takes new tokens while a task runs, and ends the process when the supervisor is gone.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from queue import SimpleQueue
from typing import Protocol

from omega_worker.channel import ChildEnd
from omega_worker.messages import NewToken
from omegaproto.messages import Message

_GRACE_SECONDS = 1.0


class Runner(Protocol):
    """Does the work of a child."""

    def run(self, message: Message) -> Message:
        """Give the answer to a message. Must not raise."""
        ...

    def use_token(self, token: str) -> None:
        """Use a new token from now on; called on another thread while `run` runs."""
        ...


def work(channel: ChildEnd, runner: Runner) -> None:
    """Answer messages one after the other; return when the supervisor has hung up."""
    inbox: SimpleQueue[Message | None] = SimpleQueue()
    threading.Thread(target=_listen, args=(channel, runner, inbox), name="omega-channel", daemon=True).start()
    while (message := inbox.get()) is not None:
        answer = runner.run(message)
        flush_output()
        if not tell(channel, answer):
            return


def tell(channel: ChildEnd, message: Message) -> bool:
    """Send a message; False when the supervisor is gone."""
    try:
        channel.send(message)
    except OSError:
        return False
    return True


def _listen(channel: ChildEnd, runner: Runner, inbox: SimpleQueue[Message | None]) -> None:
    while (message := channel.receive()) is not None:
        if isinstance(message, NewToken):
            runner.use_token(message.access_token)
        else:
            inbox.put(message)
    inbox.put(None)
    time.sleep(_GRACE_SECONDS)  # an idle child has ended by itself by now; a busy one would go on for nobody
    os._exit(1)


def flush_output() -> None:
    """Push out what was printed, so that it is logged with the task that printed it. User code may have closed it."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (ValueError, OSError, AttributeError):
            continue
