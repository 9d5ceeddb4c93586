"""Cutting: a unit (one session on one day) to segment nodes.

Belongs here: reading a unit's events, and which of its segments need a new version. Does not belong here: where to cut
(``domain.segments``), or what to say (``ports.summarizer``). A newcomer would get wrong: a unit is always cut whole, from what the timeline
knows now; so late, back-dated and retracted events need no case of their own, and a segment that is no longer cut is marked as gone.
"""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence

from kalends.domain.calendar import Bullet, Material, Node, Passage, Summary, grip_of
from kalends.domain.events import EventId, EventKey, microseconds, speaker
from kalends.domain.periods import Period
from kalends.domain.queries import Criteria, Filter
from kalends.domain.segments import Cutting, Segment, Step, cut
from kalends.ports.calendar import Calendar, DueUnit, KnownNode, Unit
from kalends.ports.clock import Clock
from kalends.ports.log import Log
from kalends.ports.models import Tokenizer
from kalends.ports.summarizer import Summarizer
from kalends.ports.timeline import Known, Timeline
from kalends.wire.node_store import Proposed
from kalends.wire.reader import OpenedEvent, Reader

_PAGE = 1000
_OPENED_AT_ONCE = 200
_FEWEST_TOKENS = 1
"""What an event without text counts, so that a segment never has endlessly many of them."""


class CutUnits:
    """Segments of units."""

    def __init__(
        self,
        *,
        calendar: Calendar,
        timeline: Timeline,
        source: Log,
        reader: Reader,
        summarizer: Summarizer,
        tokenizer: Tokenizer,
        clock: Clock,
        cutting: Cutting,
    ) -> None:
        self._calendar = calendar
        self._timeline = timeline
        self._source = source
        self._reader = reader
        self._summarizer = summarizer
        self._tokenizer = tokenizer
        self._clock = clock
        self._cutting = cutting

    async def __call__(self, due: DueUnit) -> list[Proposed]:
        """The segments of the unit that are new, changed or gone; all of them if it is forced.

        Raises:
            Unavailable, DeadlineExceeded: a store or a model is away; the unit stays due.
        """
        unit = due.unit
        known = {one.key: one for one in await events_of(self._timeline, unit)}
        segments = cut(unit.session_id, await self._steps(unit, known), cutting=self._cutting)
        held = {node.period: node for node in await self._calendar.segments(unit)}
        newest = {**await self._calendar.newest(unit.scope, [segment.period for segment in segments]), **held}
        proposed = []
        for segment in segments:
            inputs = self._inputs(segment)
            before = newest.get(segment.period)
            if before is None or before.gone or before.inputs != inputs or due.forced:
                proposed.append(Proposed(node=await self._written(unit, segment, known, inputs), newest=before))
        proposed = [one for one in proposed if one.newest is not None or not one.node.gone]
        kept = {segment.period for segment in segments}
        return [*proposed, *(_taken_back(unit, node) for period, node in held.items() if period not in kept)]

    async def _steps(self, unit: Unit, known: Mapping[EventKey, Known]) -> list[Step]:
        counts = dict(await self._calendar.tokens(unit))
        uncounted = [one for key, one in known.items() if key not in counts]
        for start in range(0, len(uncounted), _OPENED_AT_ONCE):
            opened = await self._opened(uncounted[start : start + _OPENED_AT_ONCE])
            texts = [one.event.text for one in opened]
            tokens = await asyncio.to_thread(lambda texts=texts: [self._tokenizer.count(text) for text in texts])  # type: ignore[misc]
            fresh = {one.key: count for one, count in zip(opened, tokens, strict=True)}
            await self._calendar.remember_tokens(unit, fresh)
            counts |= fresh
        return [
            Step(
                event_id=one.event_id,
                occurred_us=one.occurred_us,
                version=one.position.version,
                tokens=max(counts[key], _FEWEST_TOKENS),
            )
            for key, one in known.items()
            if key in counts
        ]

    async def _opened(self, known: Sequence[Known]) -> list[OpenedEvent]:
        """Those of *known* that can be read and have not expired."""
        now = self._clock.now()
        messages = await self._source.read([one.position for one in known])
        opened = await self._reader.open([message for message in messages if message is not None])
        return [one for one in opened if isinstance(one, OpenedEvent) and (one.event.expires_at is None or one.event.expires_at > now)]

    def _inputs(self, segment: Segment) -> str:
        named = "\0".join([self._summarizer.identity, *(f"{step.event_id} {step.version}" for step in segment.steps)])
        return hashlib.blake2b(named.encode(), digest_size=16).hexdigest()

    async def _written(self, unit: Unit, segment: Segment, known: Mapping[EventKey, Known], inputs: str) -> Node:
        by_id = {one.event_id: one for one in known.values()}
        opened = await self._opened([by_id[step.event_id] for step in segment.steps])
        if not opened:  # what was counted once has expired since
            return _nothing(segment.period, unit.session_id, first_us=segment.steps[0].occurred_us, last_us=segment.steps[-1].occurred_us)
        events = {one.event.id: one for one in opened}
        passages = tuple(
            Passage(
                key=event_id,
                speaker=speaker(one.event.facets),
                text=one.event.text,
                occurred_us=microseconds(one.event.occurred_at),
            )
            for event_id, one in events.items()
        )
        material = Material(period=segment.period, passages=passages)
        summary = await self._summarizer.summarize(material, memory=unit.scope.key)
        return Node(
            period=segment.period,
            title=summary.title,
            bullets=_bullets(summary, events),
            keywords=summary.keywords,
            children=(),
            events=tuple(events),
            event_count=len(events),
            first_us=segment.steps[0].occurred_us,
            last_us=segment.steps[-1].occurred_us,
            agents=_agents(opened),
            session_id=unit.session_id,
            author=summary.author,
            degraded=summary.degraded,
            inputs=inputs,
        )


def _taken_back(unit: Unit, known: KnownNode) -> Proposed:
    node = _nothing(known.period, unit.session_id, first_us=known.first_us, last_us=known.last_us)
    return Proposed(node=node, newest=known)


async def events_of(timeline: Timeline, unit: Unit) -> list[Known]:
    """The unit's live events, in their order; documents are no part of the calendar."""
    start, end = Period("day", unit.day).span_us
    asked = Filter(session_id=(unit.session_id,), targets=("events",)).criteria()
    criteria = Criteria(any_of=asked.any_of, since_us=start, until_us=end)
    found: list[Known] = []
    after: tuple[int, int] | None = None
    while True:
        page = await timeline.page(unit.scope, criteria=criteria, after=after, descending=False, limit=_PAGE)
        found += page
        if len(page) < _PAGE:
            return found
        after = (page[-1].occurred_us, page[-1].position.version)


def _agents(opened: Sequence[OpenedEvent]) -> tuple[str, ...]:
    """Who is named as having said something; the names of tools are not those of agents."""
    said = (one.event.facets for one in opened if one.event.facets.role != "tool")
    return tuple(sorted({facets.actor for facets in said if facets.actor is not None}))


def _bullets(summary: Summary, events: Mapping[EventId, OpenedEvent]) -> tuple[Bullet, ...]:
    bullets = []
    for claim in summary.claims:
        grips = []
        for piece in claim.evidence:
            event = events[EventId(piece.key)].event
            grips.append(
                grip_of(
                    piece.excerpt,
                    first=event.id,
                    last=event.id,
                    session_id=event.facets.session_id,
                    occurred_us=microseconds(event.occurred_at),
                    speaker=speaker(event.facets),
                )
            )
        bullets.append(Bullet(text=claim.text, grips=tuple(grips)))
    return tuple(bullets)


def _nothing(period: Period, session_id: str, *, first_us: int, last_us: int) -> Node:
    """A segment of which nothing is left."""
    return Node(period=period, first_us=first_us, last_us=last_us, session_id=session_id, gone=True)
