"""Writing the calendar anew: all of it, or from a date on.

Belongs here: the operation, its progress, and counting what it would do. Does not belong here: the work itself (``usecases``). A newcomer
would get wrong: what is left to do is marked in the calendar, so a rebuild that a kill interrupted goes on where it was, with or without
its operation; and where the same words come out again, nothing is written.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import structlog

from kalends.domain.errors import KalendsError
from kalends.domain.operations import LongOperation
from kalends.domain.periods import LEVELS, Period
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.kit import tasks
from kalends.kit.backoff import pauses
from kalends.ports.calendar import Calendar, Unit
from kalends.ports.clock import Clock
from kalends.ports.timeline import Timeline
from kalends.summarize.segmenting import events_of
from kalends.summarize.usecases import KeepCalendar
from kalends.wire.leases import Lease
from kalends.wire.memories import MemoryRegistry
from kalends.wire.operations import OperationStore
from kalends.wire.running import OperationRunner, Report

log = structlog.get_logger(__name__)

KIND = "toc-rebuild"
_LOOK_S = 1.0
_PAGE = 1000
_STUCK_LOOKS = 3
"""Sweeps in a row that leave as much to do as there was; what is left then fails again and again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """What a rebuild is about: events, the days they are on, and the nodes there are now."""

    events: int
    days: int
    nodes: int

    def __add__(self, other: "Extent") -> "Extent":
        return Extent(events=self.events + other.events, days=self.days + other.days, nodes=self.nodes + other.nodes)

    @property
    def text(self) -> str:
        """One line for people."""
        return f"{self.events} events on {self.days} days, {self.nodes} nodes"


class RebuildCalendar:
    """Rebuilds that were asked for, one after another; see ``edge.long_work.LongWork``."""

    def __init__(
        self,
        *,
        keep: KeepCalendar,
        calendar: Calendar,
        timeline: Timeline,
        memories: MemoryRegistry,
        store: OperationStore,
        lease: Lease,
        clock: Clock,
    ) -> None:
        self._keep = keep
        self._calendar = calendar
        self._timeline = timeline
        self._memories = memories
        self._runner = OperationRunner(kind=KIND, store=store, lease=lease, clock=clock, do=self._rebuild)

    async def ask(self, *, tenant: Tenant, memory: MemoryName | None, since: date | None, dry_run: bool) -> LongOperation:
        """Begin to write the calendar of *memory* (None: of every memory of *tenant*) anew from *since* on, unless the same waits already.

        A dry run only counts.

        Raises:
            NotFound: there is no such memory.
        """
        scopes = await self._scopes(tenant, memory)
        said = since.isoformat() if since is not None else ""
        about = {"tenant": tenant, "memory": memory or "", "since": said}
        if not dry_run:
            return await self._runner.join("toc", about)
        extent = Extent(events=0, days=0, nodes=0)
        for scope in scopes:
            extent += await self._extent(scope, since)
        counted = {"state": "succeeded", "dry_run": True, "total": extent.events, "done": extent.events, "result": extent.text}
        return await self._runner.ask("toc", **about, **counted)

    async def find(self, operation_id: str) -> LongOperation | None:
        """A rebuild by its operation id."""
        return await self._runner.find(operation_id)

    async def all(self) -> Sequence[LongOperation]:
        """Every rebuild that is remembered."""
        return await self._runner.all()

    async def cancel(self, operation_id: str) -> None:
        """Stop a rebuild; what was written stays, what is left is as due as any change.

        Raises:
            Conflict: it has ended.
        """
        await self._runner.cancel(operation_id)

    async def run(self) -> None:
        """Work through what was asked for until cancelled; first what an earlier process left."""
        await self._runner.run()

    async def _rebuild(self, operation: LongOperation, report: Report) -> str:
        total = operation.total
        if not total or not await self._calendar.forced():
            # not begun yet, or begun by another process, which marked what is to be done in a calendar of its own
            since = date.fromisoformat(operation.since) if operation.since else None
            memory = MemoryName(operation.memory) if operation.memory else None
            scopes = await self._scopes(Tenant(operation.tenant), memory)
            total = sum([await self._calendar.force(scope=scope, since=since) for scope in scopes])
            report(0, total)
        await self._until_done(total, report)
        report(total, total)
        return f"{total} pieces written anew"

    async def _until_done(self, total: int, report: Report) -> None:
        """Sweep until nothing is due by force; a model or a store that is away is waited for."""
        waits = pauses(first=0.5, longest=30.0)
        stuck, before = 0, -1
        async with tasks.group() as group:
            looking = group.create_task(self._look(total, report), name="summarize.rebuild.look")
            while left := await self._calendar.forced():
                stuck = stuck + 1 if left == before else 0
                if stuck >= _STUCK_LOOKS:
                    raise KalendsError(f"{left} pieces could not be written; the log says why")
                before = left
                try:
                    await self._keep.sweep()
                except KalendsError as error:
                    log.warning("the rebuild waits", kind=error.code, dependency=error.dependency)
                    stuck = 0
                    await asyncio.sleep(next(waits))
            looking.cancel()

    async def _look(self, total: int, report: Report) -> None:
        while True:
            report(max(total - await self._calendar.forced(), 0), total)
            await asyncio.sleep(_LOOK_S)

    async def _scopes(self, tenant: Tenant, memory: MemoryName | None) -> list[Scope]:
        if memory is not None:
            return [(await self._memories.find(Scope(tenant, memory))).scope]
        return [one.scope for one in await self._memories.of_tenant(tenant)]

    async def _extent(self, scope: Scope, since: date | None) -> Extent:
        events, nodes, days = 0, 0, set[date]()
        after: Unit | None = None
        while page := await self._calendar.units(scope=scope, since=since, after=after, limit=_PAGE):
            for unit in page:
                found = len(await events_of(self._timeline, unit))
                events += found
                nodes += len(await self._calendar.segments(unit))
                if found:
                    days.add(unit.day)
            after = page[-1]
        above = {period for day in days for period in Period("segment", day).ancestors}
        known = await self._calendar.newest(scope, sorted(above, key=_order))
        return Extent(events=events, days=len(days), nodes=nodes + sum(not node.gone for node in known.values()))


def _order(period: Period) -> tuple[int, date]:
    return LEVELS.index(period.level), period.first
