"""Retention: how long a memory keeps what it holds, and what of it is due.

Belongs here: the rules, and the decision which events they mean. Does not belong here: finding events, holds and erasing (``ingest``). A
newcomer would get wrong: age is counted from when an event was recorded and not from when it occurred, or whoever imports the past would
lose it that night; and what a hold keeps still counts, so that nothing newer goes in its place.
"""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from kalends.domain.errors import Fault
from kalends.domain.events import KINDS, EventId, EventKey

DAY_US = 86_400_000_000
DOCUMENT_KIND = "chunk"
"""Of what is in a document; a document goes whole, by its last writing, and is not counted."""

Reason = Literal["expired", "age", "count", "session"]
REASONS: tuple[Reason, ...] = ("expired", "age", "count", "session")
"""Its own time is over; too old; too many; its session has ended in a memory that keeps sessions no longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """At most so many days since it was recorded, at most so many events; None: any."""

    max_age_days: int | None = None
    max_events: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """What a memory keeps: ``rule`` for all of it, ``kinds`` for kinds of events, ``pinned_kinds`` for ever.

    A kind's own age takes the place of the memory's; its number of events stands beside the memory's. ``session_only``: what belongs to a
    session goes when that ends.
    """

    rule: Rule = field(default_factory=Rule)
    kinds: Mapping[str, Rule] = field(default_factory=dict)
    pinned_kinds: frozenset[str] = frozenset()
    session_only: bool = False

    def days_of(self, kind: str) -> int | None:
        """Days that an event of *kind* is kept; None: for ever."""
        if kind in self.pinned_kinds:
            return None
        own = self.kinds.get(kind, Rule()).max_age_days
        return self.rule.max_age_days if own is None else own

    def cutoff_us(self, kind: str, *, now_us: int) -> int | None:
        """What of *kind* was recorded then or before is too old (microseconds); None: nothing is."""
        days = self.days_of(kind)
        return None if days is None else now_us - days * DAY_US

    def most_of(self, kind: str) -> int | None:
        """Events of *kind* that are kept at most; None: any number."""
        return None if kind in self.pinned_kinds else self.kinds.get(kind, Rule()).max_events

    @property
    def counts(self) -> bool:
        """Whether any number of events is bounded."""
        return self.rule.max_events is not None or any(self.most_of(kind) is not None for kind in self.kinds)

    def without_counts(self) -> "Retention":
        """The same, with any number of events."""
        kinds = {kind: replace(rule, max_events=None) for kind, rule in self.kinds.items()}
        return replace(self, rule=replace(self.rule, max_events=None), kinds=kinds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Aged:
    """An event as retention sees it; times in microseconds. ``held``: a hold keeps it."""

    key: EventKey
    event_id: EventId
    session: str
    occurred_us: int
    recorded_us: int
    expires_us: int | None = None
    held: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is due, and why; ``held`` would be due if no hold kept it. ``more``: there may be more than was asked for."""

    due: Sequence[tuple[Aged, Reason]] = ()
    held: Sequence[tuple[Aged, Reason]] = ()
    more: bool = False


def check(retention: Retention) -> Sequence[Fault]:
    """Everything that is wrong with *retention*, with pointers relative to it."""
    faults = []
    for kind, rule in retention.kinds.items():
        pointer = "/kinds" if kind not in KINDS else f"/kinds/{kind}"
        if kind not in KINDS:
            faults.append(Fault(pointer=pointer, detail="names no kind of event", code="vocabulary"))
        elif kind in retention.pinned_kinds:
            faults.append(Fault(pointer=pointer, detail="is pinned, so nothing of it goes", code="contradiction"))
        elif kind == DOCUMENT_KIND and rule.max_events is not None:
            detail = "a document goes whole, so its chunks are not counted"
            faults.append(Fault(pointer=f"{pointer}/max_events", detail=detail, code="unsupported"))
    if not retention.pinned_kinds <= set(KINDS):
        faults.append(Fault(pointer="/pinned_kinds", detail="names no kind of event", code="vocabulary"))
    return faults


def over(retention: Retention, live: Mapping[str, int]) -> Mapping[str, int]:
    """How many of the oldest events of each kind may have to go because there are too many; *live* is how many there are by kind."""
    whole = 0 if retention.rule.max_events is None else max(0, sum(live.values()) - retention.rule.max_events)
    return {kind: min(number, _own_excess(retention, kind, number) + whole) for kind, number in live.items() if _may_go(retention, kind)}


def plan(retention: Retention, *, now_us: int, live: Mapping[str, int], oldest: Mapping[str, Sequence[Aged]], limit: int) -> Plan:
    """What is due of a memory, at most *limit* events: what its kind's own rules mean, and then the oldest of all.

    *live* is how many events there are by kind; *oldest* are the oldest of each kind in the order in which they were recorded, as far as
    they may be due (:func:`over` and the age) or until *limit* of them are not held.
    """
    found: list[tuple[Aged, Reason]] = []
    rest: list[Iterator[Aged]] = []
    gone = 0
    for kind in sorted(kind for kind in oldest if _may_go(retention, kind)):
        own = _prefix(retention, kind, oldest[kind], now_us=now_us, number=live.get(kind, 0))
        gone += len(own)
        found += own
        rest.append(iter(oldest[kind][len(own) :]))
    room = limit - sum(not one.held for one, _ in found)
    if room > 0 and retention.rule.max_events is not None:
        # every kind's own prefix is known to its end here, so what is left can be counted
        excess = max(0, sum(live.values()) - gone - retention.rule.max_events)
        for _, one in zip(range(excess), heapq.merge(*rest, key=_age), strict=False):
            if room <= 0:
                break
            found.append((one, "count"))
            room -= not one.held
    due = [(one, why) for one, why in found if not one.held]
    return Plan(due=due[:limit], held=[(one, why) for one, why in found if one.held], more=len(due) >= limit)


def _prefix(retention: Retention, kind: str, oldest: Sequence[Aged], *, now_us: int, number: int) -> list[tuple[Aged, Reason]]:
    """What is due of one kind by its own age and number: always its oldest."""
    cutoff = retention.cutoff_us(kind, now_us=now_us)
    excess = _own_excess(retention, kind, number)
    found: list[tuple[Aged, Reason]] = []
    for place, one in enumerate(oldest):
        if cutoff is not None and one.recorded_us <= cutoff:
            found.append((one, "age"))
        elif place < excess:
            found.append((one, "count"))
        else:
            break
    return found


def _own_excess(retention: Retention, kind: str, number: int) -> int:
    most = retention.most_of(kind)
    return 0 if most is None else max(0, number - most)


def _may_go(retention: Retention, kind: str) -> bool:
    return kind not in retention.pinned_kinds and kind != DOCUMENT_KIND


def _age(one: Aged) -> tuple[int, EventKey]:
    return one.recorded_us, one.key
