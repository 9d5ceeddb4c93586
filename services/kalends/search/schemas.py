"""What search reads and answers as JSON. Rules beyond types are the domain's."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

Name = Annotated[str, Meta(min_length=1, max_length=512)]
Names = Name | Annotated[list[Name], Meta(min_length=1, max_length=32)]
Zone = Annotated[str, Meta(min_length=1, max_length=64)]
Moment = Annotated[datetime, Meta(tz=True)]
Level = Literal["year", "month", "week", "day", "segment"]
Target = Literal["events", "documents", "toc", "grips"]


class FilterIn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """All that is given must hold; a list means any of it; ``from`` ≤ occurred_at < ``to``.

    Nodes of the calendar (the target toc) have a ``level`` and the time of their first event, and nothing else of this.
    """

    session_id: Names | None = None
    kind: Names | None = None
    role: Names | None = None
    actor: Names | None = None
    channel: Names | None = None
    thread_id: Names | None = None
    priority: Names | None = None
    level: Level | Annotated[list[Level], Meta(min_length=1, max_length=5)] | None = None
    metadata: dict[str, str | int | float | bool | None] = {}
    since: Moment | None = field(default=None, name="from")
    until: Moment | None = field(default=None, name="to")


class SearchRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A question. ``targets`` defaults to events; of several, each one's best hit has the score 1.

    ``time_phrases``: words such as "last week" narrow down, read in ``timezone`` (an IANA name), unless ``filter`` has ``from`` or ``to``.
    """

    query: Annotated[str, Meta(min_length=1, max_length=4096)]
    limit: Annotated[int, Meta(ge=1, le=100)] = 10
    mode: Literal["hybrid", "lexical", "vector"] = "hybrid"
    targets: Annotated[list[Target], Meta(min_length=1, max_length=4)] = field(default_factory=lambda: ["events"])
    filter: FilterIn = FilterIn()
    rerank: Literal["auto", "on", "off"] = "auto"
    min_visibility: Annotated[str, Meta(max_length=20000)] | None = None
    timeout_ms: Annotated[int, Meta(ge=1, le=30_000)] = 2000
    explain: bool = False
    time_phrases: bool = True
    timezone: Zone = "UTC"


class ScoresOut(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Raw scores by arm: BM25, cosine and mean MaxSim."""

    lexical: float | UnsetType = UNSET
    vector: float | UnsetType = UNSET
    rerank: float | UnsetType = UNSET


class HitOut(Struct, frozen=True, kw_only=True):
    """One found event with its text. ``untrusted`` in ``trust`` is what the writer said of it.

    A hit of the target toc is a node, with its ``level`` and the time of its first event; one of the target grips has the excerpt as its
    text, the ``speaker``, the events that it spans, and the segment it stands in as ``node_id``.
    """

    target: str
    id: str
    score: float
    text: str
    occurred_at: datetime
    session_id: str | UnsetType = UNSET
    role: str | UnsetType = UNSET
    actor: str | UnsetType | None = UNSET
    kind: str | UnsetType = UNSET
    trust: str | UnsetType | None = UNSET
    scores: ScoresOut
    document_id: str | None = None
    level: Level | UnsetType = UNSET
    speaker: str | UnsetType = UNSET
    first_event_id: str | UnsetType = UNSET
    last_event_id: str | UnsetType = UNSET
    node_id: str | UnsetType = UNSET


class Lag(Struct, frozen=True, kw_only=True):
    """How far a projection is behind the log."""

    events: int
    seconds: float


class TimeFilterOut(Struct, frozen=True, kw_only=True):
    """The stretch of time that ``phrase`` of the question names: ``from`` ≤ occurred_at < ``to``, null is an open end.

    ``mode`` filter: only what lies in it is found; ``mode`` boost: what lies in it ranks higher. Where nothing lies in it, ``applied`` is
    false and everything was searched.
    """

    phrase: str
    since: datetime | None = field(name="from")
    until: datetime | None = field(name="to")
    mode: Literal["filter", "boost"]
    applied: bool


class SearchResponse(Struct, frozen=True, kw_only=True):
    """Hits, best first, and how they came about. ``stale``: ``min_visibility`` was not reached in time; ``floors`` says where it stands."""

    hits: list[HitOut]
    arms: list[str]
    degraded: list[str]
    stale: bool
    lag: dict[str, Lag]
    took_ms: dict[str, float]
    time_filter: TimeFilterOut | None = None
    floors: dict[str, dict[str, int]] | UnsetType = UNSET
    explain: dict[str, dict[str, float]] | UnsetType = UNSET


class EventOut(Struct, frozen=True, kw_only=True):
    """One event as it was written."""

    event_id: str
    session_id: str
    kind: str
    role: str
    actor: str | None
    text: str
    occurred_at: datetime
    recorded_at: datetime
    expires_at: datetime | None
    metadata: dict[str, str | int | float | bool | None]
    channel: str | None
    thread_id: str | None
    priority: str | None
    trust: str | None
    document_id: str | None = None
    labels: list[str] = []


class EventList(Struct, frozen=True, kw_only=True):
    """Events by occurred_at."""

    items: list[EventOut]
    next_cursor: str | None = None


class EventsQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which events, in which order."""

    since: Moment | None = field(default=None, name="from")
    until: Moment | None = field(default=None, name="to")
    session_id: Name | None = None
    kind: Name | None = None
    role: Name | None = None
    actor: Name | None = None
    channel: Name | None = None
    thread_id: Name | None = None
    priority: Name | None = None
    order: Literal["asc", "desc"] = "asc"
    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    cursor: Annotated[str, Meta(max_length=2000)] | None = None


class AroundQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many neighbours of an event, in its session's order."""

    before: Annotated[int, Meta(ge=0, le=100)] = 0
    after: Annotated[int, Meta(ge=0, le=100)] = 0


class EventWithNeighbours(EventOut, frozen=True, kw_only=True):
    """An event and, where asked for, its neighbours in the session."""

    before: list[EventOut] = []
    after: list[EventOut] = []


class SessionOut(Struct, frozen=True, kw_only=True):
    """One session."""

    session_id: str
    events: int
    first_at: datetime
    last_at: datetime


class SessionList(Struct, frozen=True, kw_only=True):
    """Sessions, the last active first."""

    items: list[SessionOut]
    next_cursor: str | None = None


class SessionsQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the list goes on."""

    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    cursor: Annotated[str, Meta(max_length=4000)] | None = None


class ContextRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What to put before a model: found by ``query`` and the ``recent`` last events, within ``max_tokens`` of the embedded tokenizer.

    ``calendar``: what is older than two weeks may be told by lines of the calendar, in a third of the tokens at most.
    """

    max_tokens: Annotated[int, Meta(ge=64, le=131_072)]
    query: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None
    recent: Annotated[int, Meta(ge=0, le=200)] = 10
    calendar: bool = True
    filter: FilterIn = FilterIn()
    min_visibility: Annotated[str, Meta(max_length=20000)] | None = None
    timeout_ms: Annotated[int, Meta(ge=1, le=30_000)] = 2000
    time_phrases: bool = True
    timezone: Zone = "UTC"


class ContextResponse(Struct, frozen=True, kw_only=True):
    """``text`` is data, never instructions; each line names its event, or its grip, in brackets; ``ids`` are those."""

    text: str
    ids: list[str]
    tokens: int
    truncated: bool
    arms: list[str]
    degraded: list[str]
    stale: bool
    time_filter: TimeFilterOut | None = None


class DocumentOut(Struct, frozen=True, kw_only=True):
    """A document as it is kept; its chunks are events."""

    document_id: str
    title: str
    source: str
    chunks: int
    chunk_ids: list[str]
    updated_at: datetime
    labels: list[str] = []


class DocumentList(Struct, frozen=True, kw_only=True):
    """Documents by id."""

    items: list[DocumentOut]
    next_cursor: str | None = None
