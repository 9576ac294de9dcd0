"""The folder in which an embedded mesh keeps its data, secrets and address: OMEGA_HOME, or the user's data folder.

::

    mesh.sqlite3    documents: objects, revisions, users, tasks
    blobs/          bytes, one file a blob
    secrets.json    mesh secret and key pepper, made at the first start (mode 0600)
    credentials     user id and API key of the local administrator (mode 0600)
    mesh.lock       held by the process that runs the mesh of this folder
    mesh.json       where that mesh listens, and its process id
    mesh.log        its log
    sockets/        Unix sockets between its services

Light on purpose: attaching to a running mesh reads two small files and imports no service.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from platformdirs import user_data_path


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where a mesh listens and how to log in."""

    url: str
    userid: str
    apikey: str


class Home:
    """One such folder; made when missing, readable by its owner only."""

    def __init__(self, folder: Path | None = None) -> None:
        chosen = folder or Path(os.environ.get("OMEGA_HOME") or user_data_path("omegamesh"))
        self.folder = chosen.expanduser().absolute()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def docs_url(self) -> str:
        """Give the address of the document store."""
        return f"sqlite:///{self.folder / 'mesh.sqlite3'}"

    @property
    def blobs_url(self) -> str:
        """Give the address of the blob store."""
        return f"file://{self.folder / 'blobs'}"

    @property
    def log_file(self) -> Path:
        """Give the file that the mesh logs to."""
        return self.folder / "mesh.log"

    def secrets(self) -> dict[str, str]:
        """Give mesh secret and pepper; made once, then kept."""
        made = {"secret": secrets.token_urlsafe(48), "pepper": secrets.token_urlsafe(48)}
        return self._kept("secrets.json", made)

    def administrator(self) -> tuple[str, str]:
        """Give user id and API key of the local administrator; made once, then kept."""
        made = {"userid": "admin", "apikey": f"omk_{secrets.token_hex(8)}_{secrets.token_urlsafe(32)}"}
        kept = self._kept("credentials", made)
        return kept["userid"], kept["apikey"]

    def _kept(self, name: str, made: dict[str, str]) -> dict[str, str]:
        path = self.folder / name
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            found: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
            return found
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(made, file, indent=1)
        return made

    def acquire(self) -> IO[str] | None:
        """Become the process that runs the mesh of this folder; None when another one does.

        The lock goes with the process, however it ends. What is announced is then stale, and withdrawn: the address may
        be another program's by now, which must not be sent a login.
        """
        file = (self.folder / "mesh.lock").open("a", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        self.withdraw()
        return file

    def announce(self, url: str) -> None:
        """Write down where the mesh of this folder listens."""
        self._replace("mesh.json", {"url": url, "pid": os.getpid()})

    def withdraw(self) -> None:
        """Remove the announcement: the mesh of this folder has ended."""
        (self.folder / "mesh.json").unlink(missing_ok=True)

    def announced(self) -> Credentials | None:
        """Give how to reach the mesh of this folder as last announced; None when there is no announcement."""
        try:
            address: dict[str, Any] = json.loads((self.folder / "mesh.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        userid, apikey = self.administrator()
        return Credentials(address["url"], userid, apikey)

    def _replace(self, name: str, content: dict[str, Any]) -> None:
        temporary = self.folder / f".{name}.{os.getpid()}"
        temporary.write_text(json.dumps(content), encoding="utf-8")
        temporary.replace(self.folder / name)
