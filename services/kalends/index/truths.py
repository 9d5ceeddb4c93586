"""Truths: what the search projections must hold, by kind of scope, as a projection of the log that is compared with a rebuild says it.

Belongs here: what the reconciler asks of one, and the timeline as the truth of events. Does not belong here: comparing (``reconciling``). A
newcomer would get wrong: a truth may lag behind the log too, so nothing is taken for wrong before truth and engine have both passed it.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from kalends.domain.events import EventKey
from kalends.domain.positions import Position
from kalends.domain.queries import Held
from kalends.domain.scope import Scope
from kalends.ports.calendar import Calendar
from kalends.ports.timeline import Timeline


class Truth(Protocol):
    """What there is, of one kind: the newest version of each key, and whether it is live or was taken back at that version."""

    @property
    def name(self) -> str:
        """What its floors are called in ``edge.progress``."""
        ...

    async def floors(self) -> Mapping[str, int]:
        """Per stream, how far it has followed the log."""
        ...

    async def scopes(self) -> Sequence[str]:
        """The keys of the scopes, as engines know them, of which it knows something."""
        ...

    async def inventory(self, scope_key: str, *, after: EventKey | None, limit: int) -> Sequence[Held]:
        """What there is of one scope, by key, after the given one; a piece shorter than *limit* is the last."""
        ...

    async def held(self, scope_key: str, keys: Sequence[EventKey]) -> Sequence[Held]:
        """What there is of *keys*."""
        ...

    async def places(self, scope: Scope, keys: Sequence[EventKey]) -> Mapping[EventKey, Position]:
        """Where in the log the newest version of each live one of *keys* stands."""
        ...

    async def count(self, scope: Scope) -> int:
        """How many live ones it says there are, by its own counters."""
        ...


class TimelineTruth:
    """The timeline as the truth of events and of chunks of documents."""

    name = "timeline"

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline

    async def floors(self) -> Mapping[str, int]:
        """Per stream, how far the timeline has followed the log."""
        return await self._timeline.floors()

    async def scopes(self) -> Sequence[str]:
        """The memories of which the timeline knows an event."""
        return await self._timeline.scopes()

    async def inventory(self, scope_key: str, *, after: EventKey | None, limit: int) -> Sequence[Held]:
        """The events of one memory, by key."""
        return await self._timeline.inventory(scope_key, after=after, limit=limit)

    async def held(self, scope_key: str, keys: Sequence[EventKey]) -> Sequence[Held]:
        """What the timeline knows of *keys*."""
        return await self._timeline.held(scope_key, keys)

    async def places(self, scope: Scope, keys: Sequence[EventKey]) -> Mapping[EventKey, Position]:
        """Where the events stand."""
        return {key: known.position for key, known in (await self._timeline.lookup(scope, keys)).items() if not known.retracted}

    async def count(self, scope: Scope) -> int:
        """Live events by the memory's counter."""
        return (await self._timeline.stats(scope)).events


class CalendarTruth:
    """The calendar as the truth of its nodes."""

    name = "toc"

    def __init__(self, calendar: Calendar) -> None:
        self._calendar = calendar

    async def floors(self) -> Mapping[str, int]:
        """Per stream, how far the calendar has followed the log."""
        return await self._calendar.floors()

    async def scopes(self) -> Sequence[str]:
        """The calendars that have a node."""
        return await self._calendar.scopes()

    async def inventory(self, scope_key: str, *, after: EventKey | None, limit: int) -> Sequence[Held]:
        """The nodes of one calendar, by key."""
        return await self._calendar.inventory(scope_key, after=after, limit=limit)

    async def held(self, scope_key: str, keys: Sequence[EventKey]) -> Sequence[Held]:
        """What the calendar knows of *keys*."""
        return await self._calendar.held(scope_key, keys)

    async def places(self, scope: Scope, keys: Sequence[EventKey]) -> Mapping[EventKey, Position]:
        """Where the nodes stand."""
        return {key: known.position for key, known in (await self._calendar.by_keys(scope.memory_itself, keys)).items()}

    async def count(self, scope: Scope) -> int:
        """Live nodes by the memory's counters."""
        return sum((await self._calendar.stats(scope.memory_itself)).nodes.values())
