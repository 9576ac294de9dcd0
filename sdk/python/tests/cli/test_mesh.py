"""`om up` and `om serve`, as far as they need no mesh: ports, greetings, secrets."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from omegakit.tokens import mesh_public_key, worker_secret
from omegamesh.autostart import Running
from omegamesh.cli import mesh
from omegaproto.errors import Conflict

COMMAND = [sys.executable, "-c", "from omegamesh.cli import main; main()"]
RUNNING = Running("http://127.0.0.1:8000", "admin", "omk_1_hush", Path("/tmp/it's here"))


@pytest.fixture
def port_taken() -> Iterator[int]:
    """A port of this machine at which somebody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock.getsockname()[1]


def test_a_port_that_was_asked_for_must_be_free(port_taken: int) -> None:
    with pytest.raises(Conflict, match=f"Port {port_taken} of 127.0.0.1 is taken"):
        mesh.choose_port("127.0.0.1", port_taken)


def test_a_free_port_is_taken_when_the_default_one_is_not(port_taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesh, "DEFAULT_PORT", port_taken)
    assert mesh.choose_port("127.0.0.1", None) == 0


def test_a_free_port_is_used_as_asked() -> None:
    assert mesh.choose_port("127.0.0.1", 0) == 0
    assert mesh.choose_port("::1", 0) == 0


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(OSError, match="Cannot assign"):
        mesh.choose_port("192.0.2.1", 8000)


def test_the_key_is_shown_when_a_person_looks() -> None:
    assert "export OMEGA_APIKEY=omk_1_hush\n" in mesh.greeting(RUNNING, person=True)


def test_the_key_is_not_shown_otherwise_but_can_be_read_by_what_is(tmp_path: Path) -> None:
    folder = tmp_path / "it's here"
    folder.mkdir()
    (folder / "credentials").write_text('{"userid": "admin", "apikey": "omk_1_hush"}', encoding="utf-8")
    text = mesh.greeting(Running("http://x", "admin", "omk_1_hush", folder), person=False)
    assert "omk_1_hush" not in text
    exports = "\n".join(line for line in text.splitlines() if line.strip().startswith("export"))
    done = subprocess.run(["bash", "-c", exports + "\necho $OMEGA_APIKEY"], capture_output=True, text=True, check=True)
    assert done.stdout == "omk_1_hush\n"


def test_a_greeting_says_where_how_and_what_next() -> None:
    text = mesh.greeting(RUNNING, person=True)
    for part in ("http://127.0.0.1:8000", "/tmp/it's here", "admin", "import omegamesh as om", "curl", "/api/v1/ping"):
        assert part in text
    assert "hush" not in repr(RUNNING)


def test_secrets_are_new_each_time_and_belong_together(om: Any) -> None:
    first, second = (om("serve", "secrets").stdout for _ in range(2))
    values = dict(line.split("=", 1) for line in first.splitlines() if not line.startswith("#"))
    secret = values["OMEGA_AUTH__SECRET"]
    assert values["OMEGA_AUTH__WORKER_SECRET"] == worker_secret(secret)
    assert values["OMEGA_AUTH__MESH_PUBLIC_KEY"] == mesh_public_key(secret)
    assert len(values["OMEGA_AUTH__PEPPER"]) >= 32
    assert secret not in second


def test_a_service_without_its_secret_says_so(nobody_home: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "serve", "metadata", "--loglevel", "error"], check=False, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "OMEGA_AUTH__SECRET" in done.stderr
    assert "Traceback" not in done.stderr
