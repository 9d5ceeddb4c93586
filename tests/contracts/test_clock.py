"""The suite of the port ``clock``, over the system's clock."""

from datetime import UTC, datetime, timedelta

import pytest

from kalends.adapters.embedded.clock import SystemClock
from kalends.ports.clock import Clock


@pytest.fixture
def clock() -> Clock:
    """The clock of a process."""
    return SystemClock()


def test_now_is_an_aware_moment_in_utc(clock: Clock) -> None:
    """Whatever zone the machine is in, so that moments of two machines can be compared."""
    now = clock.now()

    assert now.tzinfo is UTC
    assert now.utcoffset() == timedelta(0)


def test_now_is_the_real_time(clock: Clock) -> None:
    """It lies between two looks at the machine's own time."""
    before = datetime.now(UTC)
    now = clock.now()

    assert before <= now <= datetime.now(UTC)


def test_seconds_never_go_back(clock: Clock) -> None:
    """However often one looks; two looks may see the same."""
    seen = [clock.monotonic() for _ in range(10_000)]

    assert seen == sorted(seen)


def test_seconds_go_on(clock: Clock) -> None:
    """They are seconds of this run, and no fixed number."""
    first = clock.monotonic()
    while (later := clock.monotonic()) == first:
        continue

    assert later > first
