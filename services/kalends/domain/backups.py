"""Backups: what one is about, which builds on which, how long each is kept, and what was erased and must never come back.

Belongs here: these values and decisions. Does not belong here: the form of the bytes (``wire.manifests``), making or reading one
(``backups``). A newcomer would get wrong: what builds on another ends with it, so the day on which everything of a chain is gone is fixed
when its first backup is made, and a receipt of an erasure can name it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from kalends.domain.errors import Conflict, Damaged
from kalends.domain.events import EventId, EventKey
from kalends.domain.scope import Scope

SELECTIONS = ("memory", "tenant", "all")
SelectionKind = Literal["memory", "tenant", "all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a backup is about: a memory, all memories of a tenant, or everything; the names are empty where they do not matter."""

    kind: SelectionKind
    tenant: str = ""
    memory: str = ""

    def takes(self, scope: Scope) -> bool:
        """Whether the memory of *scope* belongs to it."""
        if self.kind == "all":
            return True
        return scope.tenant == self.tenant and (self.kind == "tenant" or scope.memory == self.memory)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A backup as its neighbours see it. ``keys_expire_at`` is None where its keys are gone already."""

    backup_id: str
    made_at: datetime
    expires_at: datetime
    selection: Selection
    previous: str | None = None
    keys_expire_at: datetime | None = None


def expires(made_at: datetime, *, days: int, base: datetime | None) -> datetime:
    """When a backup ends that is kept for *days*; one that builds on another ends with it (*base*) at the latest."""
    own = made_at + timedelta(days=days)
    return own if base is None else min(own, base)


def chain(known: Mapping[str, Known], backup_id: str) -> Sequence[str]:
    """The ids from the backup that stands alone to *backup_id*.

    Raises:
        Damaged: one that it builds on is not there.
    """
    found: list[str] = []
    at: str | None = backup_id
    while at is not None:
        one = known.get(at)
        if one is None or at in found:
            raise Damaged(f"the backup {at}, on which {found[-1] if found else backup_id} builds, is not there")
        found.append(at)
        at = one.previous
    return found[::-1]


def due(known: Iterable[Known], *, now: datetime) -> Sequence[str]:
    """The ids of the backups whose time is over, those that build on others first."""
    over = [one for one in known if one.expires_at <= now]
    return [one.backup_id for one in sorted(over, key=lambda one: (one.made_at, one.backup_id), reverse=True)]


def surplus(known: Iterable[Known], *, keep: int) -> Sequence[str]:
    """The ids of those beyond the newest *keep* of each selection, those that build on others first; 0 keeps all.

    One that a kept one builds on stays.
    """
    every = sorted(known, key=lambda one: (one.made_at, one.backup_id))
    if not keep:
        return []
    by_id = {one.backup_id: one for one in every}
    needed: set[str] = set()
    for selection in {one.selection for one in every}:
        for one in [each for each in every if each.selection == selection][-keep:]:
            at: Known | None = one
            while at is not None and at.backup_id not in needed:
                needed.add(at.backup_id)
                at = by_id.get(at.previous) if at.previous else None
    return [one.backup_id for one in reversed(every) if one.backup_id not in needed]


def check_unneeded(known: Iterable[Known], backup_id: str) -> None:
    """See that nothing builds on a backup.

    Raises:
        Conflict: something does.
    """
    needs = next((one.backup_id for one in known if one.previous == backup_id), None)
    if needs is not None:
        raise Conflict(f"the backup {needs} builds on it; remove that one first")


def last_expiry(known: Iterable[Known], scope: Scope, *, whole: bool, erased_us: int, at: Mapping[str, int]) -> datetime | None:
    """When the last backup ends that may hold what was erased of *scope* at *erased_us*; None if none does.

    *whole*: whole sessions went with their keys, so what is in a backup ends with the keys that it has. *at*: by backup, when its reading
    began, in microseconds.
    """
    holding = [one for one in known if one.selection.takes(scope) and at.get(one.backup_id, 0) <= erased_us]
    ends = [one.keys_expire_at if whole else one.expires_at for one in holding]
    return max((end for end in ends if end is not None), default=None)


@dataclass(slots=True)
class Gone:
    """What was erased of one memory: it must not come back, whichever backup is restored to whatever time.

    Events by key are gone for ever. Sessions by tag and nodes by key are gone as far as they were recorded before the erasure, whose time
    is in microseconds: their names may have been used again since.
    """

    events: set[EventKey] = field(default_factory=set)
    sessions: dict[str, int] = field(default_factory=dict)
    nodes: dict[str, int] = field(default_factory=dict)

    def learn(self, *, at_us: int, events: Iterable[EventKey], sessions: Iterable[str], nodes: Iterable[str]) -> None:
        """Take in what one message of an erasure says."""
        self.events.update(events)
        for found, names in ((self.sessions, sessions), (self.nodes, nodes)):
            for name in names:
                found[name] = max(at_us, found.get(name, 0))

    def has_event(self, key: EventKey, *, session: str | None, recorded_us: int) -> bool:
        """Whether an event was erased; without the tag of its *session*, as far as its key tells."""
        return key in self.events or (session is not None and recorded_us <= self.sessions.get(session, -1))

    def has_node(self, key: str, *, recorded_us: int) -> bool:
        """Whether a version of a node was erased."""
        return recorded_us <= self.nodes.get(key, -1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """One event as a memory has it at a time: what it says, as a digest, and its place among what is restored (from 0)."""

    content: bytes
    place: int


@dataclass(slots=True)
class State:
    """The live events of a memory at a time: the newest writing of each that was not taken back after it."""

    live: dict[EventId, Stated] = field(default_factory=dict)

    def wrote(self, event_id: EventId, *, content: bytes, place: int) -> None:
        """An event was written, perhaps again."""
        self.live[event_id] = Stated(content=content, place=place)

    def took_back(self, event_ids: Iterable[EventId]) -> None:
        """Events were taken back."""
        for event_id in event_ids:
            self.live.pop(event_id, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What makes one state of another: events that are too much, and the places of those that are missing or say something else."""

    surplus: tuple[EventId, ...]
    missing: frozenset[int]


def difference(wanted: State, found: State) -> Difference:
    """What has to go and come so that *found* becomes *wanted*."""
    missing = {
        one.place for event_id, one in wanted.live.items() if event_id not in found.live or found.live[event_id].content != one.content
    }
    return Difference(surplus=tuple(sorted(found.live.keys() - wanted.live.keys())), missing=frozenset(missing))
