"""Which NATS: one of our own, or one by URL; and what we tell its subscribers and users.

Belongs here: the choice and its credentials. Does not belong here: streams (``adapters.nats``). A newcomer would get wrong: the users of
a broker of our own are the tokens of the instance: the token's id is the user name and the token itself the password, of which only a
bcrypt hash is known.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from kalends.adapters.nats.broker_config import BrokerUser
from kalends.adapters.nats.bus import NatsBus
from kalends.adapters.nats.server import LocalServer
from kalends.app.folders import Folders
from kalends.domain.errors import Misconfigured
from kalends.domain.scope import Scope, token
from kalends.edge.auth import Authenticator
from kalends.edge.nats import Notice, notice
from kalends.edge.services import Loop
from kalends.settings import Settings
from kalends.wire.reader import OpenedEvent, OpenedNode, Readable

_USERS_EVERY_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """How to reach the broker."""

    url: str
    user: str | None
    password: str | None


class Users:
    """The users that the broker is told of besides ourselves."""

    def __init__(self) -> None:
        self.told: list[BrokerUser] = []

    def __call__(self) -> Sequence[BrokerUser]:
        """As the broker asks for them."""
        return self.told


async def open_broker(stack: AsyncExitStack, settings: Settings, folders: Folders, users: Users) -> tuple[LocalServer | None, Where]:
    """Start a broker of our own, unless *settings* name one.

    Raises:
        Misconfigured: the password file cannot be read. And what starting raises.
    """
    if settings.log.url:
        password = await password_of(settings)
        return None, Where(url=settings.log.url, user=settings.log.user or None, password=password)
    broker = await stack.enter_async_context(LocalServer(folders.nats, users=users))
    return broker, Where(url=broker.url, user=broker.user, password=broker.password)


async def password_of(settings: Settings) -> str | None:
    """The password for the NATS that *settings* name, if there is one.

    Raises:
        Misconfigured: its file cannot be read.
    """
    if not settings.log.password_file:
        return None
    return await asyncio.to_thread(_read_password, Path(settings.log.password_file))


def _read_password(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise Misconfigured(f"log.password_file: {path} cannot be read: {error.strerror}") from error


def user_loop(broker: LocalServer, users: Users, authenticator: Authenticator) -> Loop:
    """Keeps the broker's users equal to the tokens that have a NATS password."""

    async def follow() -> None:
        while True:
            wanted = users_of(authenticator)
            if wanted != users.told:
                users.told = wanted
                await broker.reload()
            await asyncio.sleep(_USERS_EVERY_S)

    return Loop(name="nats-users", run=follow)


def users_of(authenticator: Authenticator) -> list[BrokerUser]:
    """A user for each valid token: it may publish below the prefixes of its memories and read its own inbox, nothing else."""
    users = []
    for record in authenticator.holders():
        tenant = token(record.tenant)
        memories = ["*"] if record.memories is None else [token(memory) for memory in record.memories]
        prefixes = tuple(f"kalends.v1.{tenant}.{memory}" for memory in memories)
        users.append(BrokerUser(name=record.id, password=record.nats_password, prefixes=prefixes))
    return sorted(users, key=lambda user: user.name)


def notices(bus: NatsBus) -> Callable[[Sequence[Readable]], Awaitable[None]]:
    """Tells the memory's subscribers which events, and which nodes of the calendar, became findable by words."""

    async def tell(opened: Sequence[Readable]) -> None:
        events: dict[Scope, list[OpenedEvent]] = {}
        nodes: dict[Scope, list[OpenedNode]] = {}
        for one in opened:
            if isinstance(one, OpenedEvent):
                events.setdefault(one.scope, []).append(one)
            elif isinstance(one, OpenedNode):
                nodes.setdefault(one.scope, []).append(one)
        for scope, found in events.items():
            last = found[-1].position
            body = Notice(event_ids=[one.event.id for one in found], stream=last.stream, sequence=last.sequence, projection="lexical")
            await notice(bus.connection, scope, "indexed", body)
        for scope, written in nodes.items():
            last = written[-1].position
            ids = [one.node.period.id for one in written]
            body = Notice(node_ids=ids, stream=last.stream, sequence=last.sequence, projection="lexical")
            await notice(bus.connection, scope, "summarized", body)

    return tell
