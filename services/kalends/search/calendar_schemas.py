"""What reading the calendar takes and answers as JSON. Rules beyond types are the domain's."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from kalends.search.schemas import EventOut

_Limit = Annotated[int, Meta(ge=1, le=200)]
_Cursor = Annotated[str, Meta(max_length=2000)]
_Number = Annotated[int, Meta(ge=1, le=(1 << 53))]


class TocQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a list of nodes goes on."""

    limit: _Limit = 50
    cursor: _Cursor | None = None


class NodeQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which version; the newest by default."""

    version: _Number | None = None


class ProofsQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of which version, and where the list goes on; a cursor stays with the version that it began with."""

    version: _Number | None = None
    limit: _Limit = 50
    cursor: _Cursor | None = None


class ExpandQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many events before and after the span, in its session's order."""

    before: Annotated[int, Meta(ge=0, le=100)] = 3
    after: Annotated[int, Meta(ge=0, le=100)] = 3


class GripOut(Struct, frozen=True, kw_only=True):
    """Evidence: ``excerpt`` is a piece of the text of the event ``first_event_id``, letter by letter."""

    grip_id: str
    excerpt: str
    first_event_id: str
    last_event_id: str
    session_id: str
    occurred_at: datetime
    speaker: str


class BulletOut(Struct, frozen=True, kw_only=True):
    """One line of a node and what it rests on."""

    text: str
    grips: list[GripOut]


class NodeSummaryOut(Struct, frozen=True, kw_only=True):
    """A node as lists show it; ``start`` and ``end`` are when its first and last events occurred, ``label`` is what people call the period.

    ``degraded`` says why the wanted summarizer did not write it.
    """

    node_id: str
    level: str
    label: str
    title: str
    keywords: list[str]
    event_count: int
    start: datetime
    end: datetime
    agents: list[str]
    version: int
    degraded: str | None


class NodeOut(NodeSummaryOut, frozen=True, kw_only=True):
    """One version of a node. A segment has ``event_ids``, in its session's order; others have children, to be listed apart.

    ``child_count`` is how many children this version was made of, up to 1,000.
    """

    bullets: list[BulletOut]
    parent: str | None
    child_count: int
    event_ids: list[str]
    session_id: str | None
    newest_version: int
    author: str
    recorded_at: datetime


class NodeList(Struct, frozen=True, kw_only=True):
    """Nodes, oldest first."""

    items: list[NodeSummaryOut]
    next_cursor: str | None = None


class GripList(Struct, frozen=True, kw_only=True):
    """A node's grips in the order of its lines, each once."""

    items: list[GripOut]
    next_cursor: str | None = None


class ExpandedGrip(GripOut, frozen=True, kw_only=True):
    """A grip with its ``span`` of events and those around it; ``truncated``: the span goes on beyond what is shown."""

    node_id: str
    node_title: str
    before: list[EventOut]
    span: list[EventOut]
    after: list[EventOut]
    truncated: bool
