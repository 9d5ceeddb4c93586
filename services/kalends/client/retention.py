"""Retention and the ends of sessions, as values and requests.

Belongs here: what is sent and answered about them. Does not belong here: a memory's rules, which are a member of it (``requests``). A
newcomer would get wrong: the end of a session erases it only in a session-only memory; everywhere else it is accepted and changes nothing.
"""

from urllib.parse import quote

from msgspec import Struct

from kalends.client.requests import Request, encoded
from kalends.domain.scope import memory_name


class SessionEnd(Struct, frozen=True, kw_only=True):
    """What the end of a session did. ``state``: kept, empty, or that of the erasure ``erasure_id``."""

    session_id: str
    state: str
    erasure_id: str | None = None


class Retained(Struct, frozen=True, kw_only=True):
    """Events of one memory that are due, by why, and how many a hold keeps. ``more``: that was not all; a later run goes on."""

    memory: str
    expired: int = 0
    age: int = 0
    count: int = 0
    session: int = 0
    held: int = 0
    erasures: int = 0
    more: bool = False


class RetentionRun(Struct, frozen=True, kw_only=True):
    """The memories in which anything is due."""

    items: list[Retained]
    dry_run: bool = False


def run(*, memory: str | None, dry_run: bool) -> Request[RetentionRun]:
    """Erase what is due, or count it."""
    body = encoded({"memory": memory, "dry_run": dry_run})
    return Request(method="POST", path="/admin/retention", body=body, result=RetentionRun)


def end_session(memory: str, session_id: str) -> Request[SessionEnd]:
    """End a session; again is safe."""
    path = f"/memories/{memory_name(memory)}/sessions/{quote(session_id, safe='')}/end"
    return Request(method="POST", path=path, result=SessionEnd)
