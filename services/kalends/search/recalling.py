"""The far past of a context: lines of the calendar in the place of events.

Belongs here: which nodes are asked, and which of their lines are offered. Does not belong here: which lines fit (``domain.contexts``). A
newcomer would get wrong: a filter by what only events have (a session, an actor) cannot be met by a line that sums up several of them, so
then nothing is recalled.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import structlog

from kalends.domain.contexts import Recalled
from kalends.domain.errors import Damaged, DeadlineExceeded, Unavailable
from kalends.domain.events import microseconds, moment
from kalends.domain.queries import Filter
from kalends.domain.scope import Scope
from kalends.ports.calendar import Calendar, KnownNode
from kalends.ports.clock import Clock
from kalends.search.targets import FindNodes
from kalends.search.usecases import Found, Query
from kalends.wire.node_store import NodeStore
from kalends.wire.reader import OpenedNode

log = structlog.get_logger(__name__)

NEAR = timedelta(days=14)
"""What happened since then is told by events."""

_NODES = 8
_LEVELS = ("day", "week")
_WIDEST = timedelta(days=7)
_MONTHS = 3
_FIRST = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bounds:
    since: datetime | None
    until: datetime

    def hold(self, occurred_us: int) -> bool:
        return occurred_us < microseconds(self.until) and (self.since is None or occurred_us >= microseconds(self.since))


class RecallFarPast:
    """Lines of the calendar of one memory that are older than two weeks."""

    def __init__(self, *, find: FindNodes, calendar: Calendar, nodes: NodeStore, clock: Clock) -> None:
        self._find = find
        self._calendar = calendar
        self._nodes = nodes
        self._clock = clock

    async def __call__(
        self, scope: Scope, query: Query | None, *, filters: Filter, found: Found | None
    ) -> tuple[tuple[Recalled, ...], tuple[str, ...]]:
        """The lines that may matter for *query*, best first, or without one those of the last months; and what was missing.

        *found* is what the same question found among the events: a stretch of time that it was narrowed to holds here too.
        """
        if filters.of_events or not await self._calendar.years(scope, limit=1):
            return (), ()
        bounds = self._bounds(filters, found)
        try:
            nodes = await (self._last_months(scope) if query is None else self._best(scope, query, bounds))
        except (Unavailable, DeadlineExceeded, Damaged) as error:
            log.warning("calendar not asked", kind=error.code)
            return (), ("toc",)
        return tuple(_lines(nodes, bounds)), ()

    def _bounds(self, filters: Filter, found: Found | None) -> _Bounds:
        since, until, near = filters.since, filters.until, self._clock.now() - NEAR
        if found is not None and found.time is not None and found.time.stretch.firm and found.time.applied:
            since, until = found.time.stretch.since, found.time.stretch.until
        return _Bounds(since=since, until=near if until is None else min(until, near))

    async def _best(self, scope: Scope, query: Query, bounds: _Bounds) -> list[OpenedNode]:
        # a node that began before may still hold lines of later days
        since = None if bounds.since is None or bounds.since < _FIRST + _WIDEST else bounds.since - _WIDEST
        asked = Filter(targets=("toc",), level=_LEVELS, since=since, until=bounds.until, clearance=query.filter.clearance)
        answer = await self._find(scope, replace(query, limit=_NODES, filter=asked, wanted=None, zone=None))
        return [hit.opened for hit in answer.hits]

    async def _last_months(self, scope: Scope) -> list[OpenedNode]:
        known: list[KnownNode] = []
        for year in reversed(await self._calendar.years(scope)):
            known += reversed(await self._calendar.children(scope, year.period))
            if len(known) >= _MONTHS:
                break
        opened = await self._nodes.read(scope, [one.position for one in known[:_MONTHS]])
        return [one for one in opened if one is not None]


def _lines(nodes: Iterable[OpenedNode], bounds: _Bounds) -> Iterable[Recalled]:
    for opened in nodes:
        for bullet in opened.node.bullets:
            grip = bullet.grips[0]
            if bounds.hold(grip.occurred_us):
                yield Recalled(grip_id=grip.id, event_id=grip.first, occurred_at=moment(grip.occurred_us), text=bullet.text)
