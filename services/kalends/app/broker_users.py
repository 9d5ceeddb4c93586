"""The users of a broker that is not a child of Kalends but runs beside it, as in a pod: its file of users, and that it reads it again.

Belongs here: following tokens and agents, writing the file, signalling. Does not belong here: who may do what (``brokers``). A newcomer
would get wrong: the broker asks for a user before Kalends can be reached at all, so the file begins with the platform's user alone, which
the pod puts there; and an agent's key is a public half, so nothing that is written here but the platform's password is a secret.
"""

import asyncio
import contextlib
import json
import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import structlog

from kalends.adapters.embedded.clock import SystemClock
from kalends.adapters.nats.broker_config import BrokerUser, rendered_users, write_private
from kalends.app import brokers, parts
from kalends.app.folders import folders_of
from kalends.domain.errors import Misconfigured
from kalends.edge.agents import Agents
from kalends.edge.auth import Authenticator
from kalends.edge.metrics import new_metrics
from kalends.kit import tasks
from kalends.settings import Settings
from kalends.wire.owners import Owners

log = structlog.get_logger(__name__)

EVERY_S = 0.5
"""How often the users are compared with what the file says."""


async def follow(settings: Settings, *, file: Path, pid_file: Path, version: str) -> None:
    """Keep *file* equal to the tokens and agents that there are, and tell the broker of *pid_file*, until cancelled.

    Raises:
        Misconfigured: there is no broker to connect to, or a file cannot be read or written. Unavailable: it does not answer.
    """
    if not settings.log.url or not settings.log.user:
        raise Misconfigured("the users of a broker are kept by its URL and the platform's user: set log.url and log.user")
    async with AsyncExitStack() as stack:
        password = await brokers.password_of(settings) or ""
        where = brokers.Where(url=settings.log.url, user=settings.log.user, password=password, tls=brokers.tls_of(settings))
        bus = await parts.open_bus(stack, settings, folders_of(settings), where, new_metrics(version=version), own=False)
        clock = SystemClock()
        agents, owners = Agents(bus.records, clock=clock), Owners(bus.records, clock=clock)
        authenticator = Authenticator(bus.records, clock=clock, owners=owners)
        platform = BrokerUser(name=settings.log.user, password=password)
        async with tasks.group() as following:
            for run in (agents.run, owners.run, authenticator.run):
                following.create_task(run())
            # whose a memory is must be known first, or a former owner would be let in for a moment
            await authenticator.wait_ready()
            await agents.wait_ready()
            told = ""
            while True:
                wanted = text([platform, *brokers.users_of(authenticator, agents)])
                if wanted != told:
                    await asyncio.to_thread(_tell, wanted, file=file, pid_file=pid_file)
                    told = wanted
                await asyncio.sleep(EVERY_S)


def text(users: list[BrokerUser]) -> str:
    """The file: a block that the broker's configuration includes, in the form of JSON, which it reads as its own."""
    return f"authorization: {json.dumps({'timeout': 5, 'users': rendered_users(users)}, indent=1)}\n"


def _tell(wanted: str, *, file: Path, pid_file: Path) -> None:
    """Write *wanted* and have the broker read it, unless it starts just now and reads it by itself."""
    try:
        write_private(file, wanted)
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int(pid_file.read_text(encoding="ascii")), signal.SIGHUP)
    except (OSError, ValueError) as error:
        raise Misconfigured(f"{file} cannot be written, or {pid_file} names no process: {error}") from error
    log.info("the broker was told of its users")
