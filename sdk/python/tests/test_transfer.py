"""Blobs up and down on a real mesh, and what a person sees of it."""

from __future__ import annotations

import hashlib
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from omega_mesh.home import Credentials
from omegamesh.client import Omega
from omegaproto.errors import BlobNotFound

PUT_AND_GET = """
import omegamesh as om
content = bytes(20 * 1024 * 1024)
om.datasets.put(content, "large")
assert om.datasets.get("large").read() == content
"""


@pytest.fixture
def environment(embedded_mesh: Credentials, nobody_home: Path) -> dict[str, str]:
    """An environment with a login, for a process that a person may look at."""
    login = {"URL": embedded_mesh.url, "USERID": embedded_mesh.userid, "APIKEY": embedded_mesh.apikey}
    kept = {name: value for name, value in os.environ.items() if name not in {"CI", "NO_COLOR"}}
    return kept | {f"OMEGA_{name}": value for name, value in login.items()} | {"OMEGA_BUCKET": "bars", "TERM": "xterm"}


def pieces() -> Iterator[bytes]:
    yield from (bytes([number]) * 100_000 for number in range(10))


def test_bytes_and_streams_go_up_and_come_down(omega: Omega) -> None:
    whole = b"".join(pieces())
    for given in (whole, pieces()):
        ref = omega.blobs.put(given, role="part")
        assert (ref.length, ref.role, ref.sha256) == (len(whole), "part", hashlib.sha256(whole).hexdigest())
        assert omega.blobs.read(ref) == whole
        assert b"".join(omega.blobs.open(ref)) == whole


def test_a_blob_of_another_bucket_is_not_there(omega: Omega) -> None:
    ref = omega.blobs.put(b"mine")
    with pytest.raises(BlobNotFound):
        omega["elsewhere"].blobs.read(ref)


def test_nobody_sees_anything(environment: dict[str, str]) -> None:
    done = subprocess.run([sys.executable, "-c", PUT_AND_GET], env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_person_sees_a_bar_of_a_long_transfer(environment: dict[str, str]) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", PUT_AND_GET], env=environment, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        with os.fdopen(ours, "rb", buffering=0) as terminal:
            try:
                while more := terminal.read(65536):
                    shown += more
            except OSError:
                """The terminal ends with the process."""
    assert process.returncode == 0, shown
    assert b"sending" in shown
    assert b"receiving" in shown
    assert "━".encode() in shown
