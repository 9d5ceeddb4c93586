"""The shapes of requests and answers about retention, as JSON, and what of them the domain knows.

A newcomer would get wrong: ``null`` in the place of a rule takes it away, and a memory with an empty object keeps everything, whatever the
settings say of memories that say nothing.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from kalends.domain import retention as domain
from kalends.domain.errors import Fault, Invalid

Days = Annotated[int, Meta(ge=1, le=36_500)]
Number = Annotated[int, Meta(ge=1, le=1 << 53)]


class RetentionRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """At most so many days since it was recorded, at most so many events; null: any."""

    max_age_days: Days | None = None
    max_events: Number | None = None


class Retention(RetentionRule, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a memory keeps. ``kinds`` are rules of their own for kinds of events; ``pinned_kinds`` stay.

    ``session_only``: what belongs to a session is erased when that ends.
    """

    kinds: Annotated[dict[str, RetentionRule], Meta(max_length=32)] = {}
    pinned_kinds: Annotated[list[str], Meta(max_length=32)] = []
    session_only: bool = False


class RetentionIn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which memory, null for all of the credential's; ``dry_run`` only counts."""

    memory: Annotated[str, Meta(min_length=1, max_length=2000)] | None = None
    dry_run: bool = False


class RetentionOut(Struct, frozen=True, kw_only=True):
    """Events of one memory that are due, by why: their own time is over, too old, too many, their session has ended.

    ``held``: due too, but a hold keeps them. ``erasures``: how many were asked for. ``more``: that was not all; the next run goes on.
    """

    memory: str
    expired: int
    age: int
    count: int
    session: int
    held: int
    erasures: int
    more: bool


class RetentionRunOut(Struct, frozen=True, kw_only=True):
    """The memories in which anything is due, by name."""

    items: list[RetentionOut]
    dry_run: bool


class SessionEnded(Struct, frozen=True, kw_only=True):
    """What the end of a session did. ``state``: kept, as the memory is not session-only; empty, as nothing is in it; else the erasure's."""

    session_id: str
    state: Literal["kept", "empty", "hidden", "unreadable", "erased", "undone"]
    erasure_id: str | None = None


def retention_of(given: Retention | None) -> domain.Retention | None:
    """What somebody asked for.

    Raises:
        Invalid: it cannot be, with a pointer to each member that is wrong.
    """
    if given is None:
        return None
    found = domain.Retention(
        rule=_rule(given),
        kinds={kind: _rule(rule) for kind, rule in given.kinds.items()},
        pinned_kinds=frozenset(given.pinned_kinds),
        session_only=given.session_only,
    )
    faults = [Fault(pointer=f"/retention{one.pointer}", detail=one.detail, code=one.code) for one in domain.check(found)]
    if faults:
        raise Invalid("the retention breaks a rule", faults=faults)
    return found


def retention_out(stored: domain.Retention | None) -> Retention | None:
    """A memory's retention as JSON."""
    if stored is None:
        return None
    return Retention(
        max_age_days=stored.rule.max_age_days,
        max_events=stored.rule.max_events,
        kinds={kind: RetentionRule(max_age_days=one.max_age_days, max_events=one.max_events) for kind, one in stored.kinds.items()},
        pinned_kinds=sorted(stored.pinned_kinds),
        session_only=stored.session_only,
    )


def _rule(given: RetentionRule) -> domain.Rule:
    return domain.Rule(max_age_days=given.max_age_days, max_events=given.max_events)
