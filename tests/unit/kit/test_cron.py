"""Cron expressions."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalends.kit.cron import next_after

FIRST, LAST = datetime(1990, 1, 1), datetime(2090, 1, 1)  # noqa: DTZ001 - hypothesis wants bounds without a zone
MOMENTS = st.datetimes(min_value=FIRST, max_value=LAST, timezones=st.just(UTC))


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("*/5 * * * * *", "2026-02-28T23:59:57", "2026-03-01T00:00:00"),
        ("*/5 * * * * *", "2026-02-28T23:59:55", "2026-03-01T00:00:00"),
        ("30 3 * * *", "2026-03-01T03:30:00", "2026-03-02T03:30:00"),
        ("0 30 3 * * *", "2026-03-01T03:29:59.999999", "2026-03-01T03:30:00"),
        ("0 0 29 2 *", "2026-03-01T00:00:00", "2028-02-29T00:00:00"),
        ("0 0 29 2 *", "2096-03-01T00:00:00", "2104-02-29T00:00:00"),
        ("0 0 1 1 *", "2026-12-31T23:59:59", "2027-01-01T00:00:00"),
        ("0 0 5 * * SUN", "2026-03-01T05:00:00", "2026-03-08T05:00:00"),
        ("0 0 L * *", "2028-02-01T00:00:00", "2028-02-29T00:00:00"),
        ("0 0 13 * FRI", "2026-03-01T00:00:00", "2026-03-06T00:00:00"),
    ],
)
def test_the_next_moment_is_the_first_later_one(expression, after, expected):
    """Over the ends of minutes, months, years and centuries; with the day of the month or of the week, either is enough."""
    moment = datetime.fromisoformat(after).replace(tzinfo=UTC)

    assert next_after(expression, moment) == datetime.fromisoformat(expected).replace(tzinfo=UTC)


def test_a_moment_is_taken_for_what_it_is_in_utc():
    """A machine's zone, or a caller's, changes nothing."""
    noon = datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=5)))

    found = next_after("0 8 * * *", noon)

    assert found == datetime(2026, 3, 1, 8, tzinfo=UTC)
    assert found.tzinfo is UTC


def test_a_moment_without_an_offset_is_refused():
    """It would mean another moment on another machine."""
    with pytest.raises(ValueError, match="offset"):
        next_after("* * * * *", datetime(2026, 3, 1))  # noqa: DTZ001 - the missing offset is the point


@pytest.mark.parametrize(
    "expression", ["", "x", "* * * *", "* * * * * * *", "60 * * * *", "* 24 * * *", "0 0 31 2 *", "*/0 * * * *", "5-1 * * * *", "@daily"]
)
def test_what_is_no_expression_is_refused_with_its_own_words(expression):
    """Whoever wrote it into a file sees which it was."""
    with pytest.raises(ValueError, match="is no cron expression") as caught:
        next_after(expression, datetime(2026, 3, 1, tzinfo=UTC))

    assert repr(expression) in str(caught.value)


def test_after_the_last_moment_there_is_no_next_one():
    """Calendars end with the year 9999 here."""
    with pytest.raises(ValueError, match="names no moment"):
        next_after("* * * * *", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))


@given(st.text(alphabet="0123456789*/,-#LW SUNMOJA?@", max_size=24), MOMENTS)
def test_any_words_are_an_expression_or_a_value_error(expression, moment):
    """Never another error, and never a moment that is not later."""
    try:
        found = next_after(expression, moment)
    except ValueError:
        return
    assert found > moment


@given(st.integers(0, 59), st.integers(0, 59), st.integers(0, 23), MOMENTS)
def test_a_time_of_day_comes_once_every_day(second, minute, hour, moment):
    """At that time, and within a day."""
    found = next_after(f"{second} {minute} {hour} * * *", moment)

    assert (found.hour, found.minute, found.second, found.microsecond) == (hour, minute, second, 0)
    assert timedelta(0) < found - moment <= timedelta(days=1)
