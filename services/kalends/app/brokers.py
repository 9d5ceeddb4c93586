"""Which NATS: one of our own, or one by URL; and what we tell its subscribers and users.

Belongs here: the choice and its credentials. Does not belong here: streams (``adapters.nats``). A newcomer would get wrong: the users of
a broker of our own are the tokens of the instance: the token's id is the user name and the token itself the password, of which only a
bcrypt hash is known. Agents are users too, by their key and without any password.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from kalends.adapters.nats.broker_config import BrokerUser, ServerOptions
from kalends.adapters.nats.bus import NatsBus
from kalends.adapters.nats.server import LocalServer
from kalends.adapters.nats.tls import BrokerTls, ClientTls
from kalends.app.folders import Folders
from kalends.domain.credentials import Principal
from kalends.domain.errors import Misconfigured
from kalends.domain.scope import Scope, token
from kalends.edge.agents import Agents
from kalends.edge.auth import Authenticator
from kalends.edge.nats import Notice, notice
from kalends.edge.services import Loop
from kalends.kit import certificates
from kalends.settings import Settings, TlsSettings
from kalends.wire.reader import OpenedEvent, OpenedNode, Readable

_USERS_EVERY_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """How to reach the broker."""

    url: str
    user: str | None
    password: str | None
    tls: ClientTls | None = None


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
        return None, Where(url=settings.log.url, user=settings.log.user or None, password=password, tls=tls_of(settings))
    options, tls = await asyncio.to_thread(_own_tls, settings.tls)
    broker = await stack.enter_async_context(LocalServer(folders.nats, users=users, options=options))
    return broker, Where(url=broker.url, user=broker.user, password=broker.password, tls=tls)


def tls_of(settings: Settings) -> ClientTls | None:
    """TLS to the NATS that *settings* name, if its URL or a file asks for it."""
    log = settings.log
    if not (log.url.startswith("tls://") or log.ca_file or log.certificate_file):
        return None
    return ClientTls(ca_file=log.ca_file, certificate_file=log.certificate_file, key_file=log.key_file)


def _own_tls(settings: TlsSettings) -> tuple[ServerOptions, ClientTls | None]:
    """A broker of our own has the listeners' certificate, and is checked by a name that stands in it."""
    if not settings.certificate_file:
        return ServerOptions(), None
    try:
        hosts = certificates.hosts_of(Path(settings.certificate_file).read_bytes())
    except (OSError, certificates.UnreadableError) as error:
        raise Misconfigured(f"tls.certificate_file: {settings.certificate_file} names no host, which NATS needs: {error}") from error
    told = BrokerTls(certificate=Path(settings.certificate_file), key=Path(settings.key_file))
    return ServerOptions(tls=told), ClientTls(ca_file=settings.ca_file, hostname=hosts[0])


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


def user_loop(broker: LocalServer, users: Users, authenticator: Authenticator, agents: Agents) -> Loop:
    """Keeps the broker's users equal to the tokens that have a NATS password, and to the agents."""

    async def follow() -> None:
        # whose a memory is must be known first, or a former owner would be let in for a moment after each start
        await authenticator.wait_ready()
        while True:
            wanted = users_of(authenticator, agents)
            if wanted != users.told:
                users.told = wanted
                await broker.reload()
            await asyncio.sleep(_USERS_EVERY_S)

    return Loop(name="nats-users", run=follow)


def users_of(authenticator: Authenticator, agents: Agents) -> list[BrokerUser]:
    """A user for each valid token and agent: it may publish below the prefixes of its memories and read its own inbox, nothing else."""
    users = [
        BrokerUser(name=record.id, password=record.nats_password, prefixes=_own_prefixes(authenticator, record.principal))
        for record in authenticator.holders()
    ]
    users += [
        BrokerUser(name=agent.id, nkey=agent.public_key, prefixes=_own_prefixes(authenticator, agent.principal(expires_at=None)))
        for agent in agents.valid()
    ]
    return sorted(users, key=lambda user: user.name)


def _own_prefixes(authenticator: Authenticator, principal: Principal) -> tuple[str, ...]:
    """By the memories that are the principal's now; of all of a tenant's none can be left out, there the bridge alone refuses."""
    memories = authenticator.settled(principal).memories
    return prefixes(principal.tenant, None if memories is None else sorted(memories))


def prefixes(tenant: str, memories: Sequence[str] | None) -> tuple[str, ...]:
    """Below which subjects whoever may use *memories* (None: all of the tenant's) may publish."""
    names = ["*"] if memories is None else [token(memory) for memory in memories]
    return tuple(f"kalends.v1.{token(tenant)}.{name}" for name in names)


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
