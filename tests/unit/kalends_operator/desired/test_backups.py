"""Schedules: what is due once, what is kept, and nothing twice."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from kalends_operator.desired import backups
from kalends_operator.desired.backups import Made

NOW = datetime(2026, 3, 1, 12, 30, 20, tzinfo=UTC)
HOURLY = "0 * * * *"


def turn(*, since: datetime, keep: int = 2, made: list[Made] | None = None, suspended: bool = False) -> backups.Turn:
    """A turn of an hourly schedule."""
    return backups.turn(HOURLY, name="s", since=since, now=NOW, keep=keep, suspended=suspended, made=made or [])


def test_of_missed_times_only_the_newest_is_made_up_for():
    """Of missed times only the newest is made up for."""
    turned = turn(since=NOW - timedelta(days=3))

    assert turned.due == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert turned.name == "s-202603011200"
    assert turned.following == datetime(2026, 3, 1, 13, tzinfo=UTC)


def test_what_was_begun_is_not_begun_again():
    """What was begun is not begun again."""
    assert turn(since=datetime(2026, 3, 1, 12, tzinfo=UTC)).due is None


def test_a_suspended_one_begins_nothing():
    """A suspended one begins nothing."""
    turned = turn(since=NOW - timedelta(days=3), suspended=True)

    assert (turned.due, turned.following, turned.name) == (None, None, "")


@given(st.integers(0, 59), st.integers(0, 59))
def test_a_due_minute_is_due_from_its_first_second(minute: int, second: int):
    """A due minute is due from its first second."""
    at = NOW.replace(minute=minute, second=second)

    assert backups.latest("* * * * *", after=at - timedelta(minutes=2), now=at) == at.replace(second=0)


def test_only_whole_ones_are_counted_and_the_oldest_go():
    """Only whole ones are counted and the oldest go."""
    made = [Made(name=f"b{hour}", phase="Failed" if hour == 3 else "Succeeded", at=NOW - timedelta(hours=hour)) for hour in range(5)]

    assert turn(since=NOW, made=made).surplus == ["b2", "b4"]
