"""How long a call hangs."""

import threading
from collections.abc import Iterator

import pytest
from tests.support.instance import wait_until

from kalends.kit.stalls import Stall


class Call:
    """A call that ends when it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.made = 0
        self.now = 100.0

    def __call__(self) -> None:
        self.made += 1
        self.go.wait(20)

    def ended(self, stall: Stall) -> bool:
        """Whether none is under way, as far as can be told without beginning another."""
        return stall._begun is None


@pytest.fixture
def call() -> Iterator[Call]:
    """One that hangs."""
    made = Call()
    yield made
    made.go.set()


def test_a_call_that_hangs_is_told_by_its_age_and_made_once(call: Call) -> None:
    """However often somebody asks: one that hangs takes one thread and not more and more of them."""
    stall = Stall(call, clock=lambda: call.now)
    assert stall.seconds() == 0
    assert wait_until(lambda: call.made == 1, seconds=10)

    call.now += 7
    assert (stall.seconds(), stall.seconds(), call.made) == (7, 7, 1)


def test_once_the_call_has_ended_nothing_hangs(call: Call) -> None:
    """And the next one is made when its time has come, not sooner."""
    stall = Stall(call, every_s=5, clock=lambda: call.now)
    stall.seconds()
    call.now += 7
    call.go.set()
    assert wait_until(lambda: call.ended(stall), seconds=10)

    assert (stall.seconds(), call.made) == (0, 1)
    call.now += 5
    assert stall.seconds() == 0
    assert wait_until(lambda: call.made == 2, seconds=10)


def test_a_call_that_fails_hangs_no_longer() -> None:
    """What it says is for those who do the real work."""

    def fail() -> None:
        raise OSError("read-only")

    stall = Stall(fail, clock=lambda: 100.0)
    assert stall.seconds() == 0
    assert wait_until(lambda: stall._begun is None, seconds=10)
    assert stall.seconds() == 0
