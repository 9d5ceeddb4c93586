"""Reading the calendar: years, a node and its versions, what lies below it, its evidence, and what was said around a grip.

Belongs here: the use cases over the calendar and the log. Does not belong here: JSON (``calendar_routes``), searching nodes (``targets``).
A newcomer would get wrong: a period without a node and a node of which nothing is left are both unknown (404); only what was erased or
taken back on purpose is gone (410).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from kalends.domain.calendar import Grip
from kalends.domain.errors import Gone, NotFound
from kalends.domain.events import EventKey, event_key
from kalends.domain.labels import Clearance
from kalends.domain.periods import Period
from kalends.domain.queries import TARGETS, Criteria, Filter
from kalends.domain.scope import Scope
from kalends.ports.calendar import Calendar, KnownNode
from kalends.ports.clock import Clock
from kalends.ports.timeline import Known, Timeline
from kalends.search.hydration import Hydrator
from kalends.wire.memories import MemoryRegistry
from kalends.wire.node_store import NodeStore
from kalends.wire.reader import OpenedEvent, OpenedNode

SPAN = 500
"""Events of a grip's span that are shown at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of a node: its content, its number, and the number of the newest."""

    opened: OpenedNode
    number: int
    newest: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """Nodes in order, and the last period that was looked at if there may be more."""

    nodes: Sequence[Version]
    after: Period | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Proofs:
    """Grips of version ``number`` of a node, each once, and how many of them come up to here if there are more."""

    grips: Sequence[Grip]
    number: int
    after: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Expanded:
    """A grip, the segment it stands in, its span from first to last event, and the session's events around it, all in order.

    ``truncated``: the span goes on beyond what is shown.
    """

    grip: Grip
    node: OpenedNode
    before: Sequence[OpenedEvent]
    span: Sequence[OpenedEvent]
    after: Sequence[OpenedEvent]
    truncated: bool


class ReadCalendar:
    """The calendar of one memory, as it is and as it was."""

    def __init__(
        self,
        *,
        calendar: Calendar,
        nodes: NodeStore,
        timeline: Timeline,
        hydrator: Hydrator,
        memories: MemoryRegistry,
        clock: Clock,
    ) -> None:
        self._calendar = calendar
        self._nodes = nodes
        self._timeline = timeline
        self._hydrator = hydrator
        self._memories = memories
        self._clock = clock

    async def years(self, scope: Scope, *, after: Period | None, limit: int) -> Listed:
        """Up to *limit* years, oldest first."""
        await self._memories.find(scope)
        return await self._listed(scope, await self._calendar.years(scope, after=after, limit=limit + 1), limit=limit)

    async def node(self, scope: Scope, period: Period, *, number: int | None = None) -> Version:
        """A node, in its newest version or in that of *number*.

        Raises:
            NotFound: there is no such node or version, or nothing is left of the node. Gone: it was erased.
        """
        await self._memories.find(scope)
        known = await self._known(scope, period)
        position = known.position if number is None else await self._calendar.version(scope, period, number)
        if position is None:
            raise NotFound("no such version")
        (opened,) = await self._nodes.read(scope, [position])
        if opened is None:
            raise Gone("the node was erased")
        if opened.node.gone:
            raise NotFound("nothing was left of the node in this version")
        return Version(opened=opened, number=known.number if number is None else number, newest=known.number)

    async def children(self, scope: Scope, period: Period, *, after: Period | None, limit: int) -> Listed:
        """Up to *limit* of the nodes below a node, oldest first; below a segment there are none.

        Raises:
            NotFound: there is no such node, or nothing is left of it.
        """
        await self._memories.find(scope)
        await self._known(scope, period)
        found = await self._calendar.children(scope, period, after=after, limit=limit + 1)
        return await self._listed(scope, found, limit=limit)

    async def grips(self, scope: Scope, period: Period, *, number: int | None, after: int, limit: int) -> Proofs:
        """Up to *limit* grips of a node's lines, in their order, after so many; of version *number*, or of the newest.

        Raises:
            NotFound, Gone: as ``node``.
        """
        version = await self.node(scope, period, number=number)
        every = list({grip.id: grip for bullet in version.opened.node.bullets for grip in bullet.grips}.values())
        end = after + limit
        return Proofs(grips=every[after:end], number=version.number, after=end if end < len(every) else None)

    async def expand(self, scope: Scope, grip_id: str, *, before: int, after: int, clearance: Clearance) -> Expanded:
        """A grip with its span, and *before* and *after* events around it in its session, however far apart in time.

        Of the span and of what is around it only what *clearance* lets see; the evidence itself has no labels.

        Raises:
            NotFound: there is no such grip. Gone: it was erased, or its event was taken back.
        """
        await self._memories.find(scope)
        grip, node = await self._grip(scope, grip_id)
        first_key, last_key = event_key(scope, grip.first), event_key(scope, grip.last)
        known = await self._timeline.lookup(scope, [first_key, last_key])
        first, last = known.get(first_key), known.get(last_key)
        if first is None:
            raise NotFound("no such grip")
        if first.retracted:
            raise Gone("the event of the grip was taken back")
        criteria = Filter(targets=TARGETS, clearance=clearance).criteria()
        places = await self._places(scope, first, last, before=before, after=after, criteria=criteria)
        opened = await self._hydrator.known(scope, places.every, now=self._clock.now(), clearance=clearance)
        events = {one.key: one for one in opened}
        if first_key not in events:
            raise NotFound("no such grip")
        return Expanded(
            grip=grip,
            node=node,
            before=[events[one.key] for one in places.before if one.key in events],
            span=[events[one.key] for one in places.span if one.key in events],
            after=[events[one.key] for one in places.after if one.key in events],
            truncated=places.truncated,
        )

    async def _known(self, scope: Scope, period: Period) -> KnownNode:
        known = (await self._calendar.newest(scope, [period])).get(period)
        if known is None or known.gone:
            raise NotFound("no such node")
        return known

    async def _listed(self, scope: Scope, known: Sequence[KnownNode], *, limit: int) -> Listed:
        """The nodes that can be read; one whose key was destroyed meanwhile is left out."""
        shown = known[:limit]
        opened = await self._nodes.read(scope, [one.position for one in shown])
        versions = [
            Version(opened=node, number=one.number, newest=one.number) for one, node in zip(shown, opened, strict=True) if node is not None
        ]
        return Listed(nodes=versions, after=shown[-1].period if len(known) > limit else None)

    async def _grip(self, scope: Scope, grip_id: str) -> tuple[Grip, OpenedNode]:
        position = (await self._calendar.grips(scope, [grip_id])).get(grip_id)
        if position is None:
            raise NotFound("no such grip")
        (node,) = await self._nodes.read(scope, [position])
        if node is None:
            raise Gone("the grip was erased")
        for bullet in node.node.bullets:
            for grip in bullet.grips:
                if grip.id == grip_id:
                    return grip, node
        raise NotFound("no such grip")

    async def _places(self, scope: Scope, first: Known, last: Known | None, *, before: int, after: int, criteria: Criteria) -> "_Places":
        """Where the events of a span and around it are.

        Where the last event was taken back, or moved to another session, the span ends with the last one that is not later than it was.
        """
        last = last or first
        within = 0 if last.key == first.key else SPAN
        around = await self._timeline.around(scope, first.key, before=before, after=within, criteria=criteria)
        keys: list[EventKey] = [one.key for one in around]
        if first.key not in keys:
            return _Places(before=(), span=(), after=())
        start = keys.index(first.key)
        if last.key in keys[start:]:
            length = keys.index(last.key) + 1 - start
        else:
            length = max(1, sum(one.occurred_us <= last.occurred_us for one in around[start:]))
        span = around[start : start + min(length, SPAN)]
        truncated = length > SPAN
        end = last if truncated and last.session == first.session else span[-1]
        rest = await self._timeline.around(scope, end.key, before=0, after=after, criteria=criteria)
        return _Places(before=around[:start], span=span, after=rest[1:], truncated=truncated)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Places:
    before: Sequence[Known]
    span: Sequence[Known]
    after: Sequence[Known]
    truncated: bool = False

    @property
    def every(self) -> Sequence[Known]:
        return [*self.before, *self.span, *self.after]
