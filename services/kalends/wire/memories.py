"""Memories: which exist, and what is set for each.

Belongs here: the registry over records, with a cache that a loop keeps fresh. Not here: counts (the timeline's). A newcomer would
get wrong: a memory that the cache does not know is asked of the store before it is refused, so a fresh one works at once everywhere.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

import structlog
from google.protobuf.message import DecodeError

from kalends.domain.errors import Conflict, Damaged, KalendsError, Misconfigured, NotFound, Throttled
from kalends.domain.redaction import Policy
from kalends.domain.retention import Retention, Rule
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.kit import failpoints
from kalends.kit.backoff import pauses
from kalends.ports.records import Record, Records
from kalends.wire.gen.kalends.v1 import records_pb2 as pb
from kalends.wire.isolations import DEDICATED, Claim, Isolations

log = structlog.get_logger(__name__)

KIND = "memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """A memory's settings; ``created_us`` in microseconds; quotas None where there is none; ``retention`` None where it says nothing."""

    scope: Scope
    isolation: str
    description: str
    created_us: int
    quota_events: int | None = None
    quota_bytes: int | None = None
    redaction: Policy = field(default_factory=Policy)
    retention: Retention | None = None
    owner: str = ""
    """Whom it was handed over to, as ``domain.ownership`` names them; empty: it never was."""

    handed_over_us: int = 0
    handed_over_reason: str = ""
    rewrapped_us: int = 0
    """``handed_over_us`` of the last hand-over after which every key was wrapped anew."""


class MemoryRegistry:
    """The memories of every tenant. *dedicate* makes the stream of one that is dedicated; who has none cannot make such a memory."""

    def __init__(self, records: Records, *, dedicate: Callable[[Scope], Awaitable[None]] | None = None) -> None:
        self._records = records
        self._dedicate = dedicate
        self._isolations = Isolations(records)
        self._known: dict[Scope, Memory] = {}

    async def follow(self) -> None:
        """Keep the cache fresh until cancelled; after a failure of the store it starts over."""
        waits = pauses(first=0.2, longest=5.0)
        while True:
            try:
                async with aclosing(self._records.watch(KIND)) as records:
                    async for record in records:
                        if record is not None:
                            self._learn_if_readable(record)
            except KalendsError:
                await asyncio.sleep(next(waits))

    async def find(self, scope: Scope) -> Memory:
        """The memory of *scope*.

        Raises:
            NotFound: there is none.
        """
        memory = self._known.get(scope)
        if memory is None:
            record = await self._records.get(KIND, scope.tenant, scope.memory)
            if record is None:
                raise NotFound(f"no memory {scope.memory!r}")
            memory = self._learn(record)
        return memory

    async def reread(self, scope: Scope) -> Memory:
        """The memory of *scope* as it is stored now, whatever this process knew.

        Raises:
            NotFound: there is none.
        """
        record = await self._records.get(KIND, scope.tenant, scope.memory)
        if record is None:
            raise NotFound(f"no memory {scope.memory!r}")
        return self._learn(record)

    async def create(self, memory: Memory) -> tuple[Memory, bool]:
        """Store *memory* unless it exists; returns what is stored and whether this call made it.

        Raises:
            Conflict: a memory of that name had the other isolation and was erased. Throttled: there is no room for a stream of its own.
        """
        scope = memory.scope
        if await self._records.get(KIND, scope.tenant, scope.memory) is None:
            await self._make_home(scope, memory.isolation)
        try:
            await self._records.put(KIND, scope.tenant, scope.memory, _encode(memory), revision=0)
        except Conflict:
            self._known.pop(scope, None)
            return await self.find(scope), False
        await failpoints.reach("memory.after-record")
        self._known[scope] = memory
        return memory, True

    async def _make_home(self, scope: Scope, isolation: str) -> None:
        """Have a place for what will be appended, before anybody can append."""
        claim = await self._isolations.claim(scope, isolation)
        if claim.says != isolation:
            raise Conflict(f"a memory of this name was {claim.says!r} before it was erased, and can only be so again")
        await failpoints.reach("memory.after-claim")
        if isolation == DEDICATED:
            await self._make_own(claim)

    async def _make_own(self, claim: Claim) -> None:
        if self._dedicate is None:
            raise Misconfigured("this process makes no dedicated memories")
        try:
            await self._dedicate(claim.scope)
        except Throttled:
            await self._isolations.release(claim)
            raise
        await failpoints.reach("memory.after-stream")
        if not claim.ours:
            await self._isolations.confirm(claim)

    async def change(self, scope: Scope, **changes: object) -> Memory:
        """Replace fields of a memory and store it.

        Raises:
            NotFound: there is none. Conflict: somebody else changed it at the same time.
        """
        record = await self._records.get(KIND, scope.tenant, scope.memory)
        if record is None:
            raise NotFound(f"no memory {scope.memory!r}")
        changed = replace(decode(record), **changes)  # type: ignore[arg-type]
        await self._records.put(KIND, scope.tenant, scope.memory, _encode(changed), revision=record.revision)
        self._known[scope] = changed
        return changed

    async def remove(self, scope: Scope) -> None:
        """Forget that there is such a memory, but for its isolation; what it held is for an erasure."""
        await self._isolations.settled(scope)  # one that an earlier version made may not have said yet that it was shared
        await self._records.delete(KIND, scope.tenant, scope.memory)
        self._known.pop(scope, None)

    async def scopes(self) -> Sequence[Scope]:
        """The scopes of all memories of all tenants; also of one whose record cannot be read, for its name can."""
        return [Scope(tenant=Tenant(record.owner), memory=MemoryName(record.name)) for record in await self._records.list(KIND)]

    async def of_tenant(self, tenant: Tenant) -> Sequence[Memory]:
        """All memories of *tenant*, by name."""
        return [decode(record) for record in await self._records.list(KIND, tenant)]

    def _learn_if_readable(self, record: Record) -> None:
        """A damaged record is an error for whoever asks for that memory, and for nobody else."""
        try:
            self._learn(record)
        except Damaged as error:
            log.warning("record skipped", name=record.name, reason=error.detail)

    def _learn(self, record: Record) -> Memory:
        memory = decode(record) if not record.deleted else None
        if memory is None:
            scope = Scope(tenant=Tenant(record.owner), memory=MemoryName(record.name))
            self._known.pop(scope, None)
            return Memory(scope=scope, isolation="shared", description="", created_us=0)
        self._known[memory.scope] = memory
        return memory


def _encode(memory: Memory) -> bytes:
    return pb.Memory(
        name=memory.scope.memory,
        isolation=memory.isolation,
        description=memory.description,
        created_us=memory.created_us,
        quota_events=memory.quota_events or 0,
        quota_bytes=memory.quota_bytes or 0,
        redaction=pb.RedactionActions(actions=memory.redaction.actions),
        redaction_kinds={kind: pb.RedactionActions(actions=actions) for kind, actions in memory.redaction.kinds.items()},
        retention=None if memory.retention is None else _encode_retention(memory.retention),
        owner=memory.owner,
        handed_over_us=memory.handed_over_us,
        handed_over_reason=memory.handed_over_reason,
        rewrapped_us=memory.rewrapped_us,
    ).SerializeToString()


def decode(record: Record) -> Memory:
    """The memory that a record holds.

    Raises:
        Damaged: the bytes are not what is written here.
    """
    try:
        stored = pb.Memory.FromString(record.value)
    except DecodeError as error:
        raise Damaged(f"the record of memory {record.name!r} cannot be read") from error
    return Memory(
        scope=Scope(tenant=Tenant(record.owner), memory=MemoryName(stored.name)),
        isolation=stored.isolation,
        description=stored.description,
        created_us=stored.created_us,
        quota_events=stored.quota_events or None,
        quota_bytes=stored.quota_bytes or None,
        redaction=Policy(
            actions=dict(stored.redaction.actions), kinds={kind: dict(one.actions) for kind, one in stored.redaction_kinds.items()}
        ),
        retention=_retention(stored.retention) if stored.HasField("retention") else None,
        owner=stored.owner,
        handed_over_us=stored.handed_over_us,
        handed_over_reason=stored.handed_over_reason,
        rewrapped_us=stored.rewrapped_us,
    )


def _encode_retention(retention: Retention) -> pb.Retention:
    return pb.Retention(
        rule=_encode_rule(retention.rule),
        kinds={kind: _encode_rule(rule) for kind, rule in retention.kinds.items()},
        pinned_kinds=sorted(retention.pinned_kinds),
        session_only=retention.session_only,
    )


def _encode_rule(rule: Rule) -> pb.RetentionRule:
    return pb.RetentionRule(max_age_days=rule.max_age_days or 0, max_events=rule.max_events or 0)


def _retention(stored: pb.Retention) -> Retention:
    return Retention(
        rule=_rule(stored.rule),
        kinds={kind: _rule(rule) for kind, rule in stored.kinds.items()},
        pinned_kinds=frozenset(stored.pinned_kinds),
        session_only=stored.session_only,
    )


def _rule(stored: pb.RetentionRule) -> Rule:
    return Rule(max_age_days=stored.max_age_days or None, max_events=stored.max_events or None)
