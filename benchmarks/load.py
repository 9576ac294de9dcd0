"""HTTP load: one POST, repeated by wrk over keep-alive connections. It knows no particular server."""

import json
import os
import shutil
import subprocess
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_SCRIPT = Path(__file__).with_name("post.lua")


class LoadFailed(RuntimeError):
    """The load could not be made, or the server did not answer every request well."""


@dataclass(frozen=True)
class Request:
    """One POST with a JSON body, sent again and again."""

    url: str
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def all_headers(self) -> dict[str, str]:
        """Give the headers with the content type."""
        return {"Content-Type": "application/json", **self.headers}


@dataclass(frozen=True)
class Load:
    """What one stretch of load measured."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float


def once(request: Request) -> Any:
    """Send the request one time and give the decoded answer; raises urllib.error.HTTPError on a refusal."""
    sent = urllib.request.Request(request.url, json.dumps(request.body).encode(), request.all_headers)
    with urllib.request.urlopen(sent, timeout=30) as answer:
        return json.load(answer)


def drive(request: Request, *, clients: int, seconds: float) -> Load:
    """Give what `clients` connections, each with one request in flight, get in `seconds` (whole seconds, at least 1).

    Raises LoadFailed when wrk is not installed, and when any answer was an error: such figures mean nothing.
    """
    figures = json.loads(_run_wrk(request, clients, max(1, round(seconds))).strip().splitlines()[-1])
    if figures["refused"] or figures["broken"] or not figures["requests"]:
        raise LoadFailed(f"{request.url} with {clients} clients: {figures}. The server refused or broke off requests.")
    return Load(figures["requests"] / figures["seconds"], figures["p50_ms"], figures["p99_ms"])


def _run_wrk(request: Request, clients: int, seconds: int) -> str:
    program = shutil.which("wrk")
    if program is None:
        raise LoadFailed("wrk, the load generator, is not installed: apt-get install wrk")
    headers = "\n".join(f"{name}: {value}" for name, value in request.all_headers.items())
    command = [program, "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "10s", "--latency"]
    ran = subprocess.run(
        [*command, "-s", str(_SCRIPT), request.url],
        env=os.environ | {"BENCH_BODY": json.dumps(request.body), "BENCH_HEADERS": headers},
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        raise LoadFailed(f"wrk ended with status {ran.returncode}: {ran.stdout[-500:]}{ran.stderr[-500:]}")
    return ran.stdout
