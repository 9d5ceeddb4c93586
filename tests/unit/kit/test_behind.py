"""Calls that are made behind whoever asked for them."""

import threading
from functools import partial

from tests.support.instance import wait_until

from kalends.kit.behind import Behind


def nobody(lost: int) -> None:
    """Nothing may be lost here."""
    raise AssertionError(lost)


def test_calls_are_made_in_the_order_in_which_they_came() -> None:
    """And closing waits for all of them."""
    made: list[int] = []
    behind = Behind(most=1000, lost=nobody, name="test")
    for number in range(500):
        behind.put(partial(made.append, number))
    behind.close(seconds=20)

    assert made == list(range(500))


def test_while_a_call_hangs_nobody_waits_and_what_has_no_place_is_counted() -> None:
    """The count is told before the next call, so whoever reads knows where something is missing."""
    go, begun = threading.Event(), threading.Event()
    made: list[object] = []

    def hang() -> None:
        begun.set()
        go.wait(20)

    behind = Behind(most=2, lost=lambda count: made.append(f"{count} lost"), name="test")
    behind.put(hang)
    assert begun.wait(20)
    for number in range(5):
        behind.put(partial(made.append, number))
    assert made == []

    go.set()
    behind.close(seconds=20)
    assert made == ["3 lost", 0, 1]


def test_closing_does_not_wait_for_ever() -> None:
    """A disk that hangs must not keep a process from ending."""
    go = threading.Event()
    behind = Behind(most=2, lost=nobody, name="test")
    behind.put(partial(go.wait, 60))
    behind.close(seconds=0.01)

    go.set()
    assert wait_until(lambda: not behind._thread.is_alive(), seconds=20)
