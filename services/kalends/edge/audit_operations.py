"""The operations about the audit: list and verify.

Belongs here: what an admin may ask of the audit. Does not belong here: writing it (``auditing``). A newcomer would get wrong: the chain is
one for all tenants, and an admin sees the entries of the own tenant only; of the others, on request, no more than their links, so that an
exported copy can be checked as well.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta, field

from kalends.domain import audit
from kalends.domain.audit import Entry, Head
from kalends.domain.credentials import Principal
from kalends.domain.errors import Fault, Invalid
from kalends.domain.events import microseconds, moment
from kalends.domain.queries import decode_cursor, encode_cursor
from kalends.edge.operations import Answer, Call, Operation
from kalends.ports.audit import AuditStore

Time = Annotated[datetime, Meta(tz=True)]
Word = Annotated[str, Meta(min_length=1, max_length=200)]
_PIECE = 64
_LIST_MAX = 2048
_VERIFY_MAX = 8192
"""Blocks that one call looks at; the next call goes on."""


class AuditQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which entries, newest first. ``refused``: only such, or only others. ``links``: also the links of entries that are not shown."""

    since: Time | None = field(default=None, name="from")
    until: Time | None = field(default=None, name="to")
    actor: Word | None = None
    operation: Word | None = None
    outcome: Word | None = None
    memory: Word | None = None
    refused: bool | None = None
    links: bool = False
    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    cursor: Annotated[str, Meta(max_length=2000)] | None = None


class AuditEntryOut(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An entry; of a link only ``number`` and the hashes are given. Hashes in hex; ``count``: how many calls alike it stands for."""

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


class AuditList(msgspec.Struct, frozen=True, kw_only=True):
    """Entries, newest first. A page may be shorter than asked for, even empty, and still have a next one."""

    items: Sequence[AuditEntryOut]
    next_cursor: str | None = None


class VerifyQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a check goes on."""

    cursor: Annotated[str, Meta(max_length=2000)] | None = None


class BreakOut(msgspec.Struct, frozen=True, kw_only=True):
    """Where the chain does not hold: ``altered``, ``missing`` (entries before this number) or ``foreign``."""

    number: int
    reason: str


class AuditVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a check found so far; ``next_cursor`` null: the end of the chain was reached, or it is broken."""

    checked: int
    number: int
    hash: str
    broken: BreakOut | None = None
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRoutes:
    """``/audit``. Calls that came without a known credential belong to *operator*, the tenant whose admins run the instance."""

    store: AuditStore
    operator: str

    async def list(self, call: Call) -> Answer:
        """The entries that the admin may see, newest first."""
        query: AuditQuery = call.query
        bound_to = f"audit {call.principal.tenant} {msgspec.structs.astuple(query)[:-2]}"
        place, before = (await self.store.head())[0], 1 << 62
        if query.cursor:
            place, before = (int(value) for value in decode_cursor(query.cursor, bound_to=bound_to, shape=(int, int)))
            if place < 0:
                raise Invalid(
                    "not a cursor of this list", faults=[Fault(pointer="/cursor", detail="not a cursor of this list", code="cursor")]
                )
        items: list[AuditEntryOut] = []
        end = max(0, place - _LIST_MAX)
        while place > end:
            first = max(end + 1, place - _PIECE + 1)
            for block in reversed(await self.store.read(first, place)):
                for entry in reversed(block.entries or ()):
                    shown = self._shown(entry, query, call.principal) if entry.number < before else None
                    if shown is not None:
                        items.append(shown)
                        if len(items) == query.limit:
                            cursor = encode_cursor([block.place, entry.number], bound_to=bound_to)
                            return Answer(body=AuditList(items=items, next_cursor=cursor))
            place = first - 1
        return Answer(body=AuditList(items=items, next_cursor=encode_cursor([place, before], bound_to=bound_to) if place else None))

    def _shown(self, entry: Entry, query: AuditQuery, principal: Principal) -> AuditEntryOut | None:
        if self._may_see(entry, principal) and _matches(entry, query):
            return entry_out(entry)
        return AuditEntryOut(number=entry.number, previous=entry.previous.hex(), hash=entry.hash.hex()) if query.links else None

    def _may_see(self, entry: Entry, principal: Principal) -> bool:
        if principal.memories is not None:
            return entry.tenant == principal.tenant and entry.memory in principal.memories
        return entry.tenant == principal.tenant or (not entry.tenant and principal.tenant == self.operator)

    async def verify(self, call: Call) -> Answer:
        """Check the chain of all tenants, a piece of it in each call."""
        query: VerifyQuery = call.query
        place, number, before = 0, 0, audit.START.hex()
        if query.cursor:
            values = decode_cursor(query.cursor, bound_to="audit verify", shape=(int, int, str))
            place, number, before = int(values[0]), int(values[1]), str(values[2])
        try:
            head = Head(number=number, hash=bytes.fromhex(before))
        except ValueError:
            detail = "not a cursor of this check"
            raise Invalid(detail, faults=[Fault(pointer="/cursor", detail=detail, code="cursor")]) from None
        end = (await self.store.head())[0]
        upto = min(end, max(0, place) + _VERIFY_MAX)
        verdict = await self._checked(head, max(0, place), upto)
        cursor = None
        if verdict.broken is None and upto < end:
            cursor = encode_cursor([upto, verdict.head.number, verdict.head.hash.hex()], bound_to="audit verify")
        return Answer(body=verdict_out(verdict, next_cursor=cursor))

    async def _checked(self, head: Head, place: int, upto: int) -> audit.Verdict:
        checked = 0
        async for entries in self._entries(place, upto):
            if entries is None:
                broken = audit.Break(number=head.number + 1, reason="missing")
                return audit.Verdict(checked=checked, head=head, broken=broken)
            verdict = audit.verify(entries, after=head)
            head, checked = verdict.head, checked + verdict.checked
            if verdict.broken is not None:
                return audit.Verdict(checked=checked, head=head, broken=verdict.broken)
        return audit.Verdict(checked=checked, head=head)

    async def _entries(self, place: int, upto: int) -> AsyncIterator[Sequence[Entry] | None]:
        """The entries of each block behind *place*."""
        for first in range(place + 1, upto + 1, _PIECE):
            for block in await self.store.read(first, min(upto, first + _PIECE - 1)):
                yield block.entries


def _matches(entry: Entry, query: AuditQuery) -> bool:
    words = ((query.actor, entry.actor), (query.operation, entry.operation), (query.outcome, entry.outcome), (query.memory, entry.memory))
    return (
        all(wanted is None or wanted == given for wanted, given in words)
        and (query.refused is None or query.refused == entry.refused)
        and (query.since is None or microseconds(query.since) <= entry.at_us)
        and (query.until is None or entry.at_us < microseconds(query.until))
    )


def entry_out(entry: Entry) -> AuditEntryOut:
    """An entry as JSON; its time has microseconds, so that its hash can be reckoned again."""
    return AuditEntryOut(
        number=entry.number,
        previous=entry.previous.hex(),
        hash=entry.hash.hex(),
        at=moment(entry.at_us),
        tenant=entry.tenant,
        actor=entry.actor,
        operation=entry.operation,
        memory=entry.memory,
        outcome=entry.outcome,
        request_id=entry.request_id,
        count=entry.count,
        refused=entry.refused,
        approved_by=entry.approved_by,
    )


def verdict_out(verdict: audit.Verdict, *, next_cursor: str | None) -> AuditVerdict:
    """A verdict as JSON."""
    broken = None if verdict.broken is None else BreakOut(number=verdict.broken.number, reason=verdict.broken.reason)
    return AuditVerdict(
        checked=verdict.checked, number=verdict.head.number, hash=verdict.head.hash.hex(), broken=broken, next_cursor=next_cursor
    )


def operations(routes: AuditRoutes) -> list[Operation]:
    """The rows ``audit.list`` and ``audit.verify``."""
    return [
        Operation(
            name="audit.list",
            method="GET",
            path="/audit",
            right="admin",
            summary="Who did what with which outcome, newest first",
            handle=routes.list,
            answer=AuditList,
            query=AuditQuery,
        ),
        Operation(
            name="audit.verify",
            method="GET",
            path="/audit/verification",
            right="admin",
            summary="Check that nothing of the audit was changed or taken out",
            handle=routes.verify,
            answer=AuditVerdict,
            query=VerifyQuery,
        ),
    ]
