"""What the SDK's tests stand on: an HTTP server that answers by a script, and one embedded mesh for the whole run."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from omega_mesh.home import Credentials, Home
from omegamesh.client import Omega, setup
from omegamesh.config import Config
from omegamesh.http import MeshClient


@dataclass
class Answer:
    """One scripted answer: a status with a body; `cut` closes the connection after that many bytes of the body."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    after: threading.Event | None = None

    def content(self) -> bytes:
        if self.body is None or isinstance(self.body, bytes):
            return self.body or b""
        return json.dumps(self.body).encode()


class _Server(ThreadingHTTPServer):
    """A server that says nothing about clients that went away, as those of some tests do."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@dataclass
class Request:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class ScriptedServer:
    """A real HTTP server whose answers are given in advance, in order; the last one is repeated."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.requests: list[Request] = []
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def url(self) -> str:
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def answer(self, *answers: Answer) -> None:
        self.answers.extend(answers)

    def take(self, request: Request) -> Answer:
        with self._lock:
            self.requests.append(request)
            return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        script = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

            def handle_any(self) -> None:
                sent = script.take(Request(self.command, self.path, dict(self.headers), self._read()))
                if sent.after is not None:
                    sent.after.wait(30)
                content = sent.content()
                self.send_response(sent.status)
                for key, value in sent.headers.items():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: sent.cut])
                self.close_connection = sent.cut is not None

            def _read(self) -> bytes:
                if self.headers.get("Transfer-Encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length") or 0))
                found = b""
                while size := int(self.rfile.readline(), 16):
                    found += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return found

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

        return Handler


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """An HTTP server that answers what the test scripts."""
    scripted = ScriptedServer()
    yield scripted
    scripted.stop()


@pytest.fixture
def answer() -> type[Answer]:
    """How a test writes down one answer of the server."""
    return Answer


@pytest.fixture
def client(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[MeshClient]:
    """A client of that server, as user ann in bucket red; it repeats calls without a pause."""
    monkeypatch.setattr("omegamesh.http._FIRST_PAUSE_SECONDS", 0.0)
    with closing(MeshClient(Config(server.url, "ann", "omk_1_x", bucket="red"))) as made:
        yield made


@pytest.fixture
def nobody_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder without configuration, and an environment without OMEGA_ variables; gives the folder."""
    for name in [name for name in os.environ if name.startswith("OMEGA_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path


@pytest.fixture(scope="session")
def embedded_mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Credentials]:
    """An embedded mesh over a folder of its own, kept by `om up` for all tests of the run: its address and a login."""
    home = Home(tmp_path_factory.mktemp("home"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OMEGA_")}
    command = [sys.executable, "-c", "from omegamesh.cli import main; main()", "up", "--port", "0"]
    with subprocess.Popen(
        command, env=environment | {"OMEGA_HOME": str(home.folder)}, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert any("/api/v1/ping" in line for line in process.stdout), home.log_file.read_text(encoding="utf-8")
            found = home.announced()
            assert found is not None
            yield found
        finally:
            process.terminate()


@pytest.fixture
def omega(embedded_mesh: Credentials) -> Iterator[Omega]:
    """The API of a bucket of the test's own, on that mesh."""
    bucket = f"test-{secrets.token_hex(6)}"
    with closing(setup(embedded_mesh.userid, embedded_mesh.apikey, embedded_mesh.url, bucket)) as made:
        yield made
