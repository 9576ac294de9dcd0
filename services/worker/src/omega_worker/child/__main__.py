"""A child process: ``python -m omega_worker.child <options as JSON>``. Started by the supervisor only."""

import socket
import sys
import time

from omega_worker.channel import ChildEnd
from omega_worker.child.limits import die_with, limit_memory
from omega_worker.child.options import ChildOptions
from omega_worker.messages import Ready


def main() -> None:
    """Set the limits, warm up, and work until the supervisor hangs up."""
    begin = time.perf_counter()
    options = ChildOptions.model_validate_json(sys.argv[1])
    die_with(options.supervisor)
    limit_memory(options.memory_limit_mb)
    sock = socket.socket(fileno=options.pipe)
    sock.set_inheritable(False)
    channel = ChildEnd(sock)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr] # it is a text stream on the pipe

    from omega_worker.child.loop import tell, work
    from omega_worker.child.roles import make_runner

    runner = make_runner(options)
    if tell(channel, Ready(seconds=time.perf_counter() - begin)):
        work(channel, runner)


if __name__ == "__main__":
    main()
