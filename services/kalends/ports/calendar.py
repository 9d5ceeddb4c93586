"""The calendar: which nodes exist in which version, where in the log they are, and what is still to be done.

It is a projection like the timeline: each process that needs it follows the log by itself, and its floor is stored in the same transaction
as its rows. It holds no text. A newcomer would get wrong: a version's number is its place among the messages of its node, so every process
that follows the same log counts the same; a message that changes nothing counts as no version.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from kalends.domain.events import EventId, EventKey
from kalends.domain.periods import Level, Period
from kalends.domain.positions import Position
from kalends.domain.queries import Digest, Held
from kalends.domain.scope import Scope
from kalends.ports.timeline import Erased


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What is cut into segments at once: one session on one day, in UTC."""

    scope: Scope
    session_id: str
    day: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """Something of a unit came or went with the message of ``version``.

    ``occurred_us`` is when it happened, ``recorded_us`` when it came.
    """

    unit: Unit
    version: int
    occurred_us: int
    recorded_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStored:
    """One version of a node as the calendar learns it.

    ``content_mac`` tells the same content from another; ``grips`` are pairs of a grip's id and the event that its excerpt is of.
    """

    scope: Scope
    key: EventKey
    period: Period
    position: Position
    content_mac: bytes
    inputs: str
    session_id: str
    first_us: int
    last_us: int
    event_count: int
    degraded: str
    gone: bool
    recorded_us: int
    grips: tuple[tuple[str, EventId], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasedNode:
    """A node whose messages are erased; ``number`` is that of its newest version when that was decided, from which the next one goes on."""

    key: EventKey
    period: Period
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodesErased:
    """Nodes of which every message before this one of the log is erased for ever, also where the calendar never saw them.

    Such a node is one that is gone until a new version is written, and what it is made of becomes due. Engines get a tombstone of the
    version of ``position`` for each. ``recorded_us`` is when the message came.
    """

    scope: Scope
    nodes: tuple[ErasedNode, ...]
    position: Position
    recorded_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeHistory:
    """A node with the places of all its messages, repeats included, oldest first: those that stand, and those that were ``erased``.

    ``number`` is that of its newest version, erased or not.
    """

    key: EventKey
    period: Period
    number: int
    standing: tuple[Position, ...]
    erased: tuple[Position, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownNode:
    """What the calendar knows of the newest version of a node; ``number`` counts from 1."""

    key: EventKey
    period: Period
    number: int
    position: Position
    content_mac: bytes
    inputs: str
    session_id: str
    first_us: int
    last_us: int
    event_count: int
    degraded: str
    gone: bool
    recorded_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DueUnit:
    """A unit that is to be cut: ``version`` is the newest change of it; ``last_us`` the latest moment that any event of it had.

    ``since_us`` and ``until_us`` are when the first and the newest unworked change came; ``forced``: to be written again even if nothing
    changed.
    """

    unit: Unit
    version: int
    last_us: int
    since_us: int
    until_us: int
    forced: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DuePeriod:
    """A day, week, month or year whose children changed, up to ``version``."""

    scope: Scope
    period: Period
    version: int
    forced: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What is still to be done, and since when the oldest of it waits (microseconds; None if nothing does)."""

    units: int = 0
    periods: int = 0
    since_us: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarStats:
    """Counts of one memory: live nodes by level, grips that can be asked for, versions of all nodes."""

    nodes: Mapping[Level, int]
    grips: int = 0
    versions: int = 0


class Calendar(Protocol):
    """Nodes of the calendar and the work that is due on it."""

    async def floors(self) -> Mapping[str, int]:
        """Per stream, the sequence up to which the calendar has followed the log."""
        ...

    async def put(self, changes: Sequence[Touched | NodeStored | NodesErased | Erased], *, floors: Mapping[str, int]) -> None:
        """Apply *changes* and advance to *floors* in one transaction; the same again changes nothing.

        A node's new version makes its parent due. Of erased events the counts of tokens are forgotten, and the units of erased sessions
        as far as nothing newer came; of erased nodes the grips, and their units and periods become due.
        """
        ...

    async def histories(self, units: Sequence[Unit]) -> Sequence[NodeHistory]:
        """Every node whose period holds one of *units*, those that are gone included: its segments, and the day, week, month and year.

        What is erased already has no session any more, so its segments are only found by their keys (``histories_by_keys``).
        """
        ...

    async def histories_by_keys(self, scope: Scope, keys: Sequence[EventKey]) -> Sequence[NodeHistory]:
        """Those of the nodes *keys* that are known, the erased included; after ``NodesErased``, what is to be taken out of the log."""
        ...

    async def erased(self, scope: Scope, period: Period) -> int:
        """The number up to which the versions of a node were erased; 0 if none was."""
        ...

    async def newest(self, scope: Scope, periods: Sequence[Period]) -> Mapping[Period, KnownNode]:
        """The newest version of each of *periods* that has one, also if it is gone."""
        ...

    async def by_keys(self, scope: Scope, keys: Sequence[EventKey]) -> Mapping[EventKey, KnownNode]:
        """The newest version of each node of *keys* that is not gone."""
        ...

    async def version(self, scope: Scope, period: Period, number: int) -> Position | None:
        """Where in the log version *number* of a node stands; None if it was never there, or is erased (``erased``)."""
        ...

    async def years(self, scope: Scope, *, after: Period | None = None, limit: int = 1000) -> Sequence[KnownNode]:
        """The years that are not gone, oldest first, after *after*."""
        ...

    async def children(self, scope: Scope, period: Period, *, after: Period | None = None, limit: int = 1000) -> Sequence[KnownNode]:
        """The newest versions of the children that are not gone, by first event, then period; after the child *after*."""
        ...

    async def segments(self, unit: Unit) -> Sequence[KnownNode]:
        """The segments of a unit that are not gone, oldest first."""
        ...

    async def grips(self, scope: Scope, ids: Sequence[str]) -> Mapping[str, Position]:
        """Where in the log the newest segment stands that has the grip, for each of *ids* that is known."""
        ...

    async def grips_of(self, scope: Scope, events: Sequence[EventId]) -> Mapping[EventId, Sequence[str]]:
        """The ids of the grips whose excerpt is of each of *events* that has one, in a fixed order; also of segments that were replaced."""
        ...

    async def due_units(
        self, *, quiet_before_us: int, ended_before: date, settled_before_us: int, limit: int, held: Collection[Scope] = ()
    ) -> Sequence[DueUnit]:
        """Units to be cut, oldest day first.

        Due is what changed, if its last event lies before *quiet_before_us* or its day before *ended_before*, and if the newest change
        came before *settled_before_us*; but nothing of the memories *held*.
        """
        ...

    async def due_periods(self, level: Level, *, limit: int, held: Collection[Scope] = ()) -> Sequence[DuePeriod]:
        """Periods of *level* to be rolled, oldest first; none of the memories *held*."""
        ...

    async def settle_unit(self, unit: Unit, *, version: int, forced: bool = True) -> None:
        """The unit was cut as of *version*; a newer change leaves it due, and unless it was cut by force, a force does."""
        ...

    async def settle_period(self, scope: Scope, period: Period, *, version: int, forced: bool = True) -> None:
        """The period was rolled as of *version*; a child's newer change leaves it due, and unless it was rolled by force, a force does."""
        ...

    async def tokens(self, unit: Unit) -> Mapping[EventKey, int]:
        """Tokens of the unit's events as far as they were counted."""
        ...

    async def remember_tokens(self, unit: Unit, tokens: Mapping[EventKey, int]) -> None:
        """Keep counts of the unit's events for the next time; counts of events that are no longer there do no harm."""
        ...

    async def force(self, *, scope: Scope | None, since: date | None) -> int:
        """Make every unit on or after *since*, and every period above one, due again; how many units and periods that are."""
        ...

    async def units(self, *, scope: Scope | None, since: date | None, after: Unit | None, limit: int) -> Sequence[Unit]:
        """Every unit that ever had an event, on or after *since*, in a fixed order, after *after*."""
        ...

    async def retry_degraded(self, reasons: Sequence[str], *, before_us: int, limit: int) -> int:
        """Make nodes due again that were degraded for one of *reasons* and written before *before_us*; how many."""
        ...

    async def backlog(self) -> Backlog: ...

    async def forced(self) -> int:
        """How many units and periods are due by force."""
        ...

    async def stats(self, scope: Scope) -> CalendarStats: ...

    async def digest(self) -> Digest:
        """The nodes of all memories, comparable with what the search projections hold of them."""
        ...

    async def scopes(self) -> Sequence[str]:
        """The calendars that have a node, by the key that engines know (``Scope.calendar.key``)."""
        ...

    async def inventory(self, scope_key: str, *, after: EventKey | None, limit: int) -> Sequence[Held]:
        """The nodes of one calendar by key, after the given one, as the search projections hold them: the version of the newest message."""
        ...

    async def held(self, scope_key: str, keys: Sequence[EventKey]) -> Sequence[Held]:
        """What is known of *keys*, those that are gone included."""
        ...

    async def compact(self) -> int:
        """Give back what is not needed; the bytes of disk that this freed."""
        ...
