"""Events as callers give them, made ready to be sent.

Belongs here: the value to write, its id, its JSON, and how many fit into one request. Does not belong here: the rules an event must meet,
which are the server's. A newcomer would get wrong: the id is chosen *before* the first try, so a retry can never write an event twice.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct

from kalends.client import requests
from kalends.client.results import Rejection, Scalar
from kalends.domain.errors import Invalid
from kalends.domain.events import new_ulid

EVENTS_OF_A_REQUEST = 500
"""The contract's limit."""

BYTES_OF_A_REQUEST = 3 * 1024 * 1024 + 512 * 1024
"""Below the contract's 4 MiB, so that a server with a smaller envelope for headers still takes it."""


class NewEvent(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event to remember. Times need an offset; ``event_id`` is a ULID or UUID and is chosen by the client if absent."""

    text: str
    session_id: str
    kind: str = "message"
    event_id: str | None = None
    role: str = "user"
    actor: str | None = None
    occurred_at: datetime | None = None
    expires_at: datetime | None = None
    metadata: dict[str, Scalar] = {}
    channel: str | None = None
    thread_id: str | None = None
    priority: str | None = None
    trust: str | None = None
    labels: tuple[str, ...] = ()
    """Who may see it: credentials that have any of these; without one, everybody who may read the memory."""


Appendable = NewEvent | Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """One event with its id. ``index`` is its place among all that were given; ``fault`` is why it cannot even be sent."""

    index: int
    event: Mapping[str, Any]
    body: bytes
    fault: Rejection | None = None


def prepare(given: Appendable | Iterable[Appendable]) -> Iterator[Prepared]:
    """Give every event an id and encode it; an event that no request can carry gets a fault instead."""
    events = [given] if isinstance(given, NewEvent | Mapping) else given
    for index, event in enumerate(events):
        members = _members(event)
        if members.get("event_id") is None:
            members["event_id"] = str(new_ulid(datetime.now(UTC)))
        try:
            body = requests.encoded(members)
        except Invalid as error:
            yield Prepared(index=index, event=members, body=b"", fault=_fault(index, error.detail, "character"))
            continue
        if len(body) > BYTES_OF_A_REQUEST:
            detail = f"is {len(body)} bytes of JSON; no request may carry so much"
            yield Prepared(index=index, event=members, body=b"", fault=_fault(index, detail, "too_large"))
            continue
        yield Prepared(index=index, event=members, body=body)


def batches(prepared: Iterable[Prepared]) -> Iterator[Sequence[Prepared]]:
    """Cut into runs that fit into one request each, in order."""
    batch: list[Prepared] = []
    size = 0
    for one in prepared:
        if batch and (len(batch) == EVENTS_OF_A_REQUEST or size + len(one.body) + 1 > BYTES_OF_A_REQUEST):
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += len(one.body) + 1
    if batch:
        yield batch


def _members(event: Appendable) -> dict[str, Any]:
    if isinstance(event, NewEvent):
        kept: dict[str, Any] = msgspec.to_builtins(event, builtin_types=(datetime,))
        kept.setdefault("kind", "message")
        event = kept
    members = dict(event)
    for name in ("occurred_at", "expires_at"):
        if isinstance(members.get(name), datetime):
            members[name] = requests.moment_text(members[name])
    return members


def _fault(index: int, detail: str, code: str) -> Rejection:
    return Rejection(pointer=f"/events/{index}", detail=detail, code=code)
