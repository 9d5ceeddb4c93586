"""What ingest reads and answers as JSON. Rules beyond types are the domain's.

A newcomer would get wrong: ``events`` is read item by item (``AppendRequest`` shows clients the shape), so that a bad item does not refuse
its neighbours.
"""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from kalends.ingest.retention_schemas import Retention

Name = Annotated[str, Meta(min_length=1, max_length=512)]
Labels = Annotated[tuple[str, ...], Meta(max_length=16)]
"""Who may see it: credentials that have one of these; without any, whoever may read the memory."""

Metadata = dict[str, str | int | float | bool | None]


class EventIn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One event to remember. Times need an offset; ``event_id`` is a ULID or UUID and makes a retry safe."""

    session_id: Name
    kind: str
    text: str
    event_id: str | None = None
    role: str = "user"
    actor: Name | None = None
    occurred_at: Annotated[datetime, Meta(tz=True)] | None = None
    expires_at: Annotated[datetime, Meta(tz=True)] | None = None
    metadata: Metadata = {}
    channel: Name | None = None
    thread_id: Name | None = None
    priority: Literal["low", "normal", "high", "urgent"] | None = None
    trust: Literal["trusted", "untrusted"] | None = None
    labels: Labels = ()


class AppendRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """1 to 500 events."""

    events: Annotated[list[EventIn], Meta(min_length=1, max_length=500)]


class ItemFault(Struct, frozen=True, kw_only=True):
    """Why an item was rejected; the pointer is relative to the request."""

    pointer: str
    detail: str
    code: str


class ItemResult(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one event; ``masked`` names the kinds of things that were kept out of it."""

    event_id: str | None
    status: Literal["new", "duplicate", "rejected"]
    error: ItemFault | None = None
    masked: list[str] = []


class AppendResponse(Struct, frozen=True, kw_only=True):
    """One result per event, in order; ``visibility`` is for ``min_visibility`` of a read."""

    results: list[ItemResult]
    visibility: str


class Quota(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds of a memory; null is none."""

    events: Annotated[int, Meta(ge=1, le=1 << 53)] | None = None
    bytes: Annotated[int, Meta(ge=1, le=1 << 53)] | None = None


Action = Literal["off", "mask", "refuse"]


class CategoryActions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is done about sensitive content before it is stored, by category; null: what holds otherwise.

    What holds by default: credentials are masked, personal data is left alone.
    """

    credentials: Action | None = None
    card: Action | None = None
    email: Action | None = None
    phone: Action | None = None
    iban: Action | None = None


class Redaction(CategoryActions, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A memory's policy; ``kinds`` overrides it for kinds of events (``chunk``: documents)."""

    kinds: Annotated[dict[str, CategoryActions], Meta(max_length=32)] = {}


class MemoryIn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A memory to create. A ``dedicated`` one has a stream, an index and a collection of its own, for ever; absent: shared, or as it is."""

    isolation: Literal["shared", "dedicated"] | None = None
    description: Annotated[str, Meta(max_length=2000)] = ""
    quota: Quota | None = None
    redaction: Redaction | None = None
    retention: Retention | None = None


class MemoryPatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may change; absent members stay. ``retention`` null: the memory says nothing of it any more."""

    description: Annotated[str, Meta(max_length=2000)] | None = None
    quota: Quota | None = None
    redaction: Redaction | None = None
    retention: Retention | UnsetType | None = UNSET


class LagOut(Struct, frozen=True, kw_only=True):
    """How far a projection is behind the log."""

    events: int
    seconds: float


class MemoryOut(Struct, frozen=True, kw_only=True):
    """A memory and its counts. Null counts are not known to this process."""

    name: str
    isolation: str
    description: str
    created_at: datetime
    quota: Quota | None = None
    redaction: Redaction | None = None
    retention: Retention | None = None
    events: int | None = None
    documents: int | None = None
    sessions: int | None = None
    toc_nodes: int | None = None
    grips: int | None = None
    log_bytes: int | None = None
    first_at: datetime | None = None
    last_at: datetime | None = None
    lag: dict[str, LagOut] = {}
    owner: str | None = None
    """Whom it was handed over to; null: it never was, and is whose credential names it."""

    handed_over_at: datetime | None = None
    handed_over_reason: str | None = None


class MemoryList(Struct, frozen=True, kw_only=True):
    """Memories of the credential, by name."""

    items: list[MemoryOut]
    next_cursor: str | None = None


class PageQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a list goes on."""

    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    cursor: Annotated[str, Meta(max_length=2000)] | None = None


class DocumentIn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A Markdown or plain text to keep as chunks; the same content again changes nothing, other content replaces it."""

    document_id: Name
    text: Annotated[str, Meta(min_length=1)]
    title: Annotated[str, Meta(max_length=2000)] = ""
    source: Annotated[str, Meta(max_length=2000)] = ""
    media_type: Literal["text/markdown", "text/plain"] = "text/markdown"
    occurred_at: Annotated[datetime, Meta(tz=True)] | None = None
    metadata: Metadata = {}
    labels: Labels = ()


class DocumentOut(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A document as it is kept. ``status``: what this write did."""

    document_id: str
    title: str
    source: str
    chunks: int
    chunk_ids: list[str]
    updated_at: datetime
    status: Literal["new", "unchanged", "replaced", ""] = ""
    visibility: str = ""
    masked: list[str] = []
    labels: list[str] = []


class Removed(Struct, frozen=True, kw_only=True):
    """What was taken back; it is no longer found once ``visibility`` is reached."""

    document_id: str
    chunks: int
    visibility: str
