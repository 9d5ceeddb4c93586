"""The clocks of people go forward and back, under load, on a machine that keeps their time: to Kalends nothing happens.

Belongs here: a process whose zone has daylight saving and whose clock passes its switches. Does not belong here: clocks that are wrong
(``test_clock``), or the arithmetic of schedules (``unit/kit/test_cron``). A newcomer would get wrong: schedules and days are in UTC, so an
hour that people skip or live twice is one hour like any other; what runs in it runs once.
"""

import calendar
import os
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.faults.conftest import NewFolder
from tests.faults.test_kill import MEMORY, check
from tests.support import verdicts
from tests.support.api import Api
from tests.support.clock import WallClock
from tests.support.instance import Instance, wait_until
from tests.support.load import writing
from tests.support.readers import Client, Known, Telling, lossless, reading
from tests.support.walks import SEGMENT, walk

ZONE = "CET-1CEST,M3.5.0,M10.5.0/3"
"""Europe/Berlin, as a rule, which every machine understands."""
JOB, WHEN = "retention", timedelta(hours=2, minutes=30)
"""Due at 02:30, an hour that is skipped in March, and comes twice in October, where it is read in that zone."""
PASSED = [timedelta(), timedelta(minutes=30), timedelta(hours=1), timedelta(hours=1, minutes=30), WHEN]
"""Midnight in UTC, half an hour before the switch (the first 02:30 in October), the switch, half an hour after it, and the job's time."""
BEFORE, AFTER = timedelta(seconds=2), timedelta(seconds=1)
EACH = 15
"""Acked events in each of these moments."""

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]


SWITCHES = [
    pytest.param((3, "+0100", "+0200"), id="forward", marks=pytest.mark.slow),
    pytest.param((10, "+0200", "+0100"), id="back"),
]


@pytest.fixture(params=SWITCHES)
def sunday(request: pytest.FixtureRequest) -> datetime:
    """The first moment in UTC of the next Sunday on which clocks go forward, or back."""
    month, before, after = request.param
    now = datetime.now(UTC)
    found = next(day for year in (now.year, now.year + 1) if (day := _last_sunday(year, month)) > now)
    switch = found + timedelta(hours=1)
    assert (_offset(switch - AFTER), _offset(switch)) == (before, after)
    return found


@pytest.fixture
def clock(tmp_path: Path) -> WallClock:
    """The instance's clock."""
    return WallClock(tmp_path / "clock")


@pytest.fixture
def instance(tmp_path: Path, prepared: NewFolder, clock: WallClock, sunday: datetime) -> Iterator[Instance]:
    """One in that zone, a few seconds before that Sunday."""
    clock.move(_away(sunday - timedelta(seconds=20)))
    settings = {**clock.settings, "TZ": ZONE, "KALENDS_SCHEDULER__RETENTION": f"0 {WHEN.seconds % 3600 // 60} {WHEN.seconds // 3600} * * *"}
    with Instance(prepared(tmp_path / "data"), settings=settings) as made:
        yield made.start()
    assert made.left_running() == []


def test_an_hour_that_is_skipped_or_comes_twice_is_one_hour(instance: Instance, clock: WallClock, sunday: datetime) -> None:
    """A job that is due in it runs once, days begin at midnight in UTC, and nothing is lost or doubled."""
    known = Known()
    with verdicts.api_of(instance) as api:
        api.make_memory(MEMORY)
        load = writing(lambda: Telling(known, lambda: [instance]), memory=MEMORY, largest=4, rest=1.0)
        with load as ledger, reading(lambda _: Client(lambda: [instance]), known, rest=1.5) as answers:
            assert wait_until(lambda: len(ledger.acked) >= EACH, seconds=60)
            for moment in (sunday + passed for passed in PASSED):
                have, away = len(ledger.acked), _away(moment - BEFORE)
                clock.move(away)
                told = timedelta(seconds=away)
                assert wait_until(lambda end=moment + AFTER - told: datetime.now(UTC) > end, seconds=60)  # type: ignore[misc]
                assert wait_until(lambda have=have: len(ledger.acked) >= have + EACH, seconds=60), moment  # type: ignore[misc]
            assert wait_until(lambda: api.job(JOB)["run_count"] > 0, seconds=60, every=0.1), api.job(JOB)
        ran = api.job(JOB)
    assert (ran["run_count"], ran["last_result"]) == (1, "SUCCESS")
    assert timedelta() <= datetime.fromisoformat(ran["last_run_at"]) - (sunday + WHEN) < timedelta(minutes=1), ran

    check(instance, ledger)
    with verdicts.api_of(instance) as api:
        _days_are_those_of_utc(api, sunday)
    lossless(answers)


def _days_are_those_of_utc(api: Api, sunday: datetime) -> None:
    """Each event stands under the day in UTC on which it occurred; there are some of that Sunday and of the day before."""
    occurred = {event["event_id"]: str(datetime.fromisoformat(event["occurred_at"]).astimezone(UTC).date()) for event in api.events(MEMORY)}
    nodes = walk(api, MEMORY).nodes.items()
    filed = {event: name.split(":")[2] for name, node in nodes if node["level"] == SEGMENT for event in node["event_ids"]}
    assert filed == occurred
    assert {str(sunday.date()), str((sunday - timedelta(days=1)).date())} <= set(filed.values())


def _last_sunday(year: int, month: int) -> datetime:
    last = datetime(year, month, calendar.monthrange(year, month)[1], tzinfo=UTC)
    return last - timedelta(days=(last.weekday() + 1) % 7)


def _away(moment: datetime) -> int:
    """The seconds by which a clock is ahead that tells *moment* now."""
    return round(moment.timestamp() - time.time())


def _offset(moment: datetime) -> str:
    """How far the zone is ahead of UTC at *moment*, as the machine's own library reckons it."""
    command = ["date", "--date", f"@{moment.timestamp():.0f}", "+%z"]
    return subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, "TZ": ZONE}).stdout.strip()
