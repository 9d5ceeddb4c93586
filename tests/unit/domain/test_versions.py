"""What every projection decides alike: which of several changes counts, and what its digest folds."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from kalends.domain import versions
from kalends.domain.events import EventKey
from kalends.domain.queries import Held


@dataclass(frozen=True)
class Change:
    """A change of a key."""

    key: EventKey
    version: int
    number: int = 0


CHANGES = st.lists(st.builds(Change, key=st.sampled_from([EventKey("a"), EventKey("b"), EventKey("c")]), version=st.integers(1, 5)))


@given(changes=CHANGES)
def test_of_each_key_the_newest_change_counts(changes: list[Change]) -> None:
    """Whatever came before it, and whatever comes late."""
    found = versions.newest(changes)

    assert {key: one.version for key, one in found.items()} == {
        key: max(one.version for one in changes if one.key == key) for key in {one.key for one in changes}
    }


def test_of_equal_versions_the_first_counts() -> None:
    """They say the same, so nothing is to be written twice."""
    first, second = Change(EventKey("a"), 1, number=1), Change(EventKey("a"), 1, number=2)

    assert versions.newest([first, second]) == {EventKey("a"): first}


def test_what_is_gone_counts_for_the_digest_and_not_as_an_event() -> None:
    """A projection that lacks a tombstone is not equal to one that has it; the order says nothing."""
    live, gone = [("a", 1), ("b", 2)], [("c", 3)]

    folded = versions.fold(live, gone)
    assert folded.events == 2
    assert folded == versions.fold(live[::-1], gone)
    assert folded != versions.fold(live, [])
    assert folded != versions.fold([*live, *gone], [])


@given(number=st.integers(0, 30), cut=st.integers(0, 30))
def test_digests_of_parts_join_to_that_of_the_whole(number: int, cut: int) -> None:
    """So what is read in pieces need not be kept."""
    held = [Held(key=EventKey(f"{one:032x}"), version=one, live=one % 3 > 0) for one in range(number)]

    whole = versions.fold_held(held)

    assert versions.joined(versions.fold_held(held[:cut]), versions.fold_held(held[cut:])) == whole
    assert whole == versions.fold(
        [(one.key, one.version) for one in held if one.live], [(one.key, one.version) for one in held if not one.live]
    )
