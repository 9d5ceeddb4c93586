"""Stamps: a count without holes, or a new name."""

from hypothesis import given
from hypothesis import strategies as st

from kalends.wire.envelopes import Stamp
from kalends.wire.stamps import Stamps


def test_numbers_go_up_and_tell_what_was_acked():
    """Only what lies below everything that is under way."""
    stamps = Stamps()
    first, second = stamps.issue(2), stamps.issue(1)
    stamps.settle(second, stored=True)
    third = stamps.issue(1)
    stamps.settle(first, stored=True)
    (last,) = stamps.issue(1)

    assert [one.number for one in (*first, *second, *third, last)] == [1, 2, 3, 4, 5]
    assert [one.acked_up_to for one in (*first, *second, *third, last)] == [0, 0, 0, 0, 3]


def test_after_a_failure_the_writer_has_another_name():
    """Nobody can say whether its number is in the log."""
    stamps = Stamps()
    failed, under_way = stamps.issue(1), stamps.issue(1)
    stamps.settle(failed, stored=False)
    (after,) = stamps.issue(1)
    stamps.settle(under_way, stored=True)

    assert after.writer != failed[0].writer
    assert (after.number, after.acked_up_to) == (1, 0)


@given(st.lists(st.tuples(st.integers(1, 4), st.sampled_from(["stored", "lost", "open"]))))
def test_what_is_said_to_be_acked_was_stored(steps: list[tuple[int, str]]):
    """An auditor who finds a number missing below a writer's mark has found a lost ack, and never a false alarm."""
    stamps = Stamps()
    stored: set[tuple[str, int]] = set()
    issued: list[Stamp] = []
    for count, outcome in steps:
        given_out = stamps.issue(count)
        issued += given_out
        if outcome == "stored":
            stored |= {(one.writer, one.number) for one in given_out}
        if outcome != "open":
            stamps.settle(given_out, stored=outcome == "stored")

    assert all((one.writer, number) in stored for one in issued for number in range(1, one.acked_up_to + 1))
