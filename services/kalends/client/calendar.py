"""What the server answers about the calendar, as values, and what it is asked.

Belongs here: nodes, grips, and their requests. Does not belong here: sending. A newcomer would get wrong: lists show nodes without their
lines; ask for one node to read them.
"""

from datetime import datetime
from urllib.parse import quote

from msgspec import Struct

from kalends.client.requests import Request
from kalends.client.results import Event, Page
from kalends.domain.scope import memory_name


class Grip(Struct, frozen=True, kw_only=True):
    """Evidence: ``excerpt`` is a piece of the text of the event ``first_event_id``, letter by letter."""

    grip_id: str
    excerpt: str
    first_event_id: str
    last_event_id: str
    session_id: str = ""
    occurred_at: datetime | None = None
    speaker: str = ""


class Bullet(Struct, frozen=True, kw_only=True):
    """One line of a node and what it rests on."""

    text: str
    grips: list[Grip] = []


class TocEntry(Struct, frozen=True, kw_only=True):
    """A node as lists show it; ``start`` and ``end`` are when its first and last events occurred, ``label`` is what people call the period.

    ``degraded`` says why the wanted summarizer did not write it.
    """

    node_id: str
    level: str
    label: str
    title: str = ""
    keywords: list[str] = []
    event_count: int = 0
    start: datetime | None = None
    end: datetime | None = None
    agents: list[str] = []
    version: int = 1
    degraded: str | None = None


class TocNode(TocEntry, frozen=True, kw_only=True):
    """One version of a node. A segment has ``event_ids``, in its session's order; others have children, to be listed apart."""

    bullets: list[Bullet] = []
    parent: str | None = None
    child_count: int = 0
    event_ids: list[str] = []
    session_id: str | None = None
    newest_version: int = 1
    author: str = ""
    recorded_at: datetime | None = None


class ExpandedGrip(Grip, frozen=True, kw_only=True):
    """A grip with its ``span`` of events and those around it; ``truncated``: the span goes on beyond what is shown."""

    node_id: str = ""
    node_title: str = ""
    before: list[Event] = []
    span: list[Event] = []
    after: list[Event] = []
    truncated: bool = False


def list_years(memory: str, *, cursor: str | None = None) -> Request[Page[TocEntry]]:
    """The years, oldest first."""
    return Request(method="GET", path=_toc(memory), params=_page(cursor), result=Page[TocEntry])


def get_node(memory: str, node_id: str, *, version: int | None = None) -> Request[TocNode]:
    """One node, in its newest version or in that one."""
    params = {} if version is None else {"version": str(version)}
    return Request(method="GET", path=_toc(memory, node_id), params=params, result=TocNode)


def list_children(memory: str, node_id: str, *, cursor: str | None = None) -> Request[Page[TocEntry]]:
    """The nodes below a node, oldest first."""
    return Request(method="GET", path=_toc(memory, node_id, "children"), params=_page(cursor), result=Page[TocEntry])


def list_grips(memory: str, node_id: str, *, version: int | None = None, cursor: str | None = None) -> Request[Page[Grip]]:
    """What a node's lines rest on."""
    params = _page(cursor) | ({} if version is None else {"version": str(version)})
    return Request(method="GET", path=_toc(memory, node_id, "grips"), params=params, result=Page[Grip])


def expand(memory: str, grip_id: str, *, before: int = 3, after: int = 3) -> Request[ExpandedGrip]:
    """A grip and what was said around it."""
    path = f"/memories/{memory_name(memory)}/grips/{quote(grip_id, safe='')}"
    return Request(method="GET", path=path, params={"before": str(before), "after": str(after)}, result=ExpandedGrip)


def _toc(memory: str, *parts: str) -> str:
    return "/".join([f"/memories/{memory_name(memory)}/toc", *(quote(part, safe="") for part in parts)])


def _page(cursor: str | None) -> dict[str, str]:
    return {"limit": "200"} | ({} if cursor is None else {"cursor": cursor})
