"""The audit, as values and requests, and checking a copy of it without a server.

Belongs here: entries and verdicts, what is asked about them, exported entries as the chain sees them. Does not belong here: sending. A
newcomer would get wrong: a copy must hold everything between its first and its last entry, those of others as links; what was cut off
behind the last one only shows to who noted its number and hash.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, TypedDict

from msgspec import Struct
from msgspec.structs import replace

from kalends.client.exchanges import Flow, RetryPolicy, exchange
from kalends.client.requests import Moment, Request, moment_text
from kalends.client.results import Page
from kalends.domain.audit import Break, Entry, Head, Link, Verdict, verify
from kalends.domain.events import microseconds


class AuditOptions(TypedDict, total=False):
    """Which entries: ``since`` ≤ at < ``until``; ``refused``: only such, or only others; ``links``: also those of entries not shown."""

    since: Moment
    until: Moment
    actor: str
    operation: str
    outcome: str
    memory: str
    refused: bool
    links: bool


class AuditEntry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who did what with which outcome; ``at`` None: a link, of which only number and hashes are shown. ``count``: calls alike."""

    number: int
    previous: str
    hash: str
    at: datetime | None = None
    tenant: str = ""
    actor: str = ""
    operation: str = ""
    memory: str = ""
    outcome: str = ""
    request_id: str = ""
    count: int = 1
    refused: bool = False
    approved_by: str = ""


class AuditBreak(Struct, frozen=True, kw_only=True):
    """Where a chain does not hold: ``altered``, ``missing`` (entries before this number) or ``foreign``."""

    number: int
    reason: str


class AuditVerdict(Struct, frozen=True, kw_only=True):
    """What a check found: how many entries hold, up to which number and hash, and where it first does not."""

    checked: int
    number: int
    hash: str
    broken: AuditBreak | None = None
    next_cursor: str | None = None


def list_audit(options: AuditOptions, *, cursor: str | None = None, limit: int = 200) -> Request[Page[AuditEntry]]:
    """Entries, newest first."""
    params = {"limit": str(limit)} | ({} if cursor is None else {"cursor": cursor})
    for name, value in options.items():
        if isinstance(value, bool):
            params[name] = "true" if value else "false"
        elif value is not None:
            shown = {"since": "from", "until": "to"}.get(name)
            params[shown or name] = moment_text(value) if shown else str(value)  # type: ignore[arg-type]  # by its name it is a time
    return Request(method="GET", path="/audit", params=params, result=Page[AuditEntry])


def verify_audit(*, policy: RetryPolicy) -> Flow[AuditVerdict]:
    """Have the server check the whole chain, piece by piece."""
    checked = 0
    cursor: str | None = None
    while True:
        params: dict[str, str] = {} if cursor is None else {"cursor": cursor}
        request = Request(method="GET", path="/audit/verification", params=params, result=AuditVerdict)
        verdict = yield from exchange(request, policy=policy)
        checked, cursor = checked + verdict.checked, verdict.next_cursor
        if cursor is None:
            return replace(verdict, checked=checked)


def verdict_of(found: Verdict) -> AuditVerdict:
    """What a check of a copy found, as a server would say it."""
    broken = None if found.broken is None else AuditBreak(number=found.broken.number, reason=found.broken.reason)
    return AuditVerdict(checked=found.checked, number=found.head.number, hash=found.head.hash.hex(), broken=broken)


def checked(items: Iterable[Mapping[str, Any]]) -> Verdict:
    """Check exported entries (``GET /audit?links=true``), in any order; an item that cannot be read is altered."""
    entries: list[Entry | Link] = []
    for item in sorted(items, key=_number):
        try:
            entries.append(_entry(item))
        except (KeyError, ValueError, TypeError, OverflowError):
            found = verify(entries)
            return (
                found
                if found.broken
                else Verdict(checked=found.checked, head=found.head, broken=Break(number=_number(item), reason="altered"))
            )
    return verify(entries, after=Head() if entries and entries[0].number == 1 else None)


def _number(item: Mapping[str, Any]) -> int:
    number = item.get("number")
    return number if isinstance(number, int) else 0


def _entry(item: Mapping[str, Any]) -> Entry | Link:
    number, previous, digest = int(item["number"]), bytes.fromhex(item["previous"]), bytes.fromhex(item["hash"])
    if item.get("at") is None:
        return Link(number=number, previous=previous, hash=digest)
    return Entry(
        at_us=microseconds(datetime.fromisoformat(item["at"])),
        tenant=str(item.get("tenant", "")),
        actor=str(item.get("actor", "")),
        operation=str(item.get("operation", "")),
        memory=str(item.get("memory", "")),
        outcome=str(item.get("outcome", "")),
        request_id=str(item.get("request_id", "")),
        count=int(item.get("count", 1)),
        refused=bool(item.get("refused", False)),
        approved_by=str(item.get("approved_by", "")),
        number=number,
        previous=previous,
        hash=digest,
    )
