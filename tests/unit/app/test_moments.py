"""Times as people type them."""

from datetime import UTC, datetime

import click
import pytest

from kalends.app.moments import Moment, brief, shown


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("2026-09-14", datetime(2026, 9, 14, tzinfo=UTC)),
        ("2026-09-14T08:30", datetime(2026, 9, 14, 8, 30, tzinfo=UTC)),
        ("2026-09-14T08:30:00Z", datetime(2026, 9, 14, 8, 30, tzinfo=UTC)),
        ("2026-09-14T08:30:00+02:00", datetime(2026, 9, 14, 6, 30, tzinfo=UTC)),
    ],
)
def test_a_time_without_an_offset_is_utc(typed, meant):
    """The same words mean the same moment on every machine."""
    assert Moment().convert(typed, None, None) == meant


@pytest.mark.parametrize("typed", ["yesterday", "2026-13-01", "", "0001-01-01T00:00:00+23:00"])
def test_what_is_no_time_is_a_usage_error(typed):
    """Also what no calendar has once it is in UTC."""
    with pytest.raises(click.BadParameter):
        Moment().convert(typed, None, None)


def test_times_are_shown_in_utc():
    """To the minute; the absent ones as nothing."""
    assert shown(datetime(2026, 9, 14, 8, 30, 59, tzinfo=UTC)) == "2026-09-14 08:30"
    assert shown(None) == ""


def test_a_time_of_today_is_told_by_its_clock_alone():
    """Whatever its offset; what is no time is told as it is."""
    now = datetime.now(UTC).replace(hour=7, minute=5, second=9, microsecond=17)

    assert brief(now.isoformat()) == "07:05:09"
    assert brief("2026-03-01T09:05:00+02:00") == "2026-03-01 07:05"
    assert brief("never") == "never"
