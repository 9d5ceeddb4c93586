"""Formats of the log: what is opened, what is refused, and what a migration takes."""

import pytest

from kalends.domain import formats
from kalends.domain.errors import Invalid, Misconfigured


def test_a_log_that_is_too_new_is_refused_with_the_ways_out():
    """Reading it half would lose what it says."""
    with pytest.raises(Misconfigured, match=r"format 3, and this version reads up to 2: go back to the version .* or restore a backup"):
        formats.check(3, oldest=1, written=2)


def test_a_log_that_is_too_old_is_refused_with_the_way_there():
    """A version between reads both."""
    with pytest.raises(Misconfigured, match="open it with a version between"):
        formats.check(1, oldest=2, written=3)


@pytest.mark.parametrize("found", [1, 2])
def test_the_version_before_and_this_one_open_the_same_log(found):
    """So they serve side by side for as long as a rolling upgrade takes, and so does a rollback."""
    formats.check(found, oldest=1, written=2)


def test_going_nowhere_takes_nothing():
    """And the version before can still take over."""
    found = formats.plan(found=1, begin=1, end=1)

    assert (found.steps, found.rollback, found.text) == ((), True, "nothing to do: the log is of format 1")


def test_a_step_forward_ends_the_way_back():
    """From its first record of the new format on, the version before would not read all."""
    found = formats.plan(found=1, begin=1, end=2, written=2)

    assert (len(found.steps), found.rollback) == (1, False)
    assert found.text.endswith("the version before cannot take over afterwards")


@pytest.mark.parametrize(
    ("found", "begin", "end", "said"),
    [(1, 2, 2, "is of format 1, not 2"), (1, 1, 3, "knows nothing of 3"), (2, 2, 1, "restore a backup")],
)
def test_what_cannot_be_is_said(found, begin, end, said):
    """Another start than the log's, a future that this version does not know, and the way back."""
    with pytest.raises(Invalid, match=said):
        formats.plan(found=found, begin=begin, end=end, written=2)
