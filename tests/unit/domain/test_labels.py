"""Labels: what is one, who sees what, and that a filter says the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalends.domain import labels
from kalends.domain.errors import Invalid
from kalends.domain.events import Facets
from kalends.domain.labels import EVERYTHING, UNLABELLED, Clearance
from kalends.domain.queries import Filter, node_tags, tags_of

HELD = st.none() | st.sets(st.sampled_from(["hr", "board", "it"])).map(frozenset)
SET = st.sets(st.sampled_from(["hr", "board", "it"])).map(labels.ordered)


@given(HELD, SET)
def test_a_filter_lets_through_what_may_be_seen(held, given_labels):
    """Exactly that: engines and the check of what they found agree."""
    tags = set(tags_of(Facets(session_id="s", kind="note", labels=given_labels), target="events"))
    criteria = Filter(clearance=Clearance(held)).criteria()

    assert all(tags & set(group) for group in criteria.any_of) is Clearance(held).sees(given_labels)


def test_whoever_says_nothing_sees_what_has_no_label():
    """A reader that was forgotten shows too little and not too much."""
    assert Filter().criteria() == Filter(clearance=UNLABELLED).criteria()
    assert not UNLABELLED.sees(["hr"])
    assert UNLABELLED.sees([])


def test_all_labels_are_no_condition():
    """Who sees everything pays nothing for it."""
    assert len(Filter(clearance=EVERYTHING).criteria().any_of) == len(Filter().criteria().any_of) - 1


def test_nodes_of_the_calendar_are_seen_by_everybody():
    """They rest on nothing that has a label."""
    wanted = Filter(targets=("toc",), clearance=UNLABELLED).criteria()
    assert all(set(node_tags("day")) & set(group) for group in wanted.any_of)


def test_labels_that_one_has_can_be_given_away():
    """No others, and all only by who has all."""
    some = Clearance(frozenset({"hr", "board"}))
    assert [some.covers(one) for one in ((), ("hr",), ("hr", "board"), ("it",), ("hr", "it"), None)] == [
        True,
        True,
        True,
        False,
        False,
        False,
    ]
    assert EVERYTHING.covers(None)


@pytest.mark.parametrize("wrong", ["", "HR", "-a", ".a", "_a", "a b", "a\n", "\u00e4", "a" * 65, "*"])
def test_what_is_no_label_is_refused(wrong):
    """And told by its place."""
    with pytest.raises(Invalid) as caught:
        labels.check(["good", wrong])
    assert [fault.pointer for fault in caught.value.faults] == ["/labels/1"]


@pytest.mark.parametrize("right", ["a", "0", "hr", "a" * 64, "de.hr-2_x"])
def test_what_is_a_label_is_kept_once_and_in_order(right):
    """The same labels are the same content."""
    assert labels.check(["zz", right, right]) == (right, "zz")


def test_there_may_not_be_too_many():
    """Sixteen of an event."""
    assert len(labels.check([f"l{number}" for number in range(labels.MOST)])) == labels.MOST
    with pytest.raises(Invalid):
        labels.check([f"l{number}" for number in range(labels.MOST + 1)])


def test_clearances_are_told_apart():
    """A cursor of one is none of another; that of no label is not that of all."""
    marks = {Clearance(one).mark for one in (None, frozenset(), frozenset({"a"}), frozenset({"a", "b"}))}
    assert len(marks) == 4
