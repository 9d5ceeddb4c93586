"""Lines of an export: domain values to JSON and back.

Belongs here: the shape of each kind of line and its one spelling. Does not belong here: which lines there are (``transfers``), or the file
around them (``domain.exports``). A newcomer would get wrong: a value has one spelling only, with names in a fixed order and without what is
at its default, so equal content is equal bytes; and a node's line names its grips by id, for each stands in a line of its own.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from kalends.domain.calendar import Bullet, Grip, Node, grip_of
from kalends.domain.errors import Fault, Invalid
from kalends.domain.events import Event, EventId, Facets, Scalar, canonical_id, microseconds, moment
from kalends.domain.periods import period_of
from kalends.wire.documents import DocumentRecord

Moment = Annotated[datetime, Meta(tz=True)]


class EventLine(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="type", tag="event"):
    """An event as it is kept. ``dated`` is false where nobody said when it happened; ``occurred_at`` is then when it was recorded."""

    event_id: str
    session_id: str
    kind: str
    role: str
    text: str
    occurred_at: Moment
    recorded_at: Moment
    dated: bool = True
    expires_at: Moment | None = None
    actor: str | None = None
    channel: str | None = None
    thread_id: str | None = None
    priority: str | None = None
    trust: str | None = None
    document_id: str | None = None
    labels: tuple[str, ...] = ()
    metadata: dict[str, Scalar] = {}


class DocumentLine(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="type", tag="document"):
    """A document: its chunks are events. ``content_hash`` tells the same content when it is written again."""

    document_id: str
    title: str
    source: str
    content_hash: Annotated[str, Meta(pattern="^([0-9a-f]{2})*$")]
    number: Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
    updated_at: Moment
    chunk_ids: tuple[str, ...]
    labels: tuple[str, ...] = ()


class GripLine(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="grip"):
    """Evidence: a piece of the text of the first event."""

    grip_id: str
    excerpt: str
    first_event_id: str
    last_event_id: str
    session_id: str
    occurred_at: Moment
    speaker: str


class BulletPart(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of a node, and the ids of what it rests on."""

    text: str
    grips: tuple[str, ...]


class NodeLine(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="type", tag="node"):
    """One version of a node of the calendar; versions of one node stand in their order."""

    node_id: str
    recorded_at: Moment
    first_at: Moment
    last_at: Moment
    title: str = ""
    bullets: tuple[BulletPart, ...] = ()
    keywords: tuple[str, ...] = ()
    children: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    event_count: Annotated[int, Meta(ge=0, le=(1 << 63) - 1)] = 0
    agents: tuple[str, ...] = ()
    session_id: str = ""
    author: str = ""
    degraded: str = ""
    inputs: str = ""
    gone: bool = False


Line = EventLine | DocumentLine | GripLine | NodeLine

_encoder = msgspec.json.Encoder(order="deterministic")


def encoded(line: Line) -> str:
    """*line* as JSON on one line; the same content always has the same spelling."""
    return _encoder.encode(line).decode()


def event_line(event: Event) -> EventLine:
    """*event* as a line."""
    facets = event.facets
    return EventLine(
        event_id=event.id,
        session_id=facets.session_id,
        kind=facets.kind,
        role=facets.role,
        text=event.text,
        occurred_at=event.occurred_at,
        recorded_at=event.recorded_at,
        dated=event.dated,
        expires_at=event.expires_at,
        actor=facets.actor,
        channel=facets.channel,
        thread_id=facets.thread_id,
        priority=facets.priority,
        trust=event.trust,
        document_id=event.document_id,
        labels=facets.labels,
        metadata=dict(facets.metadata),
    )


def event_of(line: EventLine) -> Event:
    """The event that *line* tells of.

    Raises:
        Invalid: its id is none, or a time has no place in UTC.
    """
    facets = Facets(
        session_id=line.session_id,
        kind=line.kind,
        role=line.role,
        actor=line.actor,
        channel=line.channel,
        thread_id=line.thread_id,
        priority=line.priority,
        metadata=line.metadata,
        labels=line.labels,
    )
    return Event(
        id=canonical_id(line.event_id),
        facets=facets,
        text=line.text,
        occurred_at=_utc(line.occurred_at, "/occurred_at"),
        recorded_at=_utc(line.recorded_at, "/recorded_at"),
        dated=line.dated,
        expires_at=None if line.expires_at is None else _utc(line.expires_at, "/expires_at"),
        trust=line.trust,
        document_id=line.document_id,
    )


def document_line(record: DocumentRecord) -> DocumentLine:
    """*record* as a line."""
    return DocumentLine(
        document_id=record.document_id,
        title=record.title,
        source=record.source,
        content_hash=record.content_hash.hex(),
        number=record.number,
        updated_at=moment(record.updated_us),
        chunk_ids=record.chunk_ids,
        labels=record.labels,
    )


def document_of(line: DocumentLine) -> DocumentRecord:
    """The record that *line* tells of, as one that is complete.

    Raises:
        Invalid: the id of a chunk is none, or a time has no place in UTC.
    """
    return DocumentRecord(
        document_id=line.document_id,
        title=line.title,
        source=line.source,
        content_hash=bytes.fromhex(line.content_hash),
        chunk_ids=tuple(canonical_id(one, pointer="/chunk_ids") for one in line.chunk_ids),
        stale=(),
        updated_us=microseconds(_utc(line.updated_at, "/updated_at")),
        number=line.number,
        pending=False,
        labels=line.labels,
    )


def grip_line(grip: Grip) -> GripLine:
    """*grip* as a line."""
    return GripLine(
        grip_id=grip.id,
        excerpt=grip.excerpt,
        first_event_id=grip.first,
        last_event_id=grip.last,
        session_id=grip.session_id,
        occurred_at=moment(grip.occurred_us),
        speaker=grip.speaker,
    )


def grip_from(line: GripLine) -> Grip:
    """The grip that *line* tells of.

    Raises:
        Invalid: its id is not what its evidence says.
    """
    grip = grip_of(
        line.excerpt,
        first=canonical_id(line.first_event_id, pointer="/first_event_id"),
        last=canonical_id(line.last_event_id, pointer="/last_event_id"),
        session_id=line.session_id,
        occurred_us=microseconds(_utc(line.occurred_at, "/occurred_at")),
        speaker=line.speaker,
    )
    if grip.id != line.grip_id:
        raise _invalid("/grip_id", "is not the id of this evidence")
    return grip


def node_line(node: Node, *, recorded_us: int) -> NodeLine:
    """A version of a node, recorded then, as a line."""
    return NodeLine(
        node_id=node.period.id,
        recorded_at=moment(recorded_us),
        first_at=moment(node.first_us),
        last_at=moment(node.last_us),
        title=node.title,
        bullets=tuple(BulletPart(text=one.text, grips=tuple(grip.id for grip in one.grips)) for one in node.bullets),
        keywords=node.keywords,
        children=node.children,
        events=node.events,
        event_count=node.event_count,
        agents=node.agents,
        session_id=node.session_id,
        author=node.author,
        degraded=node.degraded,
        inputs=node.inputs,
        gone=node.gone,
    )


def node_of(line: NodeLine, grips: Mapping[str, Grip]) -> Node:
    """The version that *line* tells of.

    Raises:
        Invalid: it names no place in the calendar or no event, or a grip that is not among *grips*; or a line of it rests on nothing.
    """
    return Node(
        period=period_of(line.node_id, pointer="/node_id"),
        first_us=microseconds(_utc(line.first_at, "/first_at")),
        last_us=microseconds(_utc(line.last_at, "/last_at")),
        title=line.title,
        bullets=tuple(Bullet(text=one.text, grips=_grips(one.grips, grips)) for one in line.bullets),
        keywords=line.keywords,
        children=tuple(period_of(one, pointer="/children").id for one in line.children),
        events=tuple(EventId(canonical_id(one, pointer="/events")) for one in line.events),
        event_count=line.event_count,
        agents=line.agents,
        session_id=line.session_id,
        author=line.author,
        degraded=line.degraded,
        inputs=line.inputs,
        gone=line.gone,
    )


def recorded_us(line: NodeLine) -> int:
    """When a version was recorded, in microseconds.

    Raises:
        Invalid: in UTC there is no such time.
    """
    return microseconds(_utc(line.recorded_at, "/recorded_at"))


def _grips(named: Sequence[str], grips: Mapping[str, Grip]) -> tuple[Grip, ...]:
    if not named:
        raise _invalid("/bullets", "each needs a grip")
    if any(one not in grips for one in named):
        raise _invalid("/bullets", "names a grip that is not there")
    return tuple(grips[one] for one in named)


def _utc(value: datetime, pointer: str) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise _invalid(pointer, "lies outside the years 1 to 9999 in UTC") from error


def _invalid(pointer: str, detail: str) -> Invalid:
    return Invalid(detail, faults=[Fault(pointer=pointer, detail=detail, code="export")])
