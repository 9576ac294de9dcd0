"""Where the real servers' programs are. A missing one is an error that says what to install, never a skip."""

import os
import re
import shutil
import subprocess
from pathlib import Path

_OLDEST_MONGOD = 5  # older ones lack what current drivers require
# Debian's program on PATH changes the user and the folder; the script behind it runs as whoever calls it.
BEHIND_DEBIANS_WRAPPER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
_INSTALL = "Run `make tools` in the repository to install it"


class MissingComponent(RuntimeError):
    """A real server that the tests need is not on this machine; the message says how to get it."""


def tools_folder() -> Path:
    """Give the folder that `make tools` fills: OMEGA_TOOLS, else `.tools` at the repository's root."""
    configured = os.environ.get("OMEGA_TOOLS")
    if configured:
        return Path(configured)
    for folder in (Path.cwd(), *Path.cwd().parents, *Path(__file__).parents):
        if (folder / "scripts" / "tools").is_file():
            return folder / ".tools"
    return Path.cwd() / ".tools"


def mongod() -> tuple[str, dict[str, str]]:
    """Give mongod's path and the environment it needs; raises MissingComponent."""
    on_path = shutil.which("mongod")
    if on_path and _major_version(on_path) >= _OLDEST_MONGOD:
        return on_path, {}
    for packages in tools_folder().glob("lib/python3*/site-packages"):
        program = packages / "fiftyone" / "db" / "bin" / "mongod"
        if program.is_file():
            # The second wheel brings OpenSSL 1.1, which mongod 6 is linked to and current distributions lack.
            return str(program), {"LD_LIBRARY_PATH": str(packages / "mysql" / "vendor")}
    raise MissingComponent(
        f"MongoDB {_OLDEST_MONGOD} or newer is neither on PATH nor in {tools_folder()}. {_INSTALL}, "
        "put mongod on PATH, or set OMEGA_TEST_MONGO_URL to a replica set you run."
    )


def rabbitmq_server() -> str:
    """Give the path of RabbitMQ's start script; raises MissingComponent."""
    program = BEHIND_DEBIANS_WRAPPER if BEHIND_DEBIANS_WRAPPER.is_file() else shutil.which("rabbitmq-server")
    if program is None:
        raise MissingComponent(
            f"RabbitMQ is not on this machine. {_INSTALL} (or `sudo apt-get install rabbitmq-server`), "
            "or set OMEGA_TEST_AMQP_URL to a broker you run."
        )
    return str(program)


def _major_version(program: str) -> int:
    shown = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)  # noqa: S603
    found = re.search(r"db version v(\d+)", shown.stdout)
    return int(found.group(1)) if found else 0
