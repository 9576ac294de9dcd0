"""Our side of every benchmark: the five services as processes, how to ask them, and the probes that use the SDK.

The only module that knows how a mesh is started and reached; the parts know no more than `Access`, a
`Target` and probes.
"""

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from load import Request
from predict import OURS, Target
from processes import HERE, Probe
from samples import COLUMNS, ROW

from omega_mesh.processes import MeshProcesses
from omegakit.testing.urls import with_database

_CLIENT = str(HERE / "ours_client.py")


@dataclass(frozen=True)
class Access:
    """Where the gateway listens, and the key of a user who may do everything."""

    url: str
    userid: str
    apikey: str

    @property
    def environment(self) -> dict[str, str]:
        """Give the variables that point the SDK at this mesh."""
        return {"OMEGA_URL": self.url, "OMEGA_USERID": self.userid, "OMEGA_APIKEY": self.apikey}


@contextmanager
def mesh(mongo_url: str, amqp_url: str) -> Iterator[Access]:
    """Run the five services, one process each, on this MongoDB and RabbitMQ; raises Unavailable where one fails."""
    with TemporaryDirectory(prefix="omega-bench-mesh-") as folder:
        database = with_database(mongo_url, f"omega_bench_{secrets.token_hex(4)}")
        with MeshProcesses(Path(folder), database, amqp_url, log_level="warning") as running:
            yield Access(**asdict(running.credentials))


def client(access: Access) -> Probe:
    """Give the probe that uses the SDK against the running mesh."""
    return Probe([sys.executable, _CLIENT], access.environment)


@contextmanager
def embedded_client() -> Iterator[Probe]:
    """Give the probe whose SDK starts an embedded mesh in its own process, on a fresh folder."""
    with (
        TemporaryDirectory(prefix="omega-bench-home-") as home,
        Probe([sys.executable, _CLIENT], embedded(home)) as probe,
    ):
        yield probe


def embedded(home: str) -> dict[str, str]:
    """Give the variables that keep an embedded mesh, and any configuration file it looks for, in `home`."""
    return {"OMEGA_HOME": home, "HOME": home}


def predict_target(access: Access) -> Target:
    """Store both models through the SDK, and give the target that predicts with them over REST."""
    with client(access) as probe:
        probe.ask("put_models")
    return Target(OURS, lambda model: predict_request(access, model), _first_result)


def predict_request(access: Access, model: str) -> Request:
    """Give the authenticated request that predicts one row."""
    key = {"Authorization": f"ApiKey {access.userid}:{access.apikey}"}
    return Request(f"{access.url}/api/v1/model/{model}/predict", {"columns": COLUMNS, "data": [ROW]}, key)


def _first_result(answer: Any) -> Any:
    return answer["result"][0]
