"""Importing lines into one memory: each becomes what it was, unless it is there, or was erased there.

Belongs here: what becomes of each line. Does not belong here: whether the file is whole, which whoever reads it checks before the first
line is sent (``client.export_files``). A newcomer would get wrong: events keep the time at which they were recorded first, and so do
versions of the calendar; a version comes in only if it was recorded after the newest one that is there, so the second time none does, and a
memory that has gone its own way keeps its calendar.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import groupby
from typing import Literal

from kalends.domain import events, labels, redaction
from kalends.domain.calendar import Grip, Node
from kalends.domain.errors import Conflict, Fault, Invalid, Unavailable
from kalends.domain.events import Event, EventId, event_key
from kalends.domain.periods import Period
from kalends.domain.positions import Position
from kalends.domain.scope import Scope
from kalends.edge.progress import Progress
from kalends.kit import failpoints
from kalends.ports.calendar import Calendar
from kalends.ports.clock import Clock
from kalends.ports.log import Log
from kalends.ports.redactor import Redactor
from kalends.ports.timeline import Timeline
from kalends.wire import exported, nodes
from kalends.wire.documents import DocumentRecord, DocumentStore, session_of
from kalends.wire.memories import Memory, MemoryRegistry
from kalends.wire.node_store import NodeStore, Proposed

Status = Literal["new", "duplicate", "erased", "gone", "conflict", "refused", "kept", "known"]
"""What becomes of a line; see ``transfers.schemas``."""

SKEW = timedelta(minutes=5)
"""How far in the future something may have been recorded, by a clock that goes wrong."""

_FOLLOWED_S = 10.0
_NAME_BYTES = 8000
_NODE_BYTES = 768 * 1024
"""A version of a node is one message of the log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What became of one line; ``position`` is where it is now, if it is new or a duplicate. ``masked``: what was kept out of it."""

    status: Status
    fault: Fault | None = None
    position: Position | None = None
    masked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    """What became of one event that was appended; see ``ingest.usecases.Outcome``."""

    position: Position | None
    duplicate: bool
    fault: Fault | None
    masked: tuple[str, ...]


Append = Callable[[Scope, Sequence[Event]], Awaitable[Sequence[Appended]]]
"""Appends events as every writer does: redacted, fenced against erasures, each id once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """What is asked and written besides events."""

    log: Log
    timeline: Timeline
    calendar: Calendar
    nodes: NodeStore
    documents: DocumentStore
    memories: MemoryRegistry
    progress: Progress
    redactor: Redactor
    clock: Clock
    limits: events.Limits = field(default_factory=events.Limits)


class ImportLines:
    """Takes lines in, in their order."""

    def __init__(self, stores: Stores, *, append: Append) -> None:
        self._stores = stores
        self._append = append

    async def __call__(self, scope: Scope, lines: Sequence[exported.Line], *, dry_run: bool = False) -> list[Taken]:
        """What became of each line, in order; a dry run only says what would. Grips are ``known``: they come with the nodes that cite them.

        Raises:
            NotFound: there is no such memory. Throttled, Unavailable, DeadlineExceeded: the same lines may be sent again.
        """
        memory = await self._stores.memories.find(scope)
        taken: list[Taken] = []
        grips: dict[str, Grip] = {}
        for kind, group in groupby(lines, key=type):
            some = list(group)
            if kind is exported.EventLine:
                taken += await self._events(memory, [one for one in some if isinstance(one, exported.EventLine)], dry_run=dry_run)
            elif kind is exported.DocumentLine:
                taken += [await self._document(memory, one, dry_run=dry_run) for one in some if isinstance(one, exported.DocumentLine)]
            elif kind is exported.GripLine:
                taken += [_learned(one, grips) for one in some if isinstance(one, exported.GripLine)]
            else:
                versions = [one for one in some if isinstance(one, exported.NodeLine)]
                taken += await self._nodes(memory, versions, grips, dry_run=dry_run)
        return taken

    async def _events(self, memory: Memory, lines: Sequence[exported.EventLine], *, dry_run: bool) -> list[Taken]:
        taken: dict[int, Taken] = {}
        good: dict[int, Event] = {}
        for place, line in enumerate(lines):
            try:
                good[place] = self._checked(line)
            except Invalid as error:
                taken[place] = Taken(status="refused", fault=error.faults[0])
        taken |= await self._not_of_documents(memory.scope, good)
        wanted = {place: event for place, event in good.items() if place not in taken}
        if dry_run:
            taken |= await self._foreseen(memory.scope, wanted)
        elif wanted:
            taken |= await self._appended(memory, wanted)
        return [taken[place] for place in range(len(lines))]

    def _checked(self, line: exported.EventLine) -> Event:
        event = exported.event_of(line)
        faults = list(events.check_event(event, limits=self._stores.limits))
        if event.recorded_at > self._stores.clock.now() + SKEW:
            faults.append(Fault(pointer="/recorded_at", detail="lies in the future", code="time"))
        if event.facets.labels != labels.ordered(event.facets.labels):
            faults.append(Fault(pointer="/labels", detail="must be each once and in order", code="label"))
        if event.document_id is not None and event.facets.session_id != session_of(event.document_id):
            faults.append(Fault(pointer="/session_id", detail="is not the session of that document", code="session"))
        if faults:
            raise Invalid(faults[0].detail, faults=faults)
        return event

    async def _not_of_documents(self, scope: Scope, good: Mapping[int, Event]) -> dict[int, Taken]:
        """The chunks of documents that are kept here with other content: nothing of these is taken."""
        named = {event.document_id for event in good.values() if event.document_id is not None}
        here = {name: record for name in named if (record := await self._stores.documents.find(scope, name)) is not None}
        return {
            place: Taken(status="kept")
            for place, event in good.items()
            if event.document_id in here and event.id not in here[event.document_id].chunk_ids
        }

    async def _foreseen(self, scope: Scope, wanted: Mapping[int, Event]) -> dict[int, Taken]:
        known = await self._stores.timeline.lookup(scope, [event_key(scope, event.id) for event in wanted.values()])
        foreseen = {}
        for place, event in wanted.items():
            there = known.get(event_key(scope, event.id))
            foreseen[place] = Taken(
                status="new" if there is None else "erased" if there.erased else "gone" if there.retracted else "duplicate"
            )
        return foreseen

    async def _appended(self, memory: Memory, wanted: Mapping[int, Event]) -> dict[int, Taken]:
        masked: dict[int, tuple[str, ...]] = {}
        given: dict[int, Event] = {}
        refused: dict[int, Taken] = {}
        for place, (event, cleaning) in (await asyncio.to_thread(self._cleaned, memory, wanted)).items():
            if cleaning.refused:
                refused[place] = Taken(status="refused", fault=_not_taken(cleaning.refused))
            else:
                given[place], masked[place] = event, cleaning.masked
        outcomes = await self._append(memory.scope, list(given.values())) if given else ()
        await failpoints.reach("import.after-events")
        return refused | {
            place: _told(outcome, masked=masked[place] or outcome.masked) for place, outcome in zip(given, outcomes, strict=True)
        }

    def _cleaned(self, memory: Memory, wanted: Mapping[int, Event]) -> dict[int, tuple[Event, redaction.Cleaning]]:
        """Chunks without what their memory masks: a document is cleaned before it is cut, so appending leaves its chunks as they are."""
        cleaned = {}
        for place, event in wanted.items():
            cleaning = redaction.Cleaning(self._stores.redactor.find, memory.redaction.of_kind(event.facets.kind))
            cleaned[place] = (event if event.document_id is None else cleaning.event(event), cleaning)
        return cleaned

    async def _document(self, memory: Memory, line: exported.DocumentLine, *, dry_run: bool) -> Taken:
        scope = memory.scope
        try:
            record = _document_of(line)
        except Invalid as error:
            return Taken(status="refused", fault=error.faults[0])
        cleaning = redaction.Cleaning(self._stores.redactor.find, memory.redaction.of_kind("chunk"))
        record = replace(record, title=cleaning.text(record.title), source=cleaning.text(record.source))
        if cleaning.refused:
            return Taken(status="refused", fault=_not_taken(cleaning.refused))
        there = await self._stores.documents.find(scope, record.document_id)
        if there is not None:
            return Taken(status="duplicate" if replace(there, stored=0, stale=()) == record else "kept")
        if dry_run:
            return Taken(status="new")
        return await self._lacks(scope, record) or await self._kept(scope, record, masked=cleaning.masked)

    async def _kept(self, scope: Scope, record: DocumentRecord, *, masked: tuple[str, ...]) -> Taken:
        try:
            await self._stores.documents.put(scope, record)
        except Conflict:
            return Taken(status="kept")
        return Taken(status="new", masked=masked)

    async def _lacks(self, scope: Scope, record: DocumentRecord) -> Taken | None:
        """Why a document is not taken: a chunk of it is not here, because it was erased or did not come."""
        await self._followed()
        known = await self._stores.timeline.lookup(scope, [event_key(scope, one) for one in record.chunk_ids])
        there = [known.get(event_key(scope, one)) for one in record.chunk_ids]
        if any(one is not None and one.erased for one in there):
            return Taken(status="erased")
        if any(one is None or one.retracted for one in there):
            return Taken(status="refused", fault=Fault(pointer="/chunk_ids", detail="names a chunk that is not there", code="absent"))
        return None

    async def _nodes(self, memory: Memory, lines: Sequence[exported.NodeLine], grips: Mapping[str, Grip], *, dry_run: bool) -> list[Taken]:
        """Versions of one node come one after another, each once the calendar knows the one before."""
        scope, taken = memory.scope, dict[int, Taken]()
        left: dict[int, tuple[Node, int]] = {}
        for place, line in enumerate(lines):
            try:
                left[place] = (_node_of(line, grips), exported.recorded_us(line))
            except Invalid as error:
                taken[place] = Taken(status="refused", fault=error.faults[0])
        for place, found in (await asyncio.to_thread(self._holding, memory, left)).items():
            taken[place] = Taken(status="refused", fault=_not_taken(found))
            del left[place]
        await self._followed()
        for place in await self._citing_erased(scope, {place: node for place, (node, _) in left.items()}):
            taken[place] = Taken(status="erased")
            del left[place]
        for _ in range(len(left)):
            if not left:
                break
            wave = await self._wave(scope, left, taken, dry_run=dry_run)
            for place in wave:
                taken.setdefault(place, Taken(status="new"))
                del left[place]
        return [taken[place] for place in range(len(lines))]

    async def _wave(self, scope: Scope, left: Mapping[int, tuple[Node, int]], taken: dict[int, Taken], *, dry_run: bool) -> Sequence[int]:
        """Take at most one version of each node; which places are dealt with."""
        since = await self._stores.nodes.erasures_known()
        newest = dict(await self._stores.calendar.newest(scope, list({node.period for node, _ in left.values()})))
        settled: list[int] = []
        chosen: dict[Period, Proposed] = {}
        for place, (node, recorded_us) in left.items():
            before = newest.get(node.period)
            if before is not None and recorded_us <= before.recorded_us:
                taken[place] = Taken(status="known")
                settled.append(place)
            elif node.period not in chosen:
                chosen[node.period] = Proposed(node=node, newest=before, recorded_us=recorded_us)
                settled.append(place)
            elif dry_run:
                settled.append(place)
        if chosen and not dry_run:
            written = await self._stores.nodes.append(scope, list(chosen.values()), since=since)
            await failpoints.reach("import.after-nodes")
            if written.outdated:
                raise Unavailable("something of this memory is being erased; try again", dependency="erasure", retry_after=2.0)
            if not await self._stores.progress.reached(written.floors, ("toc",), seconds=_FOLLOWED_S):
                raise Unavailable("the calendar did not follow the log in time", dependency="calendar", retry_after=1.0)
        return settled

    def _holding(self, memory: Memory, nodes: Mapping[int, tuple[Node, int]]) -> dict[int, tuple[str, ...]]:
        return {place: found for place, (node, _) in nodes.items() if (found := self._holds(memory, node))}

    def _holds(self, memory: Memory, node: Node) -> tuple[str, ...]:
        """The labels of what a node holds that its memory masks or refuses: such a one is left to be made anew from what was masked."""
        cleaning = redaction.Cleaning(self._stores.redactor.find, memory.redaction.of_kind("message"))
        for text in (node.title, *node.keywords, *(bullet.text for bullet in node.bullets)):
            cleaning.text(text)
        for excerpt in {grip.excerpt for bullet in node.bullets for grip in bullet.grips}:
            cleaning.text(excerpt)
        return tuple(sorted({*cleaning.masked, *cleaning.refused}))

    async def _citing_erased(self, scope: Scope, nodes: Mapping[int, Node]) -> Sequence[int]:
        cited = {place: _cited(node) for place, node in nodes.items()}
        keys = {one: event_key(scope, one) for named in cited.values() for one in named}
        known = await self._stores.timeline.lookup(scope, list(keys.values()))
        erased = {one for one, key in keys.items() if key in known and known[key].erased}
        return [place for place, named in cited.items() if not erased.isdisjoint(named)]

    async def _followed(self) -> None:
        """Return once this process knows everything that was appended before.

        Raises:
            Unavailable: it does not in time.
        """
        if not await self._stores.progress.reached(await self._stores.log.heads(), ("timeline", "toc"), seconds=_FOLLOWED_S):
            raise Unavailable("the log was not followed far enough yet", dependency="timeline", retry_after=1.0)


def _document_of(line: exported.DocumentLine) -> DocumentRecord:
    record = exported.document_of(line)
    named = (("document_id", record.document_id), ("title", record.title), ("source", record.source))
    checked = [events.check_text(text, pointer=f"/{name}", limit=_NAME_BYTES, empty=name != "document_id") for name, text in named]
    faults = [*labels.faults_of(record.labels), *(fault for fault in checked if fault is not None)]
    if record.labels != labels.ordered(record.labels):
        faults.append(Fault(pointer="/labels", detail="must be each once and in order", code="label"))
    if faults:
        raise Invalid(faults[0].detail, faults=faults)
    return record


def _node_of(line: exported.NodeLine, grips: Mapping[str, Grip]) -> Node:
    node = exported.node_of(line, grips)
    size = len(nodes.encode(node))
    if size > _NODE_BYTES:
        detail = f"is {size} bytes as it would be stored; the limit is {_NODE_BYTES}"
        raise Invalid(detail, faults=[Fault(pointer="", detail=detail, code="too_large")])
    return node


def _cited(node: Node) -> set[EventId]:
    return {one for bullet in node.bullets for grip in bullet.grips for one in (grip.first, grip.last)}.union(node.events)


def _learned(line: exported.GripLine, grips: dict[str, Grip]) -> Taken:
    try:
        grips[line.grip_id] = exported.grip_from(line)
    except Invalid as error:
        return Taken(status="refused", fault=error.faults[0])
    return Taken(status="known")


def _not_taken(found: Sequence[str]) -> Fault:
    return Fault(pointer="", detail=f"holds what this memory does not take: {', '.join(found)}", code=redaction.REFUSED)


def _told(outcome: Appended, *, masked: tuple[str, ...]) -> Taken:
    if outcome.fault is None:
        return Taken(status="duplicate" if outcome.duplicate else "new", position=outcome.position, masked=masked)
    words: Mapping[str, Status] = {"conflict": "conflict", "erased": "erased", "gone": "gone"}
    return Taken(status=words.get(outcome.fault.code, "refused"), fault=outcome.fault, masked=masked)
