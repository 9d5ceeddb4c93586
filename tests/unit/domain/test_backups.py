"""Backups as values: chains, the ends of their time, and what is gone."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalends.domain import backups
from kalends.domain.backups import Gone, Known, Selection, State
from kalends.domain.errors import Conflict, Damaged
from kalends.domain.events import EventId, EventKey
from kalends.domain.scope import MemoryName, Scope, Tenant

NOW = datetime(2026, 5, 1, tzinfo=UTC)
NOTES = Scope(Tenant("acme"), MemoryName("notes"))
ALL = Selection(kind="all")


def known(backup_id: str, *, day: int = 0, previous: str | None = None, selection: Selection = ALL, days: int = 30) -> Known:
    """A backup that was made so many days after the first of May."""
    made = NOW + timedelta(days=day)
    return Known(
        backup_id=backup_id,
        made_at=made,
        expires_at=made + timedelta(days=days),
        selection=selection,
        previous=previous,
        keys_expire_at=made + timedelta(days=7),
    )


def of(*ones: Known) -> dict[str, Known]:
    """By id."""
    return {one.backup_id: one for one in ones}


def test_a_selection_takes_what_it_names():
    """A memory, a tenant's memories, or all."""
    taken = [Selection(kind="memory", tenant="acme", memory="notes"), Selection(kind="tenant", tenant="acme"), ALL]
    left = [Selection(kind="memory", tenant="acme", memory="diary"), Selection(kind="tenant", tenant="other")]

    assert [one.takes(NOTES) for one in taken] == [True] * 3
    assert [one.takes(NOTES) for one in left] == [False] * 2


def test_what_builds_on_another_ends_with_it():
    """At the latest: its own days may be over sooner."""
    base = backups.expires(NOW, days=30, base=None)

    assert base == NOW + timedelta(days=30)
    assert backups.expires(NOW + timedelta(days=9), days=30, base=base) == base
    assert backups.expires(NOW + timedelta(days=9), days=1, base=base) == NOW + timedelta(days=10)


def test_a_chain_begins_with_what_stands_alone():
    """One that is missing is said by name, and a ring is no chain."""
    three = of(known("a"), known("b", previous="a"), known("c", previous="b"))

    assert backups.chain(three, "c") == ["a", "b", "c"]
    assert backups.chain(three, "a") == ["a"]
    with pytest.raises(Damaged, match="backup a"):
        backups.chain({name: one for name, one in three.items() if name != "a"}, "c")
    with pytest.raises(Damaged):
        backups.chain(of(known("a", previous="b"), known("b", previous="a")), "a")


def test_what_is_over_goes_with_what_builds_on_it_first():
    """So that no chain is ever without its beginning."""
    every = [known("a"), known("b", day=1, previous="a", days=29), known("c", day=20)]

    assert backups.due(every, now=NOW + timedelta(days=29)) == []
    assert backups.due(every, now=NOW + timedelta(days=30)) == ["b", "a"]


def test_of_each_selection_the_newest_are_kept_and_what_they_build_on():
    """Nothing is too much if no number is given."""
    notes = Selection(kind="memory", tenant="acme", memory="notes")
    every = [known("a"), known("b", day=1, previous="a"), known("c", day=2), known("n", day=0, selection=notes)]

    assert backups.surplus(every, keep=0) == []
    assert backups.surplus(every, keep=1) == ["b", "a"]
    assert backups.surplus(every[:2] + every[3:], keep=1) == []


@given(st.lists(st.booleans(), min_size=1, max_size=12), st.integers(1, 5))
def test_what_is_kept_is_always_whole(builds: list[bool], keep: int):
    """Whatever goes, every chain that stays has all its links."""
    every = [
        known(f"{number:02d}", day=number, previous=f"{number - 1:02d}" if one and number else None) for number, one in enumerate(builds)
    ]
    gone = set(backups.surplus(every, keep=keep))
    left = {one.backup_id: one for one in every if one.backup_id not in gone}

    assert len(left) >= min(keep, len(every))
    for name in left:
        assert set(backups.chain(left, name)) <= set(left)


def test_what_others_build_on_is_not_taken_away():
    """The one that needs it is named."""
    every = [known("a"), known("b", previous="a")]

    backups.check_unneeded(every, "b")
    with pytest.raises(Conflict, match="backup b"):
        backups.check_unneeded(every, "a")


def test_the_last_end_is_of_backups_that_may_hold_what_was_erased():
    """Begun before the erasure, and of the same memory; of whole sessions the keys count."""
    every = [known("a"), known("b", day=1), known("other", day=1, selection=Selection(kind="tenant", tenant="other"), days=300)]
    at = {"a": 10, "b": 20, "other": 10}

    assert backups.last_expiry(every, NOTES, whole=False, erased_us=15, at=at) == NOW + timedelta(days=30)
    assert backups.last_expiry(every, NOTES, whole=False, erased_us=25, at=at) == NOW + timedelta(days=31)
    assert backups.last_expiry(every, NOTES, whole=True, erased_us=25, at=at) == NOW + timedelta(days=8)
    assert backups.last_expiry(every, NOTES, whole=False, erased_us=5, at=at) is None


def test_events_are_gone_for_ever_and_names_until_they_were_erased():
    """A session or a node may be begun again after its erasure."""
    gone = Gone()
    gone.learn(at_us=100, events=[EventKey("e")], sessions=["s"], nodes=["n"])
    gone.learn(at_us=50, events=[], sessions=["s"], nodes=["n"])

    assert gone.has_event(EventKey("e"), session=None, recorded_us=500)
    assert gone.has_event(EventKey("x"), session="s", recorded_us=100)
    assert not gone.has_event(EventKey("x"), session="s", recorded_us=101)
    assert not gone.has_event(EventKey("x"), session=None, recorded_us=1)
    assert gone.has_node("n", recorded_us=100)
    assert not gone.has_node("n", recorded_us=101)
    assert not gone.has_node("m", recorded_us=1)


def test_a_difference_says_what_must_go_and_come():
    """What says something else comes again; what is equal stays."""
    wanted, found = State(), State()
    for number, name in enumerate("abcd"):
        wanted.wrote(EventId(name), content=name.encode(), place=number)
    wanted.took_back([EventId("d"), EventId("unknown")])
    found.wrote(EventId("a"), content=b"a", place=0)
    found.wrote(EventId("b"), content=b"other", place=1)
    found.wrote(EventId("d"), content=b"d", place=2)

    assert backups.difference(wanted, found) == backups.Difference(surplus=(EventId("d"),), missing=frozenset({1, 2}))
    assert backups.difference(wanted, wanted) == backups.Difference(surplus=(), missing=frozenset())
