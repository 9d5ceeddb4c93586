"""Hydration: from keys to events, through the timeline and the log.

Belongs here: reading what was found and leaving out what must not be shown. Does not belong here: ranking. A newcomer would get wrong:
engines may name an event that is gone by now; the log and the timeline decide.
"""

from collections.abc import Sequence
from datetime import datetime

import structlog

from kalends.domain.events import EventKey, microseconds
from kalends.domain.labels import Clearance
from kalends.domain.scope import Scope
from kalends.ports.log import Log
from kalends.ports.timeline import Known, Timeline
from kalends.wire.hidden import HiddenView
from kalends.wire.reader import OpenedEvent, Reader

log = structlog.get_logger(__name__)


class Hydrator:
    """Reads events of one scope."""

    def __init__(self, *, source: Log, timeline: Timeline, reader: Reader, hidden: HiddenView | None = None) -> None:
        self._source = source
        self._timeline = timeline
        self._reader = reader
        self._hidden = hidden

    async def by_keys(self, scope: Scope, keys: Sequence[EventKey], *, now: datetime, clearance: Clearance) -> list[OpenedEvent]:
        """The events that exist, have not expired and may be seen, in the order of *keys*."""
        known = await self._timeline.lookup(scope, keys)
        live = [known[key] for key in keys if key in known and not known[key].retracted]
        return await self.known(scope, live, now=now, clearance=clearance)

    async def known(self, scope: Scope, known: Sequence[Known], *, now: datetime, clearance: Clearance) -> list[OpenedEvent]:
        """The events at the places that the timeline gave, in that order; the expired and the hidden are left out.

        What *clearance* does not let see is left out too, although nobody should ask for it: engine and timeline have filtered before.
        """
        messages = await self._source.read([one.position for one in known])
        present = [message for message in messages if message is not None]
        found = []
        for opened in await self._reader.open(present):
            if not isinstance(opened, OpenedEvent):
                continue
            if opened.scope != scope:
                log.error("position belongs to another scope", stream=opened.position.stream, sequence=opened.position.sequence)
                continue
            if not clearance.sees(opened.event.facets.labels):
                continue
            if (opened.event.expires_at is None or opened.event.expires_at > now) and not self._hides(opened):
                found.append(opened)
        return found

    def hides_session(self, scope: Scope, session_id: str) -> bool:
        """Whether nothing of a session may be shown."""
        return self._hidden is not None and self._hidden.hides_session(scope, session_id)

    def _hides(self, opened: OpenedEvent) -> bool:
        if self._hidden is None:
            return False
        facets, occurred_us = opened.event.facets, microseconds(opened.event.occurred_at)
        return self._hidden.hides(opened.scope, opened.key, session=facets.session_id, occurred_us=occurred_us, facets=facets)
