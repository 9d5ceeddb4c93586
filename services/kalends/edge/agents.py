"""Agents: identities that are a key of their own, known by its public half.

Belongs here: registering, listing and revoking agents, and knowing all of them. Does not belong here: logging in (``sessions``), the
operations (``agent_operations``). A newcomer would get wrong: a key is registered once in the whole instance and never again, also not
after its agent was revoked; else another tenant could register it too, and an agent would write its memory there.
"""

import asyncio
import contextlib
from collections.abc import Iterable
from datetime import datetime

import msgspec
import structlog

from kalends.domain import ownership
from kalends.domain.credentials import RIGHTS, Principal
from kalends.domain.errors import Conflict, KalendsError, NotFound, Unavailable
from kalends.domain.events import new_ulid
from kalends.domain.scope import Tenant
from kalends.edge.services import Health
from kalends.ports.clock import Clock
from kalends.ports.records import Record, Records

log = structlog.get_logger(__name__)

KIND = "agent"
OWNER = "instance"
"""Not the tenant: a record's name is unique for its owner, and a key must be for all."""

_RECONNECT_S = (0.2, 0.5, 1.0, 2.0, 5.0)


class AgentRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is stored of an agent, under its public key; ``memories`` None: all of the tenant's."""

    id: str
    tenant: str
    public_key: str
    memories: tuple[str, ...] | None
    rights: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None = None
    label: str = ""
    labels: tuple[str, ...] | None = None
    """None: all; so it is of what was stored before there were labels."""

    revoked_at: datetime | None = None
    makers: tuple[str, ...] = ()
    """Names of who registered it, and of who made them (``domain.ownership``)."""

    def principal(self, *, expires_at: datetime | None) -> Principal:
        """The agent as it asks with a session that ends at *expires_at*."""
        memories = None if self.memories is None else frozenset(self.memories)
        return Principal(
            token_id=self.id,
            tenant=Tenant(self.tenant),
            memories=memories,
            rights=frozenset(self.rights),
            expires_at=expires_at,
            labels=None if self.labels is None else frozenset(self.labels),
            name=ownership.agent_name(self.id),
            makers=frozenset(self.makers),
        )


class Agents:
    """Knows every agent; host ``run`` as a loop."""

    def __init__(self, records: Records, *, clock: Clock) -> None:
        self._records = records
        self._clock = clock
        self._known: dict[str, tuple[int, AgentRecord | None]] = {}
        self._ids: dict[str, AgentRecord] = {}
        self._ready = asyncio.Event()
        self._state = "down"
        self._since = clock.now()

    def by_key(self, public_key: str) -> AgentRecord | None:
        """The agent with that key, if it is neither revoked nor expired.

        Raises:
            Unavailable: the agents were not read yet.
        """
        self._check_ready()
        return self._valid(self._known.get(public_key, (0, None))[1])

    def by_id(self, agent_id: str) -> AgentRecord | None:
        """The agent with that id, if it is neither revoked nor expired.

        Raises:
            Unavailable: the agents were not read yet.
        """
        self._check_ready()
        return self._valid(self._ids.get(agent_id))

    def valid(self) -> list[AgentRecord]:
        """Every agent that is neither revoked nor expired."""
        return [agent for agent in self._ids.values() if self._valid(agent)]

    async def wait_ready(self) -> None:
        """Return once every agent has been seen; the caller sets the deadline."""
        await self._ready.wait()

    async def run(self) -> None:
        """Follow the records until cancelled, and begin again whenever they fail."""
        failures = 0
        while True:
            try:
                async with contextlib.aclosing(self._records.watch(KIND)) as changes:
                    async for record in changes:
                        if record is not None:
                            self._apply(record)
                            continue
                        failures = 0
                        self._ready.set()
                        self._enter("up")
            except KalendsError as error:
                log.warning("agents cannot be followed", code=error.code, failures=failures)
            self._enter("degraded" if self._ready.is_set() else "down")
            await asyncio.sleep(_RECONNECT_S[min(failures, len(_RECONNECT_S) - 1)])
            failures += 1

    def health(self) -> Health:
        """Whether changes to agents are seen."""
        detail = {"up": "", "degraded": "agents known before stay valid; changes are not seen", "down": "no agent can be checked yet"}
        return Health(name="agents", state=self._state, since=self._since.isoformat(), detail=detail[self._state])

    async def register(
        self,
        tenant: Tenant,
        public_key: str,
        *,
        memories: Iterable[str] | None,
        rights: Iterable[str],
        label: str = "",
        labels: Iterable[str] | None = None,
        expires_at: datetime | None = None,
        makers: Iterable[str] = (),
    ) -> AgentRecord:
        """Let the holder of *public_key* be an agent; it is one in this process on return.

        Raises:
            Conflict: the key is, or was, an agent's.
        """
        now = self._clock.now()
        agent = AgentRecord(
            id=new_ulid(now),
            tenant=tenant,
            public_key=public_key,
            memories=None if memories is None else tuple(sorted(set(memories))),
            rights=tuple(right for right in RIGHTS if right in set(rights)),
            created_at=now,
            expires_at=expires_at,
            label=label,
            labels=None if labels is None else tuple(sorted(set(labels))),
            makers=tuple(sorted(makers)),
        )
        try:
            await self._write(agent, revision=0)
        except Conflict:
            raise Conflict("this key was registered before; make a new one for each agent") from None
        return agent

    async def agents(self, tenant: Tenant) -> list[AgentRecord]:
        """The tenant's agents that were not revoked, oldest first."""
        return sorted((agent for _, agent in await self._stored(tenant)), key=lambda agent: agent.id)

    async def revoke(self, tenant: Tenant, agent_id: str) -> None:
        """End an agent with all its sessions: in this process on return, elsewhere as soon as the change is seen there.

        Raises:
            NotFound: the tenant has no such agent. Conflict: somebody else is changing it.
        """
        for revision, agent in await self._stored(tenant):
            if agent.id == agent_id:
                await self._write(msgspec.structs.replace(agent, revoked_at=self._clock.now()), revision=revision)
                return
        raise NotFound("no such agent")

    async def _stored(self, tenant: Tenant) -> list[tuple[int, AgentRecord]]:
        read = [(record.revision, _read(record)) for record in await self._records.list(KIND, OWNER)]
        return [(revision, agent) for revision, agent in read if agent and agent.tenant == tenant and agent.revoked_at is None]

    async def _write(self, agent: AgentRecord, *, revision: int) -> None:
        value = msgspec.json.encode(agent)
        written = await self._records.put(KIND, OWNER, agent.public_key, value, revision=revision)
        self._apply(Record(kind=KIND, owner=OWNER, name=agent.public_key, value=value, revision=written))

    def _apply(self, record: Record) -> None:
        revision, before = self._known.get(record.name, (0, None))
        # What this process wrote itself is known before the watch tells of it, so an older version may still come.
        if record.revision < revision:
            return
        agent = None if record.deleted else _read(record)
        if before is not None:
            self._ids.pop(before.id, None)
        self._known[record.name] = record.revision, agent
        if agent is not None:
            self._ids[agent.id] = agent

    def _valid(self, agent: AgentRecord | None) -> AgentRecord | None:
        if agent is None or agent.revoked_at is not None:
            return None
        return agent if agent.expires_at is None or agent.expires_at > self._clock.now() else None

    def _check_ready(self) -> None:
        if not self._ready.is_set():
            raise Unavailable("the agents were not read yet", dependency="records", retry_after=1.0)

    def _enter(self, state: str) -> None:
        if state != self._state:
            self._state, self._since = state, self._clock.now()


def _read(record: Record) -> AgentRecord | None:
    try:
        return msgspec.json.decode(record.value, type=AgentRecord)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        log.error("an agent's record cannot be read; the agent is refused", revision=record.revision)  # noqa: TRY400 - the error quotes the record
        return None
