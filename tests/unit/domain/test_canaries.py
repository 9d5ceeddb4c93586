"""Canary questions: what became of one, and what is left of it when what it expects is erased."""

import pytest

from kalends.domain.canaries import Canary, accuracy, check_name, verdict
from kalends.domain.errors import Invalid
from kalends.domain.events import EventId
from kalends.domain.scope import MemoryName, Scope, Tenant

ONE, TWO = EventId("one"), EventId("two")
CANARY = Canary(scope=Scope(Tenant("acme"), MemoryName("notes")), name="pier", question="which pier?", expect=(ONE, TWO), since_us=5)


@pytest.mark.parametrize(
    ("wanted", "found", "said"),
    [
        ([ONE, TWO], [TWO, ONE], "found"),
        ([ONE], [ONE, TWO], "found"),
        ([ONE, TWO], [ONE], "missed"),
        ([ONE], [], "missed"),
        ([], [], "gone"),
    ],
)
def test_everything_that_is_wanted_must_be_found(wanted, found, said):
    """One that is not is a miss; where nothing can be found, nothing is missed."""
    assert verdict(wanted, found) == said


def test_since_when_it_is_so_is_kept_while_it_stays_so():
    """A second miss is no news; finding it again is."""
    missed = CANARY.judged("missed", now_us=10)
    again = missed.judged("missed", now_us=20)
    found = again.judged("found", now_us=30)

    assert [(one.since_us, one.asked_us) for one in (missed, again, found)] == [(10, 10), (10, 20), (30, 30)]


def test_what_is_erased_is_named_no_more():
    """What is left is still asked for."""
    left = CANARY.without([ONE], now_us=10)

    assert (left.expect, left.gone, left.question, left.state) == ((TWO,), 1, "which pier?", "new")


def test_a_question_of_which_nothing_is_left_loses_its_words():
    """They would tell what was forgotten; that it was asked, and since when it is not, stays."""
    left = CANARY.without([ONE, TWO], now_us=10)

    assert (left.expect, left.gone, left.question, left.state, left.since_us) == ((), 2, "", "gone", 10)


def test_accuracy_is_the_share_of_those_that_could_be_found():
    """What is new or gone counts for nothing."""
    assert accuracy(["found", "missed", "found", "gone", "new", "found"]) == 0.75
    assert accuracy(["gone", "new"]) is None


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a b", "a" * 41, "a/b"])
def test_names_are_plain(name):
    """They lie open, in a record's name."""
    with pytest.raises(Invalid):
        check_name(name)


@pytest.mark.parametrize("name", ["a", "7", "who-repaired-the-lamp", "a" * 40])
def test_plain_names_are_taken(name):
    """Letters, digits and dashes within."""
    check_name(name)


def test_the_same_question_is_the_same_whoever_set_it():
    """Only what is asked and expected counts."""
    assert CANARY.asks_as(CANARY.judged("found", now_us=9))
    assert not CANARY.asks_as(CANARY.without([ONE], now_us=9))
