"""Processes of a run: environments made on first use, servers waited for over HTTP, probes that are asked.

Every process ends with the run, also when the run is killed: servers through omegakit's guarded
processes, probes because their standard input ends.
"""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from omegakit.testing.servers.process import ServerProcess, free_port, new_folder, remove_folder

HERE = Path(__file__).parent
ROOT = HERE.parent
_START_SECONDS = 60
# One thread of BLAS and OpenMP in every system: the machine has few cores, and peers differ in their defaults.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Give this process's environment with one BLAS thread, the harness's modules importable, and `extra`.

    The caller's own OMEGA_ variables are left out: nothing here may reach a mesh that somebody works with.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OMEGA_")}
    return {**inherited, **ONE_THREAD, "PYTHONPATH": str(HERE), **(extra or {})}


def peer_python(peer: str) -> str:
    """Give the interpreter of a peer's own environment, made from peers/<peer>.txt when it is missing or older."""
    wanted = HERE / "peers" / f"{peer}.txt"
    folder = ROOT / ".tools" / f"peers-{peer}"
    python, mark = folder / "bin" / "python", folder / "installed.txt"
    if not mark.is_file() or mark.read_text() != wanted.read_text():
        print(f"installing {wanted.name} into {folder.relative_to(ROOT)} (once)", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "-r", str(wanted)], check=True)
        mark.write_text(wanted.read_text())
    return str(python)


class ProbeFailed(RuntimeError):
    """A probe ended instead of answering."""


class Server:
    """A process in a temporary folder of its own, left by `with`, or by `stop()`; its output is in `log`."""

    def __init__(self, argv: Sequence[str], extra: Mapping[str, str] | None = None) -> None:
        self.folder = new_folder("bench")
        self.log = self.folder / "log"
        self._process = ServerProcess(argv, folder=self.folder, log=self.log, env=environment(extra))

    def wait_for_http(self, url: str) -> Self:
        """Return when GET `url` answers 200; raises ServerFailed with the end of the log when it never does."""
        self._process.wait_until(lambda: _answers(url), seconds=_START_SECONDS)
        return self

    def wait_for_log(self, text: str) -> Self:
        """Return when the process has written `text`; raises ServerFailed as `wait_for_http` does."""
        self._process.wait_until(lambda: text in self.log.read_text(errors="replace"), seconds=_START_SECONDS)
        return self

    def stop(self) -> None:
        """Stop the process and its children, and remove its folder."""
        self._process.terminate(seconds=5)
        remove_folder(self.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()


class Probe:
    """A process that measures from inside its environment and answers over its standard streams."""

    def __init__(self, argv: Sequence[str], extra: Mapping[str, str] | None = None) -> None:
        self._name = " ".join(Path(word).name for word in argv[:3])
        self._process = subprocess.Popen(
            argv, env=environment(extra), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, verb: str, **arguments: Any) -> Any:
        """Give the answer to one question; raises ProbeFailed when the process ends instead (see its output)."""
        if self._process.stdin is None or self._process.stdout is None:
            raise ProbeFailed(f"{self._name} has no pipes")
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps({"verb": verb, "arguments": arguments}) + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise ProbeFailed(f"{self._name} ended while asked to {verb}; its error is printed above")
        return json.loads(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._process.communicate()


def python_server(
    python: str, script: str, *arguments: str, ready: str, extra: Mapping[str, str] | None = None
) -> tuple[Server, str]:
    """Start a peer's script on a free port and give it with its base URL once `ready` (a path) answers."""
    port = free_port()
    server = Server([python, str(HERE / script), "--port", str(port), *arguments], extra)
    url = f"http://127.0.0.1:{port}"
    try:
        return server.wait_for_http(url + ready), url
    except BaseException:
        server.stop()
        raise


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
