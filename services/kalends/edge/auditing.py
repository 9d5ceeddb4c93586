"""Auditing: what is worth an entry, and when it is waited for.

Belongs here: gathering entries of this process and writing them in blocks. Does not belong here: the chain (``domain.audit``), its store
(the port), or the questions about it (``audit_operations``). A newcomer would get wrong: a call that changed something is answered after
its entry is durable, a refused one never waits; so whoever floods us with refused calls is counted, one entry a second, and costs nothing.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

import structlog

from kalends.domain.audit import Entry
from kalends.domain.credentials import Principal
from kalends.domain.errors import KalendsError, Throttled, Unavailable
from kalends.domain.events import microseconds
from kalends.edge import logs
from kalends.edge.operations import Call, Operation
from kalends.kit.backoff import pauses
from kalends.ports.audit import AuditStore
from kalends.ports.clock import Clock

log = structlog.get_logger(__name__)

OTHERS = "others"
"""The operation of entries that count refusals for which there is no room apart."""

WAITING_MAX = 10_000
COUNTED_MAX = 1000
BLOCK_MAX = 500
EVERY_S = 1.0
_LAST_S = 2.0


class Audit(Protocol):
    """What the edge tells of calls."""

    def admit(self, operation: Operation) -> None:
        """See that there is room for an entry before anything is changed.

        Raises:
            Throttled: too many entries wait to be written. Unavailable: none can be written, for the disk is full.
        """
        ...

    async def changed(self, call: Call, operation: Operation, outcome: str) -> None:
        """Return once the call is in the audit, or is sure to be counted there.

        Raises:
            Unavailable: it is not there in time; it will be.
        """
        ...

    def unknown(self, call: Call, operation: Operation) -> None:
        """Take note, without waiting, of a call that was broken off; what it did is not known."""
        ...

    def refused(self, principal: Principal | None, operation: Operation, reason: str) -> None:
        """Take note, without waiting, of a call that was refused."""
        ...


class NoAudit:
    """Keeps no account, for tests of the edge alone."""

    def admit(self, operation: Operation) -> None:
        """There is always room."""

    async def changed(self, call: Call, operation: Operation, outcome: str) -> None:
        """Nothing is kept."""

    def unknown(self, call: Call, operation: Operation) -> None:
        """Nothing is kept."""

    def refused(self, principal: Principal | None, operation: Operation, reason: str) -> None:
        """Nothing is kept."""


@dataclass(slots=True, eq=False)
class _Waiting:
    """An entry to be written, and who waits for that."""

    entry: Entry
    done: "asyncio.Future[None] | None" = None


@dataclass(slots=True)
class _Counted:
    """Calls alike, since the last time they were written."""

    entry: Entry
    count: int = 0


@dataclass(kw_only=True)
class Auditor:
    """Writes what it is told to *store*; ``run`` must be hosted as a loop.

    Calls whose operation is in *counted* are counted like refusals, those alike of a second in one entry, and not waited for.
    """

    store: AuditStore
    clock: Clock
    counted: frozenset[str] = frozenset()
    need_room: Callable[[], None] = lambda: None
    """Raises ``Unavailable`` while the store could not be written for want of room."""
    _waiting: deque[_Waiting] = field(default_factory=deque)
    _alike: dict[Entry, _Counted] = field(default_factory=dict)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def admit(self, operation: Operation) -> None:
        """See that there is room for an entry.

        Raises:
            Throttled: too many wait. Unavailable: the disk is full, so the entry could not be written.
        """
        if operation.name in self.counted:
            return
        self.need_room()
        if len(self._waiting) >= WAITING_MAX:
            raise Throttled("too many entries of the audit wait to be written", dependency="audit", retry_after=1.0)

    async def changed(self, call: Call, operation: Operation, outcome: str) -> None:
        """Return once the call is in the audit, or counted.

        Raises:
            Unavailable: it is not there by the call's deadline.
        """
        entry = self._entry(call, operation, outcome)
        if operation.name in self.counted:
            self._count(entry)
            return
        await self.noted(entry, deadline=call.deadline)

    async def noted(self, entry: Entry, *, deadline: float) -> None:
        """Return once *entry*, of something that was done without a call of its own, is in the audit; *deadline* by the loop's clock.

        Raises:
            Unavailable: it is not there in time; it will be.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(entry=entry, done=done))
        self._news.set()
        try:
            async with asyncio.timeout_at(deadline):
                await done
        except TimeoutError as error:
            raise Unavailable("the call is not in the audit yet", dependency="audit", retry_after=1.0) from error

    def unknown(self, call: Call, operation: Operation) -> None:
        """Take note of a call that was broken off."""
        self._count(self._entry(call, operation, "unknown"))

    def refused(self, principal: Principal | None, operation: Operation, reason: str) -> None:
        """Take note of a call that was refused; the memory that it named is not kept, for it may be anybody's words."""
        tenant, actor = (principal.tenant, principal.token_id) if principal is not None else ("", "")
        self._count(
            Entry(at_us=0, tenant=tenant, actor=actor, operation=operation.name, memory="", outcome=reason, request_id="", refused=True)
        )

    async def run(self) -> None:
        """Write what comes until cancelled, and then what is left, if that is quick."""
        try:
            while True:
                await self._gather()
                await self._write()
        finally:
            with contextlib.suppress(TimeoutError, KalendsError):
                async with asyncio.timeout(_LAST_S):
                    while self._waiting or self._alike:
                        self._take_counted()
                        await self.store.append([one.entry for one in self._take()])

    def _entry(self, call: Call, operation: Operation, outcome: str) -> Entry:
        return Entry(
            at_us=microseconds(self.clock.now()),
            tenant=call.principal.tenant,
            actor=call.principal.token_id,
            operation=operation.name,
            memory=call.scope.memory if call.scope is not None else "",
            outcome=outcome,
            request_id=call.request_id,
        )

    def _count(self, entry: Entry) -> None:
        alike = replace(entry, at_us=0, request_id="")
        if alike not in self._alike and len(self._alike) >= COUNTED_MAX:
            alike = Entry(at_us=0, tenant="", actor="", operation=OTHERS, memory="", outcome=OTHERS, request_id="", refused=entry.refused)
        if alike not in self._alike:
            first = replace(alike, at_us=microseconds(self.clock.now()), request_id=entry.request_id or logs.request_id.get())
            self._alike[alike] = _Counted(entry=first)
        self._alike[alike].count += 1

    async def _gather(self) -> None:
        """Return when somebody waits, or a second has passed and something was counted."""
        while not self._waiting:
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EVERY_S):
                    await self._news.wait()
            if not self._waiting and self._alike:
                break
        now = microseconds(self.clock.now())
        if any(now - one.entry.at_us >= EVERY_S * 1_000_000 for one in self._alike.values()):
            self._take_counted()

    def _take_counted(self) -> None:
        for one in self._alike.values():
            self._waiting.append(_Waiting(entry=replace(one.entry, count=one.count)))
        self._alike.clear()

    def _take(self) -> list[_Waiting]:
        return [self._waiting.popleft() for _ in range(min(BLOCK_MAX, len(self._waiting)))]

    async def _write(self) -> None:
        """Write a block, again and again until it is durable; who waits for it has a deadline of its own."""
        block = self._take()
        if not block:
            return
        waits = pauses(first=0.05, longest=5.0)
        try:
            while True:
                try:
                    await self.store.append([one.entry for one in block])
                    break
                except KalendsError as error:
                    log.warning("entries of the audit wait", code=error.code, entries=len(block))
                    await asyncio.sleep(next(waits))
        except asyncio.CancelledError:
            self._waiting.extendleft(reversed(block))
            raise
        for one in block:
            if one.done is not None and not one.done.done():
                one.done.set_result(None)
