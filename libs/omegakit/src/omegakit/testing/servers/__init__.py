"""Real MongoDB and RabbitMQ, each on a free port with its own data folder, started and stopped by pid."""

from omegakit.testing.servers.binaries import MissingComponent
from omegakit.testing.servers.management import BrokerApi
from omegakit.testing.servers.mongo import MongoServer
from omegakit.testing.servers.process import ServerFailed
from omegakit.testing.servers.rabbit import RabbitServer

__all__ = ["BrokerApi", "MissingComponent", "MongoServer", "RabbitServer", "ServerFailed"]
