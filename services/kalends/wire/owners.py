"""Owners: which memories were handed over and to whom, as one process knows it.

Belongs here: following that, and what it leaves of a principal's memories. Does not belong here: handing over (``ingest.handing_over``),
the decision itself (``domain.ownership``). A newcomer would get wrong: a memory whose record cannot be read belongs to nobody, so that
damage opens nothing; and before the first pass over the records is over nobody is let in at all.
"""

import asyncio
from collections import defaultdict
from contextlib import aclosing
from dataclasses import dataclass

import structlog

from kalends.domain import ownership
from kalends.domain.credentials import Principal
from kalends.domain.errors import Damaged, KalendsError, Unavailable
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.kit.backoff import pauses
from kalends.ports.clock import Clock
from kalends.ports.records import Record, Records
from kalends.wire import memories

log = structlog.get_logger(__name__)

NOBODY = "nobody"
"""The owner of a memory whose record cannot be read; no principal has this name."""

_REMEMBERED = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What the record of a memory says: ``owner`` empty where it was never handed over; ``due``: keys are to be wrapped anew."""

    revision: int
    owner: str = ""
    due: bool = False


class Owners:
    """The owners of every tenant's memories; host ``run`` as a loop."""

    def __init__(self, records: Records, *, clock: Clock) -> None:
        self._records = records
        self._clock = clock
        self.state = "down"
        """``up`` while changes are seen, ``degraded`` while what was known before goes on, ``down`` before anything is known."""

        self.since = clock.now()
        self._known: dict[Scope, _Known] = {}
        self._owners: defaultdict[Tenant, dict[str, str]] = defaultdict(dict)
        self._settled: dict[Principal, Principal] = {}
        self._ready = asyncio.Event()

    async def wait_ready(self) -> None:
        """Return once every memory was seen; the caller sets the deadline."""
        await self._ready.wait()

    def settled(self, principal: Principal) -> Principal:
        """*principal* with what was handed over to it, and without what was handed over to others.

        Raises:
            Unavailable: the memories were not read yet.
        """
        if not self._ready.is_set():
            raise Unavailable("the owners of memories were not read yet", dependency="records", retry_after=1.0)
        owners = self._owners.get(principal.tenant)
        if not owners:
            return principal
        found = self._settled.get(principal)
        if found is None:
            if len(self._settled) >= _REMEMBERED:
                self._settled.clear()
            found = self._settled[principal] = ownership.settled(principal, owners)
        return found

    def due(self) -> list[Scope]:
        """Memories that were handed over and whose keys were not all wrapped anew since."""
        return [scope for scope, known in self._known.items() if known.due]

    async def look(self, scope: Scope) -> None:
        """Know what the record of *scope* says now, and not only when the change is told.

        Raises:
            Unavailable, DeadlineExceeded: the store does not answer.
        """
        record = await self._records.get(memories.KIND, scope.tenant, scope.memory)
        if record is not None:
            self._apply(record)

    async def run(self) -> None:
        """Follow the records until cancelled, and begin again whenever they fail."""
        waits = pauses(first=0.2, longest=5.0)
        while True:
            try:
                async with aclosing(self._records.watch(memories.KIND)) as changes:
                    missing: set[Scope] | None = set(self._known)
                    async for record in changes:
                        if record is not None:
                            scope = self._apply(record)
                            if missing is not None:
                                missing.discard(scope)
                            continue
                        # what is not there any more was deleted while nobody told us
                        for scope in missing or ():
                            self._forget(scope)
                        missing = None
                        waits = pauses(first=0.2, longest=5.0)
                        self._ready.set()
                        self._enter("up")
            except KalendsError as error:
                log.warning("owners of memories cannot be followed", code=error.code)
            self._enter("degraded" if self._ready.is_set() else "down")
            await asyncio.sleep(next(waits))

    def _enter(self, state: str) -> None:
        if state != self.state:
            self.state, self.since = state, self._clock.now()

    def _apply(self, record: Record) -> Scope:
        scope = Scope(tenant=Tenant(record.owner), memory=MemoryName(record.name))
        before = self._known.get(scope)
        # what this process looked up itself is known before the watch tells of it, so an older version may still come
        if before is not None and record.revision < before.revision:
            return scope
        known = _read(record)
        self._known[scope] = known
        if known.owner != (before.owner if before is not None else ""):
            self._own(scope, known.owner)
        return scope

    def _own(self, scope: Scope, owner: str) -> None:
        owners = self._owners[scope.tenant]
        if owner:
            owners[scope.memory] = owner
        else:
            owners.pop(scope.memory, None)
        self._settled.clear()

    def _forget(self, scope: Scope) -> None:
        del self._known[scope]
        self._own(scope, "")


def _read(record: Record) -> _Known:
    if record.deleted:
        return _Known(revision=record.revision)
    try:
        memory = memories.decode(record)
    except Damaged as error:
        log.warning("a memory's owner cannot be read; only admins of all memories reach it", name=record.name, reason=error.detail)
        return _Known(revision=record.revision, owner=NOBODY)
    return _Known(revision=record.revision, owner=memory.owner, due=memory.rewrapped_us < memory.handed_over_us)
