"""When a circuit opens, and how it closes again."""

import pytest

from kalends.kit.breaker import Breaker, CircuitOpen


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Time stands still unless a test moves it."""
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    """Opens for five seconds after three failures."""
    return Breaker(failures=3, pause_s=5.0, now=clock)


def fail(breaker: Breaker, times: int) -> None:
    """So many calls fail, one after another."""
    for _ in range(times):
        breaker.begin().failed()


def test_it_opens_after_failures_in_a_row_only(breaker: Breaker) -> None:
    """A success between them begins the count anew."""
    fail(breaker, 2)
    breaker.begin().succeeded()
    fail(breaker, 2)
    assert breaker.wait_s == 0.0
    fail(breaker, 1)
    assert breaker.wait_s == 5.0


def test_while_open_no_call_goes_and_the_rest_of_the_pause_is_told(breaker: Breaker, clock: Clock) -> None:
    """So that whoever asks knows when to come again."""
    fail(breaker, 3)
    clock.now += 2.0

    with pytest.raises(CircuitOpen) as refused:
        breaker.begin()
    assert refused.value.wait_s == 3.0


def test_after_the_pause_one_probe_goes_and_closes_it(breaker: Breaker, clock: Clock) -> None:
    """The others wait for what becomes of it."""
    fail(breaker, 3)
    clock.now += 5.0
    probe = breaker.begin()
    with pytest.raises(CircuitOpen):
        breaker.begin()
    probe.succeeded()

    assert breaker.wait_s == 0.0
    fail(breaker, 2)
    assert breaker.wait_s == 0.0


def test_a_probe_that_fails_opens_it_for_another_pause(breaker: Breaker, clock: Clock) -> None:
    """One failure is enough then."""
    fail(breaker, 3)
    clock.now += 5.0
    breaker.begin().failed()

    assert breaker.wait_s == 5.0


def test_a_probe_that_nobody_waited_for_proves_nothing(breaker: Breaker, clock: Clock) -> None:
    """The next call is the probe."""
    fail(breaker, 3)
    clock.now += 5.0
    breaker.begin().abandoned()
    assert breaker.wait_s == 0.0
    breaker.begin().succeeded()
    assert breaker.wait_s == 0.0


def test_who_leaves_neither_counts_nor_clears(breaker: Breaker) -> None:
    """While it is closed."""
    fail(breaker, 2)
    breaker.begin().abandoned()
    fail(breaker, 1)

    assert breaker.wait_s == 5.0


def test_calls_that_were_under_way_when_it_opened_still_count(breaker: Breaker) -> None:
    """A success among them is news."""
    early = [breaker.begin() for _ in range(4)]
    for one in early[:3]:
        one.failed()
    assert breaker.wait_s == 5.0
    early[3].succeeded()
    assert breaker.wait_s == 0.0
