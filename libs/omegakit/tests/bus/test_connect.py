"""One function chooses the bus, by URL scheme."""

import subprocess
import sys

import pytest

from omegakit.bus import open_bus
from omegakit.bus.memory import MemoryBroker, MemoryBus
from omegakit.bus.rabbitmq import RabbitBus
from omegaproto.errors import BadRequest
from omegaproto.messages import Doorbell


async def test_memory_buses_meet_at_their_broker() -> None:
    broker = MemoryBroker()
    first, second = open_bus("memory://", broker), open_bus("memory://", broker)
    alone = open_bus("memory://")
    assert isinstance(first, MemoryBus)
    for bus in (first, second, alone):
        await bus.start()
    await first.ring([Doorbell(task_id="t", label="cpu")])
    assert len(broker.bells("cpu")) == 1
    for bus in (first, second, alone):
        await bus.close()


@pytest.mark.parametrize("url", ["amqp://guest:guest@localhost:5672/", "amqps://localhost/mesh"])
def test_amqp_is_rabbitmq(url: str) -> None:
    bus = open_bus(url)
    assert isinstance(bus, RabbitBus)
    assert not bus.connected


@pytest.mark.parametrize("url", ["", "redis://localhost", "localhost:5672"])
def test_any_other_scheme_is_refused(url: str) -> None:
    with pytest.raises(BadRequest, match="Use amqp://"):
        open_bus(url)


def test_the_amqp_client_is_imported_only_when_chosen() -> None:
    program = "import sys; from omegakit.bus import open_bus; open_bus('memory://'); print('aio_pika' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
