"""Search's rows of the operation table: JSON in, use cases, JSON out."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import tzinfo
from typing import Any

import msgspec

from kalends.domain.errors import Invalid, NotFound
from kalends.domain.events import EventKey, canonical_id, moment
from kalends.domain.labels import Clearance
from kalends.domain.positions import visibility_floors
from kalends.domain.queries import FACETS, TARGETS, Filter, check_filter, decode_cursor, encode_cursor
from kalends.domain.scope import Scope
from kalends.edge.operations import Answer, Call, Handler, Operation
from kalends.ports.timeline import SessionSummary
from kalends.search import schemas, timing
from kalends.search.reading import ReadMemories
from kalends.search.targets import Findable, FindTargets, FoundGrip
from kalends.search.timing import TimeFilter
from kalends.search.usecases import Answered, Query, Ranked
from kalends.wire.documents import DocumentRecord, DocumentStore, session_of
from kalends.wire.hidden import HiddenView
from kalends.wire.memories import MemoryRegistry
from kalends.wire.reader import OpenedEvent, OpenedNode

_NAMES = tuple(name for name in FACETS if name != "level")
_CONTEXT_HITS = 50
_Type = type[msgspec.Struct]


class SearchRoutes:
    """``/memories/{memory}/search`` and ``/context``."""

    def __init__(self, *, find: FindTargets, read: ReadMemories) -> None:
        self._find = find
        self._read = read

    async def search(self, call: Call) -> Answer:
        """Find events by words and by meaning."""
        body: schemas.SearchRequest = call.body
        query = replace(query_of(body, call.scoped, clearance=call.principal.clearance), give_way=call.give_way)
        found = await self._find(call.scoped, query)
        return Answer(body=search_out(found, explain=body.explain))

    async def context(self, call: Call) -> Answer:
        """A block of remembered events for a prompt."""
        body: schemas.ContextRequest = call.body
        filters = filter_of(body.filter, targets=TARGETS, clearance=call.principal.clearance)
        query, zone = None, zone_asked(body)
        if body.query is not None:
            wanted = visibility_floors(body.min_visibility, scope=call.scoped) if body.min_visibility is not None else None
            query = Query(
                text=checked_query(body.query),
                limit=_CONTEXT_HITS,
                filter=filters,
                wanted=wanted,
                seconds=body.timeout_ms / 1000,
                zone=zone,
                give_way=call.give_way,
            )
        check_filter(filters)
        arranged, found = await self._read.context(
            call.scoped, query, filters=filters, recent=body.recent, max_tokens=body.max_tokens, calendar=body.calendar
        )
        out = schemas.ContextResponse(
            text=arranged.text,
            ids=list(arranged.ids),
            tokens=arranged.tokens,
            truncated=arranged.truncated,
            arms=list(found.arms) if found else [],
            degraded=sorted({*(found.degraded if found else ()), *arranged.missing}),
            stale=found.stale if found else False,
            time_filter=time_out(found.time) if found else None,
        )
        return Answer(body=out, costs={"tokens": arranged.tokens})


class EventRoutes:
    """``/memories/{memory}/events`` and ``/sessions``: reads."""

    def __init__(self, *, read: ReadMemories) -> None:
        self._read = read

    async def list(self, call: Call) -> Answer:
        """Events by when they happened."""
        query: schemas.EventsQuery = call.query
        filters = Filter(
            since=query.since,
            until=query.until,
            targets=TARGETS,
            clearance=call.principal.clearance,
            **_groups(query),
        )
        bound = _bound_to(call, query)
        after = None
        if query.cursor is not None:
            at, version = decode_cursor(query.cursor, bound_to=bound, shape=(int, int))
            after = (int(at), int(version))
        page = await self._read.page(call.scoped, filters=filters, after=after, descending=query.order == "desc", limit=query.limit)
        cursor = encode_cursor(page.after, bound_to=bound) if page.after else None
        return Answer(body=schemas.EventList(items=[event_out(opened) for opened in page.events], next_cursor=cursor))

    async def show(self, call: Call) -> Answer:
        """One event, with neighbours where asked for."""
        query: schemas.AroundQuery = call.query
        event_id = canonical_id(call.path["event_id"])
        around = await self._read.event(call.scoped, event_id, before=query.before, after=query.after, clearance=call.principal.clearance)
        fields = event_out(around.event)
        out = schemas.EventWithNeighbours(
            **{name: getattr(fields, name) for name in schemas.EventOut.__struct_fields__},
            before=[event_out(opened) for opened in around.before],
            after=[event_out(opened) for opened in around.after],
        )
        return Answer(body=out)

    async def sessions(self, call: Call) -> Answer:
        """Sessions, the last active first."""
        query: schemas.SessionsQuery = call.query
        bound = f"sessions\0{call.scoped.key}\0{call.principal.clearance.mark}"
        after = None
        if query.cursor is not None:
            last_us, session_id = decode_cursor(query.cursor, bound_to=bound, shape=(int, str))
            after = (int(last_us), str(session_id))
        found, more = await self._read.sessions(call.scoped, after=after, limit=query.limit, clearance=call.principal.clearance)
        cursor = encode_cursor([found[-1].last_us, found[-1].session_id], bound_to=bound) if more else None
        return Answer(body=schemas.SessionList(items=[session_out(summary) for summary in found], next_cursor=cursor))

    async def session(self, call: Call) -> Answer:
        """One session."""
        found = await self._read.session(call.scoped, call.path["session_id"], clearance=call.principal.clearance)
        return Answer(body=session_out(found))


def query_of(body: schemas.SearchRequest, scope: Scope, *, clearance: Clearance) -> Query:
    """What *body* asks of the memory *scope*, for somebody with *clearance*.

    Raises:
        Invalid: it cannot be asked.
    """
    return Query(
        text=checked_query(body.query),
        limit=body.limit,
        mode=body.mode,
        filter=filter_of(body.filter, targets=tuple(dict.fromkeys(body.targets)), clearance=clearance),
        rerank=body.rerank,
        wanted=visibility_floors(body.min_visibility, scope=scope) if body.min_visibility is not None else None,
        seconds=body.timeout_ms / 1000,
        zone=zone_asked(body),
    )


def checked_query(text: str) -> str:
    """*text* if it can be asked.

    Raises:
        Invalid: it holds NUL or a lone surrogate, or nothing but blanks.
    """
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text) or not text.strip():
        raise Invalid("the query must hold text, without NUL or lone surrogates")
    return text


def zone_asked(body: schemas.SearchRequest | schemas.ContextRequest) -> tzinfo | None:
    """Where time phrases are to be read; None if they are switched off or the filter says already what time is asked about.

    Raises:
        Invalid: there is no such time zone, whether it is needed or not.
    """
    zone = timing.zone_of(body.timezone)
    given = body.filter.since is not None or body.filter.until is not None
    return zone if body.time_phrases and not given else None


def filter_of(given: schemas.FilterIn, *, targets: tuple[str, ...], clearance: Clearance) -> Filter:
    """A filter from JSON, for somebody with *clearance*."""
    levels = () if given.level is None else (given.level,) if isinstance(given.level, str) else tuple(given.level)
    groups = _groups(given)
    return Filter(
        since=given.since, until=given.until, metadata=given.metadata, targets=targets, level=levels, clearance=clearance, **groups
    )


def _groups(given: schemas.FilterIn | schemas.EventsQuery) -> dict[str, Any]:
    """The facets that are asked for, each as a tuple of values."""
    found = {name: getattr(given, name) for name in _NAMES}
    return {name: (value,) if isinstance(value, str) else tuple(value) for name, value in found.items() if value is not None}


def _bound_to(call: Call, query: schemas.EventsQuery) -> str:
    asked = [
        call.scoped.key,
        call.principal.clearance.mark,
        query.order,
        str(query.since),
        str(query.until),
        *(str(getattr(query, name)) for name in _NAMES),
    ]
    return "\0".join(asked)


def event_out(opened: OpenedEvent) -> schemas.EventOut:
    """An event as JSON."""
    event = opened.event
    facets = event.facets
    return schemas.EventOut(
        event_id=event.id,
        session_id=facets.session_id,
        kind=facets.kind,
        role=facets.role,
        actor=facets.actor,
        text=event.text,
        occurred_at=event.occurred_at,
        recorded_at=event.recorded_at,
        expires_at=event.expires_at,
        metadata=dict(facets.metadata),
        channel=facets.channel,
        thread_id=facets.thread_id,
        priority=facets.priority,
        trust=event.trust,
        document_id=event.document_id,
        labels=list(facets.labels),
    )


def session_out(summary: SessionSummary) -> schemas.SessionOut:
    """A session as JSON."""
    return schemas.SessionOut(
        session_id=summary.session_id, events=summary.events, first_at=moment(summary.first_us), last_at=moment(summary.last_us)
    )


def hit_out(hit: Ranked[Findable]) -> schemas.HitOut:
    """A hit as JSON."""
    scores = schemas.ScoresOut(**{name: float(value) for name, value in hit.raw.items()})
    match hit.opened:
        case OpenedEvent() as opened:
            return _event_hit(opened, hit.score, scores)
        case OpenedNode() as opened:
            return _node_hit(opened, hit.score, scores)
        case FoundGrip() as found:
            return _grip_hit(found, hit.score, scores)


def _event_hit(opened: OpenedEvent, score: float, scores: schemas.ScoresOut) -> schemas.HitOut:
    event = opened.event
    return schemas.HitOut(
        target="documents" if event.document_id else "events",
        id=event.id,
        score=score,
        text=event.text,
        occurred_at=event.occurred_at,
        session_id=event.facets.session_id,
        role=event.facets.role,
        actor=event.facets.actor,
        kind=event.facets.kind,
        trust=event.trust,
        scores=scores,
        document_id=event.document_id,
    )


def _node_hit(opened: OpenedNode, score: float, scores: schemas.ScoresOut) -> schemas.HitOut:
    node = opened.node
    return schemas.HitOut(
        target="toc",
        id=node.period.id,
        score=score,
        text="\n".join([node.title, *(f"- {bullet.text}" for bullet in node.bullets)]),
        occurred_at=moment(node.first_us),
        scores=scores,
        level=node.period.level,
    )


def _grip_hit(found: FoundGrip, score: float, scores: schemas.ScoresOut) -> schemas.HitOut:
    grip = found.grip
    return schemas.HitOut(
        target="grips",
        id=grip.id,
        score=score,
        text=grip.excerpt,
        occurred_at=moment(grip.occurred_us),
        session_id=grip.session_id,
        scores=scores,
        speaker=grip.speaker,
        first_event_id=grip.first,
        last_event_id=grip.last,
        node_id=found.node.node.period.id,
    )


def time_out(found: TimeFilter | None) -> schemas.TimeFilterOut | None:
    """What became of a time phrase as JSON."""
    if found is None:
        return None
    stretch = found.stretch
    return schemas.TimeFilterOut(
        phrase=stretch.phrase, since=stretch.since, until=stretch.until, mode="filter" if stretch.firm else "boost", applied=found.applied
    )


def search_out(found: Answered[Findable], *, explain: bool) -> schemas.SearchResponse:
    """An answer as JSON; with *explain* the stages of each hit."""
    hits = [hit_out(hit) for hit in found.hits]
    response = schemas.SearchResponse(
        hits=hits,
        arms=list(found.arms),
        degraded=list(found.degraded),
        stale=found.stale,
        lag={name: schemas.Lag(events=one.events, seconds=one.seconds) for name, one in found.lag.items()},
        took_ms={name: round(seconds * 1000, 3) for name, seconds in found.seconds.items()},
        time_filter=time_out(found.time),
    )
    extra: dict[str, object] = {}
    if found.stale:
        extra["floors"] = {name: dict(floors) for name, floors in found.floors.items()}
    if explain:
        extra["explain"] = {shown.id: _stages(found.stages, hit) for shown, hit in zip(hits, found.hits, strict=True)}
    if not extra:
        return response
    fields = {name: getattr(response, name) for name in schemas.SearchResponse.__struct_fields__}
    return schemas.SearchResponse(**{**fields, **extra})


def _stages(stages: Mapping[str, Mapping[EventKey, float]], hit: Ranked[Findable]) -> dict[str, float]:
    return {name: round(scores[hit.opened.key], 6) for name, scores in stages.items() if hit.opened.key in scores} | {"final": hit.score}


class DocumentRoutes:
    """``/memories/{memory}/documents``: reads."""

    def __init__(self, *, documents: DocumentStore, memories: MemoryRegistry, hidden: HiddenView | None = None) -> None:
        self._documents = documents
        self._memories = memories
        self._hidden = hidden

    async def list(self, call: Call) -> Answer:
        """Documents by id."""
        query: schemas.SessionsQuery = call.query
        clearance = call.principal.clearance
        bound = f"documents\0{call.scoped.key}\0{clearance.mark}"
        await self._memories.find(call.scoped)
        after = str(decode_cursor(query.cursor, bound_to=bound, shape=(str,))[0]) if query.cursor else None
        found = await self._documents.of_scope(call.scoped, after=after, limit=query.limit + 1, clearance=clearance)
        page = found[: query.limit]
        cursor = encode_cursor([page[-1].document_id], bound_to=bound) if len(found) > len(page) else None
        shown = [document_out(record) for record in page if not self._hides(call.scoped, record)]
        return Answer(body=schemas.DocumentList(items=shown, next_cursor=cursor))

    async def show(self, call: Call) -> Answer:
        """One document."""
        await self._memories.find(call.scoped)
        record = await self._documents.find(call.scoped, call.path["document_id"])
        if record is None or not call.principal.clearance.sees(record.labels) or self._hides(call.scoped, record):
            raise NotFound("no such document")
        return Answer(body=document_out(record))

    def _hides(self, scope: Scope, record: DocumentRecord) -> bool:
        if self._hidden is None:
            return False
        return self._hidden.hides_session(scope, session_of(record.document_id)) or self._hidden.hides_labels(scope, record.labels)


def document_out(record: DocumentRecord) -> schemas.DocumentOut:
    """A document as JSON."""
    return schemas.DocumentOut(
        document_id=record.document_id,
        title=record.title,
        source=record.source,
        chunks=len(record.chunk_ids),
        chunk_ids=list(record.chunk_ids),
        updated_at=moment(record.updated_us),
        labels=list(record.labels),
    )


def operations(search: SearchRoutes, events: EventRoutes, documents: DocumentRoutes) -> list[Operation]:
    """The rows of the search service; all need the right ``search``."""
    one = "/memories/{memory}"
    rows: list[tuple[str, str, str, Handler, _Type, _Type | None, _Type | None, str | None, str]] = [
        ("search", "POST", "search", search.search, schemas.SearchResponse, schemas.SearchRequest, None, "search", "Find events"),
        (
            "context",
            "POST",
            "context",
            search.context,
            schemas.ContextResponse,
            schemas.ContextRequest,
            None,
            "context",
            "A prompt's block",
        ),
        ("events.list", "GET", "events", events.list, schemas.EventList, None, schemas.EventsQuery, "events.list", "Events by time"),
        (
            "events.get",
            "GET",
            "events/{event_id}",
            events.show,
            schemas.EventWithNeighbours,
            None,
            schemas.AroundQuery,
            "events.get",
            "One event and its neighbours",
        ),
        (
            "sessions.list",
            "GET",
            "sessions",
            events.sessions,
            schemas.SessionList,
            None,
            schemas.SessionsQuery,
            "sessions.list",
            "Sessions",
        ),
        ("sessions.get", "GET", "sessions/{session_id}", events.session, schemas.SessionOut, None, None, "sessions.get", "One session"),
        ("documents.list", "GET", "documents", documents.list, schemas.DocumentList, None, schemas.SessionsQuery, None, "Documents"),
        ("documents.get", "GET", "documents/{document_id}", documents.show, schemas.DocumentOut, None, None, None, "One document"),
    ]
    return [
        Operation(
            name=name,
            method=method,
            path=f"{one}/{path}",
            right="search",
            summary=summary,
            handle=handle,
            answer=answer,
            body=body,
            query=query,
            subject=subject,
        )
        for name, method, path, handle, answer, body, query, subject, summary in rows
    ]
