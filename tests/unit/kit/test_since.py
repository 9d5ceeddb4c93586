"""Since when something is so."""

import time
from datetime import UTC, datetime, timedelta

from kalends.kit.since import Since


def test_how_long_something_lasts_does_not_depend_on_the_wall_clock():
    """Two that say different moments last the same."""
    one = Since(datetime(2026, 3, 1, tzinfo=UTC), 100.0)
    other = Since(datetime(2026, 3, 1, tzinfo=UTC) + timedelta(hours=1), 100.0)

    assert one.seconds_at(130.5) == other.seconds_at(130.5) == 30.5


def test_nothing_lasts_less_than_no_time():
    """Not even for a clock that was read before."""
    assert Since(datetime(2026, 3, 1, tzinfo=UTC), 100.0).seconds_at(99.0) == 0.0


def test_it_begins_now_on_both_clocks():
    """In UTC, and on the clock of the process."""
    before = (datetime.now(UTC), time.monotonic())
    since = Since.now()

    assert before[0] <= since.moment <= datetime.now(UTC)
    assert before[1] <= since.monotonic <= time.monotonic()
