"""Connections to a gateway: its addresses, and how far a request came that failed."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from omegamesh.config import Config
from omegamesh.connections import BrokenOff, Connections, NoAnswer, NotReached
from omegamesh.http import MeshClient
from omegaproto.errors import BadRequest


class Handler(BaseHTTPRequestHandler):
    """Tells what it was asked."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = f'{{"path": "{self.path}", "login": "{self.headers["Authorization"]}"}}'.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "socket"

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def unix_socket(tmp_path: Path) -> Iterator[str]:
    """The URL of a server on a Unix socket."""
    with socketserver.ThreadingUnixStreamServer(str(tmp_path / "s"), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"unix://{tmp_path / 's'}"
        server.shutdown()
        thread.join()


def test_a_unix_socket(unix_socket: str) -> None:
    with closing(MeshClient(Config(unix_socket, "ann", "k"))) as client:
        for name in ("a", "b"):
            assert client.call("GET", f"/{name}") == {"path": f"/{name}", "login": "ApiKey ann:k"}


def test_a_prefix_goes_before_every_path(server: Any, answer: Any) -> None:
    server.answer(answer(body={}))
    with closing(MeshClient(Config(f"{server.url}/omega/", "ann", "k"))) as client:
        client.call("GET", "/api/v1/ping", params={"deep": True, "n": 2})
    assert server.requests[0].path == "/omega/api/v1/ping?deep=true&n=2"


@pytest.mark.parametrize("url", ["ftp://mesh", "mesh:8000", "http://", ""])
def test_what_is_no_address_is_told(url: str) -> None:
    with pytest.raises(BadRequest, match="is no address of a mesh"):
        Connections(url, "")


def ask(url: str, seconds: float = 5.0) -> None:
    with closing(Connections(url, "x")) as connections:
        connections.request("GET", "/", seconds=seconds, headers={})


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def test_how_far_a_request_came(silent: str, server: Any, answer: Any, tmp_path: Path) -> None:
    with pytest.raises(NoAnswer):
        ask(f"http://{silent}", 0.1)
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        with pytest.raises(NotReached):
            ask(f"http://127.0.0.1:{held.getsockname()[1]}")
    with pytest.raises(NotReached):
        ask(f"unix://{tmp_path}/nobody")
    with pytest.raises(NotReached):
        ask("http://no-such-host.invalid")
    server.answer(answer(body={"value": "x" * 1000}, cut=10))
    with pytest.raises(BrokenOff):
        ask(server.url)
    with pytest.raises(BrokenOff):  # it speaks no TLS
        ask(server.url.replace("http:", "https:"))
