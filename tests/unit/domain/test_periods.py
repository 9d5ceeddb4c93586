"""Periods of the calendar: every day lies in one week, one month and one year, and ids say which."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalends.domain.errors import Invalid
from kalends.domain.events import moment
from kalends.domain.periods import LEVELS, Period, day_of, period_of

DAYS = st.dates()
BUT_THE_LAST = st.dates(max_value=date(9998, 12, 20))


@pytest.mark.parametrize(
    ("day", "ancestors"),
    [
        ("2026-01-30", ["toc:week:2026-W05", "toc:month:2026-01", "toc:year:2026"]),
        ("2027-01-01", ["toc:week:2026-W53", "toc:month:2026-12", "toc:year:2026"]),
        ("2024-02-29", ["toc:week:2024-W09", "toc:month:2024-02", "toc:year:2024"]),
        ("2024-12-30", ["toc:week:2025-W01", "toc:month:2025-01", "toc:year:2025"]),
        ("2026-02-01", ["toc:week:2026-W05", "toc:month:2026-01", "toc:year:2026"]),
    ],
)
def test_a_week_belongs_to_the_month_of_its_thursday(day, ancestors):
    """Also at the ends of years, in leap years, and in years of 53 weeks."""
    assert [one.id for one in Period("day", date.fromisoformat(day)).ancestors] == ancestors


@given(DAYS)
def test_a_day_lies_within_each_of_its_ancestors(day):
    """And each of those within the next."""
    start, end = Period("day", day).days
    for ancestor in Period("day", day).ancestors:
        outer_start, outer_end = ancestor.days
        assert outer_start <= start < end <= outer_end
        start, end = outer_start, outer_end


@given(DAYS)
def test_a_span_in_microseconds_is_that_of_its_days(day):
    """The last year that there is ends after the last day that can be named."""
    for period in (Period("day", day), *Period("day", day).ancestors):
        start, end = period.days
        assert moment(period.span_us[0]).date() == date.fromordinal(start)
        assert period.span_us[1] - period.span_us[0] == (end - start) * 86_400_000_000


@given(BUT_THE_LAST)
def test_the_day_after_a_period_lies_in_the_next_one_of_its_level(day):
    """So that every day lies in exactly one of each."""
    for period in Period("day", day).ancestors:
        following = Period("day", date.fromordinal(period.days[1]))
        (after,) = [one for one in following.ancestors if one.level == period.level]

        assert after.days[0] == period.days[1]
        assert after.id > period.id


@given(DAYS, st.integers(0, 2**64 - 1))
def test_an_id_names_its_period(day, name):
    """Of every level, segments included."""
    segment = Period("segment", day, f"{name:016x}")
    for period in (segment, *segment.ancestors):
        assert period_of(period.id) == period
    assert [period.level for period in (segment, *segment.ancestors)] == list(reversed(LEVELS))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "toc:day:2026-02-30",
        "toc:week:2026-W54",
        "toc:week:2025-W53",
        "toc:week:2026-W00",
        "toc:month:2026-13",
        "toc:year:0000",
        "toc:year:26",
        "toc:segment:2026-01-30",
        "toc:segment:2026-01-30:XYZ",
        "toc:day:2026-01-30\n",
        "toc:day:\N{FULLWIDTH DIGIT TWO}026-01-30",
    ],
)
def test_what_no_calendar_has_is_refused(text):
    """With the pointer of who asked."""
    with pytest.raises(Invalid) as refused:
        period_of(text, pointer="/x")
    assert refused.value.faults[0].pointer == "/x"


def test_a_moment_lies_in_its_day_in_utc():
    """Wherever its clock hangs."""
    late = datetime(2026, 1, 30, 23, 30, tzinfo=timezone(timedelta(hours=-5)))

    assert day_of(late).id == "toc:day:2026-01-31"
    assert day_of(datetime(2026, 1, 30, 23, 30, tzinfo=UTC)).id == "toc:day:2026-01-30"


@given(DAYS)
def test_a_label_is_what_people_call_a_period(day):
    """Never empty, and the same for a segment and its day."""
    assert Period("segment", day, "0" * 16).label == Period("day", day).label
    assert all(period.label for period in Period("day", day).ancestors)
