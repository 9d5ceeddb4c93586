"""The timeline's follower: reads the log from the timeline's own floor and applies it, batch by batch; to the calendar, too.

Belongs here: that one loop, which every process with a timeline runs. Does not belong here: durable consumers (``index``). A newcomer would
get wrong: a floor is stored in the same transaction as the rows, so there is nothing to acknowledge and nothing to repeat; the calendar has
a floor of its own and is written second, so it never knows of an event that the timeline does not.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing

import structlog

from kalends.domain.errors import KalendsError
from kalends.domain.events import microseconds, moment
from kalends.domain.periods import day_of
from kalends.domain.positions import Position, covers, highest
from kalends.kit import failpoints
from kalends.kit.backoff import pauses
from kalends.kit.traffic import Traffic, patience
from kalends.ports.calendar import Calendar, NodesErased, NodeStored, Touched, Unit
from kalends.ports.clock import Clock
from kalends.ports.log import Log, Message
from kalends.ports.timeline import Erased, Retracted, Timeline, TimelineEntry
from kalends.wire.reader import Opened, OpenedErasure, OpenedEvent, OpenedNode, OpenedRetraction, Reader, Unreadable

log = structlog.get_logger(__name__)

_BREATH_S = 0.03
"""After a small batch: each is a synced transaction that the log's own syncs wait for, so a trickle is gathered."""

_GIVE_WAY_S = 2.0
_NO_WAY_S = 20.0
"""A timeline that is so far behind gives way no more: ingest must be able to trust it (``ingest.usecases.WINDOW_TRUST_S``)."""


class TimelineFollower:
    """Keeps a timeline up with the log. ``behind_s`` is what ingest asks before it trusts a lookup."""

    def __init__(
        self,
        *,
        source: Log,
        timeline: Timeline,
        reader: Reader,
        clock: Clock,
        batch: int,
        moved: Callable[[], None],
        traffic: Traffic,
        calendar: Calendar | None = None,
    ) -> None:
        self._source = source
        self._timeline = timeline
        self._reader = reader
        self._clock = clock
        self._batch = batch
        self._moved = moved
        self._traffic = traffic
        self._calendar = calendar
        self._caught_up_at: float | None = None
        self._had_some = False
        self._known = asyncio.Event()
        self.failure: str | None = None

    @property
    def behind_s(self) -> float:
        """Seconds since the timeline last knew everything that the log held; infinite before the first time."""
        return float("inf") if self._caught_up_at is None else self._clock.monotonic() - self._caught_up_at

    @property
    def is_new(self) -> bool:
        """Whether what the timeline tells may lack nearly everything: a new one, or one that was left for long, is still being made.

        No longer once it has caught up; nor if it cannot be followed now and is not empty, for a full disk must not keep it from telling
        what it has.
        """
        return not self._known.is_set()

    async def known(self) -> None:
        """Return once it is not new."""
        await self._known.wait()

    async def run(self) -> None:
        """Follow until cancelled; after a failure, go on from the stored floor."""
        waits = pauses(first=0.2, longest=5.0)
        while True:
            try:
                await self._follow()
            except KalendsError as error:
                self.failure = error.detail
                if self._had_some:
                    self._known.set()
                log.warning("timeline follower starts over", reason=error.detail, kind=error.code)
                await asyncio.sleep(next(waits))

    async def _follow(self) -> None:
        floors = await self._floors()
        self._had_some = any(floors.values())
        asked_at = self._clock.monotonic()
        heads = await self._source.heads()
        if covers(floors, heads):
            # said at once: else a restarted process would refuse writes until the log moves or the first wait for it is over
            self._caught_up(asked_at)
        async with aclosing(self._source.follow(after=floors, limit=self._batch)) as batches:
            async for messages in batches:
                if messages:
                    await self._traffic.give_way(at_most=patience(self.behind_s, longest=_GIVE_WAY_S, gone_after=_NO_WAY_S))
                    floors |= highest(message.position for message in messages)
                    await self._apply(messages, floors)
                    self._moved()
                elif not covers(floors, heads) and await self._source.has_none(after=floors, upto=heads):
                    # erased since, at a stream's end: nothing will ever come of it, and whoever waits for this floor would wait for ever
                    floors |= {stream: max(head, floors.get(stream, 0)) for stream, head in heads.items()}
                    await self._apply([], floors)
                    self._moved()
                self.failure = None
                if covers(floors, heads):
                    self._caught_up(asked_at)
                    asked_at = self._clock.monotonic()
                    heads = await self._source.heads()
                if 0 < len(messages) < self._batch:
                    await asyncio.sleep(_BREATH_S)

    def _caught_up(self, at: float) -> None:
        self._caught_up_at = at
        self._known.set()

    async def _floors(self) -> dict[str, int]:
        """Where to go on: what either of the two does not have yet is read again, and changes nothing in the other."""
        floors = dict(await self._timeline.floors())
        if self._calendar is not None:
            others = await self._calendar.floors()
            floors = {stream: min(floor, others.get(stream, 0)) for stream, floor in floors.items()}
        return floors

    async def _apply(self, messages: Sequence[Message], floors: dict[str, int]) -> None:
        changes: list[TimelineEntry | Retracted | Erased] = []
        opened = await self._reader.open(messages)
        for one in opened:
            match one:
                case OpenedEvent():
                    changes.append(one.timeline_entry())
                case OpenedRetraction():
                    changes.append(one.retracted())
                case OpenedErasure():
                    # before anything is made anew of what is left, or it would be sealed under a key that is gone
                    self._reader.forget()
                    changes.append(one.erased())
                case Unreadable(position=Position(stream=stream, sequence=sequence), reason=reason, erased=False):
                    log.error("message cannot be read", stream=stream, sequence=sequence, reason=reason)
        await failpoints.reach("timeline.before-put")
        await self._timeline.put(changes, floors=floors)
        await failpoints.reach("timeline.after-put")
        if self._calendar is not None:
            await self._calendar.put(await self._calendar_changes(opened), floors=floors)

    async def _calendar_changes(self, opened: Sequence[Opened]) -> list[Touched | NodeStored | NodesErased | Erased]:
        changes: list[Touched | NodeStored | NodesErased | Erased] = []
        for one in opened:
            match one:
                # what not everybody may see is left out: a line of the calendar is shown to all, and would tell it
                case OpenedEvent() if one.event.document_id is None and not one.event.facets.labels:
                    occurred_us = microseconds(one.event.occurred_at)
                    recorded_us = microseconds(one.event.recorded_at)
                    unit = Unit(scope=one.scope, session_id=one.event.facets.session_id, day=one.event.occurred_at.date())
                    changes.append(Touched(unit=unit, version=one.position.version, occurred_us=occurred_us, recorded_us=recorded_us))
                case OpenedRetraction():
                    changes += await self._untouched(one)
                case OpenedNode():
                    changes.append(one.stored())
                case OpenedErasure():
                    changes += [one.erased(), one.nodes()]
        return changes

    async def _untouched(self, retraction: OpenedRetraction) -> list[Touched]:
        """The units that lose an event; one that came after its retraction never was in any."""
        known = await self._timeline.lookup(retraction.scope, retraction.keys)
        return [
            Touched(
                unit=Unit(scope=retraction.scope, session_id=one.session, day=day_of(moment(one.occurred_us)).first),
                version=retraction.position.version,
                occurred_us=one.occurred_us,
                recorded_us=retraction.recorded_us,
            )
            for one in known.values()
        ]
