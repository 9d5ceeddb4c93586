"""Selecting: from what an erasure names to the events that are meant.

Belongs here: walking through a memory's timeline, piece by piece. Does not belong here: what is done with them. A newcomer would get wrong:
what was taken back before is meant, too, for its message is still in the log; of those only the message says whose they were.
"""

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from kalends.domain.erasures import Selector
from kalends.domain.events import EventKey, event_key
from kalends.domain.scope import Scope
from kalends.ports.log import Log
from kalends.ports.timeline import Known, Timeline
from kalends.wire.reader import OpenedEvent, Reader

PIECE = 500


class Selection(NamedTuple):
    """Events and sessions that are meant; what is shown of them is these numbers only."""

    events: int
    sessions: int
    documents: int


class Select:
    """The events that a selector means, as the timeline of this process knows them."""

    def __init__(self, *, timeline: Timeline, source: Log, reader: Reader) -> None:
        self._timeline = timeline
        self._source = source
        self._reader = reader

    async def pieces(self, scope: Scope, selector: Selector) -> AsyncIterator[Sequence[Known]]:
        """Those that are not erased yet, in pieces of at most ``PIECE``; an empty piece is left out.

        Raises:
            Unavailable, DeadlineExceeded: log or timeline do not answer.
        """
        if selector.kind == "event_ids":
            keys = [event_key(scope, event_id) for event_id in dict.fromkeys(selector.event_ids)]
            for start in range(0, len(keys), PIECE):
                found = await self._meant(scope, selector, keys[start : start + PIECE])
                if found:
                    yield found
            return
        after: EventKey | None = None
        while True:
            held = await self._timeline.inventory(scope.key, after=after, limit=PIECE)
            found = await self._meant(scope, selector, [one.key for one in held])
            if found:
                yield found
            if len(held) < PIECE:
                return
            after = held[-1].key

    async def count(self, scope: Scope, selector: Selector) -> Selection:
        """How much is meant."""
        events = 0
        sessions: set[str] = set()
        async for piece in self.pieces(scope, selector):
            events += len(piece)
            sessions |= {one.session for one in piece}
        documents = sum(session.startswith("document:") for session in sessions)
        return Selection(events=events, sessions=len(sessions) - documents, documents=documents)

    async def _meant(self, scope: Scope, selector: Selector, keys: Sequence[EventKey]) -> list[Known]:
        known = [one for one in (await self._timeline.lookup(scope, keys)).values() if not one.erased]
        if not selector.needs_facets:
            return [one for one in known if selector.takes(scope, one.key, session=one.session, occurred_us=one.occurred_us)]
        live = [one.key for one in known if not one.retracted]
        meant = set(await self._timeline.matching(scope, live, criteria=selector.criteria()))
        gone = [one for one in known if one.retracted]
        messages = await self._source.read([one.position for one in gone])
        for opened in await self._reader.open([message for message in messages if message is not None]):
            if isinstance(opened, OpenedEvent) and opened.scope == scope:
                facets = opened.event.facets
                if selector.takes(scope, opened.key, session=facets.session_id, occurred_us=0, facets=facets):
                    meant.add(opened.key)
        return [one for one in known if one.key in meant]
