"""NATS JetStream: the log, records, keys, dead letters, and the broker as a child process.

What the container needs stands here; everything else is private to the package. A newcomer would get wrong: only this package imports the
client of NATS, so that its successor can take its place in one folder.
"""

from kalends.adapters.nats.broker_config import BrokerUser, ServerOptions, agent
from kalends.adapters.nats.bus import NatsBus, open_nats
from kalends.adapters.nats.options import NatsOptions
from kalends.adapters.nats.server import LocalServer, ServerState

__all__ = ["BrokerUser", "LocalServer", "NatsBus", "NatsOptions", "ServerOptions", "ServerState", "agent", "open_nats"]
