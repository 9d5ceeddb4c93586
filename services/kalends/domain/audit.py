"""The audit: who did what, to which memory, with which outcome, in a chain that shows every change to it.

Belongs here: entries, what is hashed of them, chaining and checking a chain. Does not belong here: where the chain is kept (the port
``audit``), or when something is worth an entry (``edge.auditing``). A newcomer would get wrong: the chain shows that something was changed
or taken out of its middle; that its end was cut off only shows to who noted its last number and hash elsewhere.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

START = bytes(32)
"""What the first entry names as the hash before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the audit; ``at_us`` in microseconds since 1970, ``count`` how many alike it stands for.

    ``tenant`` and ``actor`` are empty where the credential was not known, ``memory`` where the operation is about none. ``outcome`` is
    ``ok``, a problem's code, or a refusal's reason. ``number`` counts from 1 over all tenants; 0 before it is chained.
    """

    at_us: int
    tenant: str
    actor: str
    operation: str
    memory: str
    outcome: str
    request_id: str
    count: int = 1
    refused: bool = False
    approved_by: str = ""
    """The credential of the second person, where the operation needed one."""

    number: int = 0
    previous: bytes = b""
    hash: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """An entry of which no more is shown than its place in the chain."""

    number: int
    previous: bytes
    hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The end of a chain: the last entry's number and hash."""

    number: int = 0
    hash: bytes = START


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """Where a chain does not hold, and why: ``altered``, ``missing`` or ``foreign``.

    ``altered``: the entry is not what was hashed. ``missing``: entries before this number are not there. ``foreign``: it does not follow
    what stands before it.
    """

    number: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a check found: how many entries, up to which, and where it first does not hold."""

    checked: int
    head: Head
    broken: Break | None = None


def digest(entry: Entry) -> bytes:
    """The SHA-256 of all that *entry* says and the hash before it; each part has its length in front, so none can run into the next."""
    parts = (
        entry.previous,
        *(
            str(part).encode()
            for part in (
                entry.number,
                entry.at_us,
                entry.tenant,
                entry.actor,
                entry.operation,
                entry.memory,
                entry.outcome,
                entry.request_id,
                entry.count,
                int(entry.refused),
            )
        ),
        # only where there is one: what was hashed before there were approvals stays as it was
        *((entry.approved_by.encode(),) if entry.approved_by else ()),
    )
    return hashlib.sha256(b"".join(len(part).to_bytes(4) + part for part in parts)).digest()


def chained(head: Head, entries: Iterable[Entry]) -> Sequence[Entry]:
    """*entries* as they follow *head*: numbered, each with the hash before it and its own."""
    found: list[Entry] = []
    for entry in entries:
        placed = replace(entry, number=head.number + 1, previous=head.hash, hash=b"")
        placed = replace(placed, hash=digest(placed))
        head = Head(number=placed.number, hash=placed.hash)
        found.append(placed)
    return found


def verify(entries: Iterable[Entry | Link], *, after: Head | None = None) -> Verdict:
    """Check *entries*, in order, as what follows *after* (None: whatever the first one names); stops at the first that does not hold."""
    head, checked = after, 0
    for entry in entries:
        if isinstance(entry, Entry) and digest(entry) != entry.hash:
            return _broken(entry, head, checked, "altered")
        if head is not None and entry.number != head.number + 1:
            return _broken(entry, head, checked, "missing" if entry.number > head.number else "foreign")
        if head is not None and entry.previous != head.hash:
            return _broken(entry, head, checked, "foreign")
        head, checked = Head(number=entry.number, hash=entry.hash), checked + 1
    return Verdict(checked=checked, head=head or Head())


def _broken(entry: Entry | Link, head: Head | None, checked: int, reason: str) -> Verdict:
    return Verdict(checked=checked, head=head or Head(), broken=Break(number=entry.number, reason=reason))
