"""Exporting one memory, page by page, as it was when the first page was asked for.

Belongs here: what belongs to an export, and where a page ends. Does not belong here: the file that pages make (``client.export_files``), or
how a line is spelled (``wire.exported``). A newcomer would get wrong: the log is read in its order, not in that of time, because an import
appends in the order of the file, and only so the next export is the same file; and of what was written more than once the first counts.
"""

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from kalends.domain.errors import Unavailable
from kalends.domain.events import EventKey, microseconds
from kalends.domain.labels import Clearance
from kalends.domain.positions import OWN, Position, stream_of_own
from kalends.domain.scope import Scope
from kalends.edge.progress import Progress
from kalends.kit.traffic import Traffic
from kalends.ports.calendar import Calendar
from kalends.ports.clock import Clock
from kalends.ports.log import Log
from kalends.ports.timeline import Timeline
from kalends.wire import exported
from kalends.wire.documents import DocumentStore, session_of
from kalends.wire.hidden import HiddenView
from kalends.wire.memories import MemoryRegistry
from kalends.wire.reader import OpenedEvent, OpenedNode, Reader, Unreadable

EVENTS, DOCUMENTS, NODES = "events", "documents", "nodes"
_READ = 250
"""Messages that are opened together."""

_LOOKED_MAX = 20_000
"""Messages that one page looks at, so that it ends in time also where nothing of them belongs to it."""

_PAGE_BYTES = 2 * 1024 * 1024
_FOLLOWED_S = 10.0
_GIVE_WAY_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the next page begins: a part of the export, and how far in it.

    Of events and nodes: per stream the last sequence that was looked at, and the last that belongs to the export. Of documents: the last
    id.
    """

    part: str
    upto: Mapping[str, int]
    after: Mapping[str, int] = field(default_factory=dict)
    document: str = ""


@dataclass(slots=True, kw_only=True)
class Page:
    """Some lines, how many messages could not be read on the way, and where the next page begins; None: this was the last."""

    lines: list[str] = field(default_factory=list)
    unreadable: int = 0
    next: Place | None = None
    size: int = 0

    def add(self, line: exported.Line) -> None:
        """Put another line on it."""
        text = exported.encoded(line)
        self.lines.append(text)
        self.size += len(text)


class ExportMemory:
    """Exports memories."""

    def __init__(
        self,
        *,
        log: Log,
        reader: Reader,
        timeline: Timeline,
        calendar: Calendar,
        documents: DocumentStore,
        memories: MemoryRegistry,
        hidden: HiddenView,
        progress: Progress,
        traffic: Traffic,
        clock: Clock,
    ) -> None:
        self._log = log
        self._reader = reader
        self._timeline = timeline
        self._calendar = calendar
        self._documents = documents
        self._memories = memories
        self._hidden = hidden
        self._progress = progress
        self._traffic = traffic
        self._clock = clock

    async def page(self, scope: Scope, place: Place | None, *, limit: int, clearance: Clearance) -> Page:
        """The page at *place* (None: the first), of about *limit* lines at most, of what *clearance* lets see.

        Raises:
            NotFound: there is no such memory. Unavailable, DeadlineExceeded: a store is away, or has not followed the log yet.
        """
        await self._memories.find(scope)
        heads = await self._heads(scope)
        # a cursor is written by whoever sends it: it reaches no further than the log does
        upto = heads if place is None else {name: min(end, heads[name]) for name, end in place.upto.items() if name in heads}
        place = Place(part=EVENTS, upto=upto) if place is None else replace(place, upto=upto)
        if not await self._progress.reached(place.upto, ("timeline", "toc"), seconds=_FOLLOWED_S):
            raise Unavailable("the log was not followed far enough yet", dependency="timeline", retry_after=1.0)
        page = Page()
        if place.part == DOCUMENTS:
            await self._add_documents(scope, place, page, limit=limit, clearance=clearance)
        else:
            await self._add_messages(scope, place, page, limit=limit, clearance=clearance)
        return page

    async def _heads(self, scope: Scope) -> Mapping[str, int]:
        """Where the log ends now, of the streams in which this memory may be."""
        heads = await self._log.heads(whole=True)
        return {name: head for name, head in heads.items() if not name.startswith(OWN) or name == stream_of_own(scope)}

    async def _add_messages(self, scope: Scope, place: Place, page: Page, *, limit: int, clearance: Clearance) -> None:
        after, looked = dict(place.after), 0
        async with aclosing(self._log.history(scope, after=after, upto=place.upto, limit=_READ)) as batches:
            async for messages in batches:
                await self._traffic.give_way(at_most=_GIVE_WAY_S)
                opened = [one for one in await self._reader.open(messages) if isinstance(one, Unreadable) or one.scope == scope]
                page.unreadable += sum(isinstance(one, Unreadable) and not one.erased for one in opened)
                events = [one for one in opened if isinstance(one, OpenedEvent)]
                nodes = [one for one in opened if isinstance(one, OpenedNode)]
                found = await (self._events(scope, events, clearance) if place.part == EVENTS else self._nodes(scope, nodes))
                for message in messages:
                    for line in found.get(message.position, ()):
                        page.add(line)
                    after[message.position.stream] = message.position.sequence
                    looked += 1
                    if len(page.lines) >= limit or page.size >= _PAGE_BYTES or looked >= _LOOKED_MAX:
                        page.next = replace(place, after=after)
                        return
        page.next = Place(part=DOCUMENTS, upto=place.upto) if place.part == EVENTS else None

    async def _events(self, scope: Scope, found: Sequence[OpenedEvent], clearance: Clearance) -> Mapping[Position, Sequence[exported.Line]]:
        known = await self._timeline.lookup(scope, [one.key for one in found])
        now, shown = self._clock.now(), {}
        for one in found:
            there, event = known.get(one.key), one.event
            if there is None or there.retracted or there.position != one.position or not clearance.sees(event.facets.labels):
                continue
            if (event.expires_at is None or event.expires_at > now) and not self._hides(one):
                shown[one.position] = [exported.event_line(event)]
        return shown

    def _hides(self, one: OpenedEvent) -> bool:
        facets, occurred_us = one.event.facets, microseconds(one.event.occurred_at)
        return self._hidden.hides(one.scope, one.key, session=facets.session_id, occurred_us=occurred_us, facets=facets)

    async def _nodes(self, scope: Scope, found: Sequence[OpenedNode]) -> Mapping[Position, Sequence[exported.Line]]:
        standing = await self._standing(scope, list(dict.fromkeys(one.key for one in found)))
        shown: dict[Position, Sequence[exported.Line]] = {}
        for one in found:
            if one.position not in standing or self._hidden.hides_memory(scope) or self._hidden.cites(scope, one.node):
                continue
            grips = dict.fromkeys(grip for bullet in one.node.bullets for grip in bullet.grips)
            shown[one.position] = [*map(exported.grip_line, grips), exported.node_line(one.node, recorded_us=one.recorded_us)]
        return shown

    async def _standing(self, scope: Scope, keys: Sequence[EventKey]) -> set[Position]:
        """Where messages of nodes stand that were not erased."""
        histories = await self._calendar.histories_by_keys(scope, keys) if keys else ()
        return {position for one in histories for position in one.standing}

    async def _add_documents(self, scope: Scope, place: Place, page: Page, *, limit: int, clearance: Clearance) -> None:
        found = await self._documents.of_scope(scope, after=place.document or None, limit=limit, clearance=clearance)
        for record in found:
            hidden = self._hidden.hides_session(scope, session_of(record.document_id)) or self._hidden.hides_labels(scope, record.labels)
            if not hidden and not record.pending:
                page.add(exported.document_line(record))
        if len(found) == limit:
            page.next = replace(place, document=found[-1].document_id)
        else:
            page.next = Place(part=NODES, upto=place.upto)
