"""Reading without ranking: events by id and by time, neighbours, sessions, documents; and the context for a prompt.

Belongs here: the use cases over the timeline. Does not belong here: JSON. A newcomer would get wrong: lists are ordered by when things
*happened* (``occurred_at``), so a back-dated event stands in its place, and a cursor stays right while others write.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from kalends.domain import contexts
from kalends.domain.errors import Gone, NotFound
from kalends.domain.events import EventId, EventKey, event_key, speaker
from kalends.domain.labels import Clearance
from kalends.domain.queries import TARGETS, Filter
from kalends.domain.scope import Scope
from kalends.ports.clock import Clock
from kalends.ports.models import Tokenizer
from kalends.ports.timeline import SessionSummary, Timeline
from kalends.search.hydration import Hydrator
from kalends.search.recalling import RecallFarPast
from kalends.search.usecases import FindMemories, Found, Query
from kalends.wire.memories import MemoryRegistry
from kalends.wire.reader import OpenedEvent

_CONTEXT_HITS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Events and, if there may be more, the place after the last one looked at (occurred_us, version)."""

    events: Sequence[OpenedEvent]
    after: tuple[int, int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """An event and its neighbours in the session, in order."""

    event: OpenedEvent
    before: Sequence[OpenedEvent]
    after: Sequence[OpenedEvent]


class ReadMemories:
    """Events of one memory, as they were."""

    def __init__(
        self,
        *,
        timeline: Timeline,
        hydrator: Hydrator,
        memories: MemoryRegistry,
        find: FindMemories,
        tokenizer: Tokenizer,
        clock: Clock,
        recall: RecallFarPast | None = None,
    ) -> None:
        self._timeline = timeline
        self._hydrator = hydrator
        self._memories = memories
        self._find = find
        self._tokenizer = tokenizer
        self._clock = clock
        self._recall = recall

    async def page(self, scope: Scope, *, filters: Filter, after: tuple[int, int] | None, descending: bool, limit: int) -> Page:
        """Up to *limit* events by (occurred_at, position)."""
        await self._memories.find(scope)
        known = await self._timeline.page(scope, criteria=filters.criteria(), after=after, descending=descending, limit=limit + 1)
        shown = known[:limit]
        more = (shown[-1].occurred_us, shown[-1].position.version) if len(known) > limit else None
        opened = await self._hydrator.known(scope, shown, now=self._clock.now(), clearance=filters.clearance)
        return Page(events=opened, after=more)

    async def event(self, scope: Scope, event_id: EventId, *, before: int, after: int, clearance: Clearance) -> Around:
        """One event with its neighbours.

        Raises:
            NotFound: there is none that may be seen. Gone: it was taken back, which is told only to who sees everything: of an erased
            event nobody knows any more who was allowed to see it.
        """
        await self._memories.find(scope)
        key = event_key(scope, event_id)
        known = (await self._timeline.lookup(scope, [key])).get(key)
        if known is None:
            raise NotFound("no such event")
        if known.retracted:
            raise Gone("the event was taken back") if clearance.labels is None else NotFound("no such event")
        criteria = Filter(targets=TARGETS, clearance=clearance).criteria()
        around = await self._timeline.around(scope, key, before=before, after=after, criteria=criteria)
        opened = await self._hydrator.known(scope, around or [known], now=self._clock.now(), clearance=clearance)
        keys: list[EventKey] = [one.key for one in opened]
        if key not in keys:
            raise NotFound("no such event")
        at = keys.index(key)
        return Around(event=opened[at], before=opened[:at], after=opened[at + 1 :])

    async def sessions(
        self, scope: Scope, *, after: tuple[int, str] | None, limit: int, clearance: Clearance
    ) -> tuple[Sequence[SessionSummary], bool]:
        """Up to *limit* sessions, the last active first, and whether there are more."""
        await self._memories.find(scope)
        found = await self._timeline.sessions(scope, after=after, limit=limit + 1, clearance=clearance)
        return [one for one in found[:limit] if not self._hydrator.hides_session(scope, one.session_id)], len(found) > limit

    async def session(self, scope: Scope, session_id: str, *, clearance: Clearance) -> SessionSummary:
        """One session.

        Raises:
            NotFound: no event that may be seen belongs to it.
        """
        await self._memories.find(scope)
        found = await self._timeline.session(scope, session_id, clearance=clearance)
        if found is None or self._hydrator.hides_session(scope, session_id):
            raise NotFound("no such session")
        return found

    async def context(
        self, scope: Scope, query: Query | None, *, filters: Filter, recent: int, max_tokens: int, calendar: bool = True
    ) -> tuple[contexts.Context, Found | None]:
        """A block for a prompt within *max_tokens*: what *query* finds, the *recent* last events, and lines of the *calendar*."""
        await self._memories.find(scope)
        found = None if query is None else await self._find(scope, query)
        remembered: dict[EventKey, contexts.Remembered] = {}
        if found is not None:
            for rank, hit in enumerate(found.hits):
                remembered[hit.opened.key] = _remembered(hit.opened, relevance=float(_CONTEXT_HITS - rank))
        if recent:
            last = await self.page(scope, filters=filters, after=None, descending=True, limit=recent)
            for rank, opened in enumerate(last.events):
                relevance = _CONTEXT_HITS - rank - 0.5
                known = remembered.get(opened.key)
                if known is None or known.relevance < relevance:
                    remembered[opened.key] = _remembered(opened, relevance=relevance)
        recalled, missing = tuple[contexts.Recalled, ...](), tuple[str, ...]()
        if calendar and self._recall is not None:
            recalled, missing = await self._recall(scope, query, filters=filters, found=found)
        events = list(remembered.values())
        arranged = contexts.arrange(events, max_tokens=max_tokens, count=self._tokenizer.count, recalled=recalled)
        return replace(arranged, missing=missing), found


def _remembered(opened: OpenedEvent, *, relevance: float) -> contexts.Remembered:
    event = opened.event
    return contexts.Remembered(
        event_id=event.id,
        occurred_at=event.occurred_at,
        speaker=speaker(event.facets),
        text=event.text,
        priority=event.facets.priority,
        relevance=relevance,
    )
