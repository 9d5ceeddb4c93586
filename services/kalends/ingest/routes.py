"""Ingest's rows of the operation table: JSON in, use cases, JSON out.

A newcomer would get wrong: appending decodes the whole request at once because that is fast, and item by item only if that failed, so that
one bad item does not refuse its neighbours.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

import msgspec

from kalends.domain import events as domain
from kalends.domain import labels
from kalends.domain.errors import Fault, Forbidden, Invalid, Malformed, Throttled, TooLarge
from kalends.domain.events import Event, Facets, moment
from kalends.domain.labels import Clearance
from kalends.domain.positions import highest, visibility_token
from kalends.domain.scope import Scope
from kalends.edge import decoding
from kalends.edge.metrics import Metrics
from kalends.edge.operations import Answer, Call, Operation
from kalends.edge.progress import Progress
from kalends.ingest import schemas
from kalends.ingest.documents import KeepDocument, Kept, NewDocument
from kalends.ingest.usecases import CONFLICT, TAKEN, AppendEvents, Outcome, idempotent_id
from kalends.ports.clock import Clock
from kalends.settings import IngestSettings


class _Raws(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request whose items are not decoded yet."""

    events: list[msgspec.Raw]


_PROJECTIONS = ("timeline", "lexical", "vector")
_LACKS_LABEL = Fault(pointer="/labels", detail="a label that the credential lacks", code="label_lacking")


class EventRoutes:
    """``POST /memories/{memory}/events``."""

    def __init__(self, *, append: AppendEvents, progress: Progress, clock: Clock, settings: IngestSettings, metrics: Metrics) -> None:
        self._append = append
        self._progress = progress
        self._clock = clock
        self._settings = settings
        self._counted = {status: metrics.events.labels(status) for status in ("new", "duplicate", "rejected")}
        self._duplicates = metrics.duplicates
        self._limits = domain.Limits(text_bytes=settings.text_bytes, metadata_keys=settings.metadata_keys)
        self._whole = msgspec.json.Decoder(schemas.AppendRequest)
        self._raws = msgspec.json.Decoder(_Raws)
        self._one = msgspec.json.Decoder(schemas.EventIn)

    async def append(self, call: Call) -> Answer:
        """Store events; 202 once they are durable, 200 with ``Prefer: wait=N`` once every projection has them."""
        items = self._decode(call.raw)
        await self._check_lag()
        results: list[schemas.ItemResult | None] = [None] * len(items)
        good: list[tuple[int, Event]] = []
        key = call.headers.get("idempotency-key")
        now = self._clock.now()
        for number, item in enumerate(items):
            checked = self._event(call, item, now=now, number=number, idempotency_key=key)
            if isinstance(checked, schemas.ItemResult):
                results[number] = checked
            else:
                good.append((number, checked))
        outcomes = await self._append(call.scoped, [event for _, event in good]) if good else []
        for (number, _), outcome in zip(good, outcomes, strict=True):
            results[number] = _result(outcome, number, clearance=call.principal.clearance)
        self._count([result for result in results if result is not None])
        return await self._answer(call, [result for result in results if result is not None], outcomes)

    def _count(self, results: Sequence[schemas.ItemResult]) -> None:
        for status, number in Counter(result.status for result in results).items():
            self._counted[status].inc(number)
            if status == "duplicate":
                self._duplicates.inc(number)

    async def _answer(self, call: Call, results: list[schemas.ItemResult], outcomes: Sequence[Outcome]) -> Answer:
        refused = [result.error for result in results if result.error is not None]
        if len(refused) == len(results):
            faults = [Fault(pointer=error.pointer, detail=error.detail, code=error.code) for error in refused]
            raise Invalid("no event of the request can be stored", faults=faults)
        wanted = highest(outcome.position for outcome in outcomes if outcome.position is not None)
        body = schemas.AppendResponse(results=results, visibility=visibility_token(wanted))
        costs = {"events": len(results)}
        seconds = preferred_wait(call.headers, longest=self._settings.wait_max_s)
        if seconds is not None and await self._progress.reached(wanted, _PROJECTIONS, seconds=seconds):
            return Answer(body=body, status=200, headers={"preference-applied": "wait"}, costs=costs)
        return Answer(body=body, costs=costs)

    async def _check_lag(self) -> None:
        behind = {name: lag.events for name, lag in (await self._progress.lag()).items() if lag.events > self._settings.lag_max}
        if behind:
            names = ", ".join(f"{name} ({events} events)" for name, events in behind.items())
            raise Throttled(f"too far ahead of the projections: {names}", retry_after=5.0)

    def _decode(self, raw: bytes) -> Sequence[schemas.EventIn | Fault]:
        try:
            read = decoding.body_of(self._whole, raw, numbers=False).events
            if any(item.metadata for item in read):  # nothing else of an event is a number
                decoding.check_numbers(raw)
            items: Sequence[schemas.EventIn | Fault] = read
        except Invalid:
            items = self._decode_singly(raw)
        if len(items) > self._settings.events_max:
            raise TooLarge(f"{len(items)} events; the limit of one request is {self._settings.events_max}")
        return items

    def _decode_singly(self, raw: bytes) -> Sequence[schemas.EventIn | Fault]:
        raws: list[msgspec.Raw] = decoding.body_of(self._raws, raw).events
        if not raws:
            detail = "at least one event is needed"
            raise Invalid(detail, faults=[Fault(pointer="/events", detail=detail, code="empty")])
        items: list[schemas.EventIn | Fault] = []
        for number, item in enumerate(raws):
            try:
                items.append(decoding.body_of(self._one, bytes(item)))
            except (Invalid, Malformed) as error:
                first = error.faults[0] if error.faults else Fault(pointer="", detail=error.detail, code=error.code)
                items.append(Fault(pointer=f"/events/{number}{first.pointer}", detail=first.detail, code=first.code))
        return items

    def _event(
        self, call: Call, item: schemas.EventIn | Fault, *, now: datetime, number: int, idempotency_key: str | None
    ) -> Event | schemas.ItemResult:
        if isinstance(item, Fault):
            return schemas.ItemResult(event_id=None, status="rejected", error=_fault_out(item, under=""))
        try:
            event_id = self._event_id(call.scoped, item, now=now, number=number, idempotency_key=idempotency_key)
            event = Event(
                id=event_id,
                facets=Facets(
                    session_id=item.session_id,
                    kind=item.kind,
                    role=item.role,
                    actor=item.actor,
                    channel=item.channel,
                    thread_id=item.thread_id,
                    priority=item.priority,
                    metadata=item.metadata,
                    labels=labels.ordered(item.labels) if item.labels else (),
                ),
                text=item.text,
                occurred_at=utc(item.occurred_at) if item.occurred_at else now,
                recorded_at=now,
                dated=item.occurred_at is not None,
                expires_at=utc(item.expires_at, pointer="/expires_at") if item.expires_at else None,
                trust=item.trust,
            )
        except Invalid as error:
            return schemas.ItemResult(event_id=None, status="rejected", error=_fault_out(error.faults[0], under=f"/events/{number}"))
        faults = domain.check_event(event, limits=self._limits)
        if not call.principal.clearance.covers(event.facets.labels):
            faults = [*faults, _LACKS_LABEL]
        if faults:
            return schemas.ItemResult(event_id=event_id, status="rejected", error=_fault_out(faults[0], under=f"/events/{number}"))
        return event

    @staticmethod
    def _event_id(scope: Scope, item: schemas.EventIn, *, now: datetime, number: int, idempotency_key: str | None) -> domain.EventId:
        if item.event_id is not None:
            return domain.canonical_id(item.event_id)
        if idempotency_key is not None:
            return idempotent_id(scope, idempotency_key, number)
        return domain.new_ulid(now)


def utc(value: datetime, *, pointer: str = "/occurred_at") -> datetime:
    """An aware time in UTC.

    Raises:
        Invalid: in UTC it would lie outside the years 1 to 9999.
    """
    if value.tzinfo is UTC:
        return value
    try:
        return moment(domain.microseconds(value))
    except OverflowError as error:
        detail = "lies outside the years 1 to 9999 in UTC"
        raise Invalid(detail, faults=[Fault(pointer=pointer, detail=detail, code="range")]) from error


def preferred_wait(headers: Mapping[str, str], *, longest: float) -> float | None:
    """The seconds of ``Prefer: wait=N`` (RFC 7240), at most *longest*; None if it was not asked or cannot be read."""
    for preference in headers.get("prefer", "").split(","):
        name, _, value = preference.partition("=")
        if name.strip().lower() == "wait" and value.strip().isascii() and value.strip().isdigit():
            return min(float(value.strip()[:6]), longest)
    return None


def _fault_out(fault: Fault, *, under: str) -> schemas.ItemFault:
    return schemas.ItemFault(pointer=under + fault.pointer, detail=fault.detail, code=fault.code)


def _result(outcome: Outcome, number: int, *, clearance: Clearance) -> schemas.ItemResult:
    if outcome.fault is not None:
        # of an id that is taken, whoever does not see everything is not told what became of it
        hidden = clearance.labels is not None and outcome.fault in TAKEN
        error = _fault_out(CONFLICT if hidden else outcome.fault, under=f"/events/{number}")
        return schemas.ItemResult(event_id=outcome.event_id, status="rejected", error=error)
    status: Literal["new", "duplicate"] = "duplicate" if outcome.duplicate else "new"
    return schemas.ItemResult(event_id=outcome.event_id, status=status, masked=list(outcome.masked))


class DocumentRoutes:
    """``/memories/{memory}/documents``: writes."""

    def __init__(self, *, keep: KeepDocument, progress: Progress, settings: IngestSettings) -> None:
        self._keep = keep
        self._progress = progress
        self._settings = settings

    async def put(self, call: Call) -> Answer:
        """Keep a document; 202 once its chunks are durable."""
        body: schemas.DocumentIn = call.body
        faults = [domain.check_text(body.text, pointer="/text", limit=64 << 20)]
        faults += [
            domain.check_text(getattr(body, name), pointer=f"/{name}", limit=8000, empty=name != "document_id")
            for name in ("document_id", "title", "source")
        ]
        faults += labels.faults_of(body.labels)
        faults += domain.check_metadata(body.metadata, limits=domain.Limits(metadata_keys=self._settings.metadata_keys))
        found = [fault for fault in faults if fault is not None]
        if found:
            raise Invalid("the document breaks a rule", faults=found)
        if not call.principal.clearance.covers(body.labels):
            raise Forbidden("a credential cannot set labels that it lacks", reason="labels")
        document = NewDocument(
            document_id=body.document_id,
            text=body.text,
            title=body.title,
            source=body.source,
            markdown=body.media_type == "text/markdown",
            occurred_at=utc(body.occurred_at) if body.occurred_at else None,
            metadata=body.metadata,
            labels=labels.ordered(body.labels),
        )
        kept = await self._keep.keep(call.scoped, document, clearance=call.principal.clearance)
        wanted = highest(kept.positions)
        answer = document_out(kept)
        costs = {"events": len(kept.positions)}
        seconds = preferred_wait(call.headers, longest=self._settings.wait_max_s)
        if seconds is not None and await self._progress.reached(wanted, _PROJECTIONS, seconds=seconds):
            return Answer(body=answer, status=200, headers={"preference-applied": "wait"}, costs=costs)
        return Answer(body=answer, costs=costs)

    async def remove(self, call: Call) -> Answer:
        """Take a document's chunks back."""
        kept = await self._keep.remove(call.scoped, call.path["document_id"], clearance=call.principal.clearance)
        chunks = len(kept.record.chunk_ids)
        body = schemas.Removed(document_id=kept.record.document_id, chunks=chunks, visibility=visibility_token(highest(kept.positions)))
        return Answer(body=body)


def document_out(kept: Kept) -> schemas.DocumentOut:
    """A kept document as JSON."""
    record = kept.record
    return schemas.DocumentOut(
        document_id=record.document_id,
        title=record.title,
        source=record.source,
        chunks=len(record.chunk_ids),
        chunk_ids=list(record.chunk_ids),
        updated_at=moment(record.updated_us),
        status=kept.status if kept.status in {"new", "unchanged", "replaced"} else "",  # type: ignore[arg-type]
        visibility=visibility_token(highest(kept.positions)),
        masked=list(kept.masked),
        labels=list(record.labels),
    )


def operations(events: EventRoutes, documents: DocumentRoutes) -> list[Operation]:
    """The rows for events and documents."""
    return [
        Operation(
            name="events.append",
            method="POST",
            path="/memories/{memory}/events",
            right="append",
            summary="Store events; answered after the log has synced them",
            handle=events.append,
            answer=schemas.AppendResponse,
            status=202,
            statuses=(200,),
            body=schemas.AppendRequest,
            subject="events.append",
            lenient=True,
        ),
        Operation(
            name="documents.put",
            method="POST",
            path="/memories/{memory}/documents",
            right="append",
            summary="Keep a document as chunks; the same content again changes nothing",
            handle=documents.put,
            answer=schemas.DocumentOut,
            status=202,
            statuses=(200,),
            body=schemas.DocumentIn,
            subject="documents.put",
        ),
        Operation(
            name="documents.remove",
            method="DELETE",
            path="/memories/{memory}/documents/{document_id}",
            right="erase",
            summary="Take a document's chunks back",
            handle=documents.remove,
            answer=schemas.Removed,
            status=202,
        ),
    ]
