"""The calendar over simulated years: every job runs when it should, every day has its place, and no day costs more than the first.

Belongs here: time, with the real log, the real calendar and the real summarizer. Does not belong here: the scheduler's own arithmetic
(``test_scheduler_years``). A newcomer would get wrong: the log's clock is the real one, only the scheduler and the calendar live in the
simulated years; so an hour passes once everything that the last one began has ended.
"""

import logging
import os
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.support.calendars import check_evidence, keeping, walk
from tests.support.clocks import SimulatedClock
from tests.support.engines import Ledger, event, ledger
from tests.support.records import MemoryRecords
from tests.support.scheduling import Asked, Pace, Workshop, scheduler
from tests.support.waiting import until

from kalends.domain.events import Event
from kalends.domain.schedules import JobSpec
from kalends.scheduler.jobs import chosen
from kalends.summarize.usecases import KeepCalendar

LOG = logging.getLogger(__name__)
HOURLY = "0 0 * * * *"
TASKS = ("segment-sweep", "toc-day", "toc-week", "toc-month", "toc-year")
PATIENT = Pace(look_s=1e9, write_every_s=30.0, settle_s=0.0)
SAID = (
    "The invoice service was moved to the new cluster after the storage test of day {}.",
    "Priya asked on day {} for the ledger export to be repeated before the audit.",
    "We decided on day {} to keep billing documents for ten years in the archive bucket.",
    "The tariff table of day {} was wrong, so Jonas corrected fourteen invoices by hand.",
)
LEAP = (datetime(2020, 2, 27, tzinfo=UTC), 9)
WEEK_53 = (datetime(2020, 12, 26, tzinfo=UTC), 10)
WHOLE = (datetime(2020, 2, 1, tzinfo=UTC), 1400)
MARKS = (100, 400, 700, 1000)
"""Days after which the memory of the process is told; caches fill up for a while, and then it must stay."""


@pytest.fixture
async def books(tmp_path: Path) -> AsyncIterator[Ledger]:
    """An empty log and what follows it."""
    async with ledger(tmp_path) as made:
        yield made


def day_of_work(number: int, start: datetime) -> list[Event]:
    """One session of a day; every ninth day nothing happens, and every fifth has a second session in the evening."""
    if number % 9 == 8:
        return []
    morning = start + timedelta(days=number, hours=9)
    talks = [("morning", morning)] + ([("evening", morning + timedelta(hours=11))] if number % 5 == 0 else [])
    return [
        event(
            f"{number}-{name}-{turn}",
            SAID[(number + turn) % len(SAID)].format(number),
            session_id=f"{name}-{number}",
            actor="atlas" if turn % 2 else "priya",
            occurred_at=at + timedelta(minutes=turn),
            recorded_at=at + timedelta(minutes=turn),
        )
        for name, at in talks
        for turn in range(4)
    ]


def jobs() -> list[JobSpec]:
    """The jobs of the calendar; the sweep once an hour, since a year has six million times five seconds.

    Simulated time does not wait for real work, so there is no limit to a run here, and no jitter.
    """
    found = chosen(*TASKS, crons={"segment-sweep": HOURLY, "toc-day": "0 30 * * * *"})
    return [replace(job, timeout_s=1e9, jitter_s=0.0) for job in found]


def workshop(keep: KeepCalendar, clock: SimulatedClock) -> Workshop:
    """The tasks as summarize does them."""

    async def sweep(_: Asked) -> str:
        return (await keep.sweep()).text

    def rolling(level: str):
        async def roll(_: Asked) -> str:
            return (await keep.roll(level)).text

        return roll

    doing = {"segment-sweep": sweep, **{f"toc-{level}": rolling(level) for level in ("day", "week", "month", "year")}}
    return Workshop(clock=clock, doing=doing)


YEARS = pytest.param(*WHOLE, marks=[pytest.mark.slow, pytest.mark.timeout(3000)])


@pytest.mark.parametrize(("start", "days"), [LEAP, WEEK_53, YEARS], ids=["leap", "week-53", "all"])
async def test_years_of_daily_work_fill_the_calendar_and_cost_the_same_every_day(books: Ledger, start: datetime, days: int):
    """Over gaps, a leap day, the ends of years and week 53."""
    clock = SimulatedClock(start)
    work = workshop(keeping(books, clock=clock), clock)
    took: list[float] = []
    resident: dict[int, float] = {}
    texts = {}
    async with scheduler(*jobs(), records=MemoryRecords(), clock=clock, work=work, pace=PATIENT) as running:
        for number in range(days):
            events = day_of_work(number, start)
            texts |= {one.id: one.text for one in events}
            begun = time.perf_counter()
            for hour in range(24):
                due = [one for one in events if one.occurred_at.hour == hour]
                if due:
                    await books.record(*due)
                for _ in range(2):
                    await clock.advance(1800.0)
                    await until(lambda: not any(work.under_way.values()), deadline=60.0)
            took.append(time.perf_counter() - begun)
            _check_sweeps(work, start + timedelta(days=number))
            if number + 1 in (*MARKS, days):
                resident[number + 1] = _resident_mib()
        for name in TASKS:
            job = await running.job(name)
            assert (job.error_count, job.last_error, job.last_result) == (0, None, "SUCCESS"), name
    await _check_calendar(books, texts, start, days)
    assert work.most_at_once == 1
    if days > 200:
        early, late = sum(took[50:150]) / 100, sum(took[-100:]) / 100
        LOG.info("a day took %.3f s around day 100, %.3f s around day %d; RSS %s MiB", early, late, days, resident)
        assert resident[days] < resident[100] + 64
        assert resident[days] < resident[700] + 16
        assert late < 2 * early


def _check_sweeps(work: Workshop, day: datetime) -> None:
    """Every hour of the day had its sweep; what was asked for is forgotten then, or the test itself would grow."""
    hours = [at.replace(minute=0, second=0, microsecond=0) for at in work.times("segment-sweep")]
    assert hours == [day + timedelta(hours=number) for number in range(1, 25)]
    work.asked.clear()


async def _check_calendar(books: Ledger, texts: dict, start: datetime, days: int) -> None:
    walked = await walk(books.calendar, books.nodes)
    assert sorted(walked.events) == sorted(texts)
    check_evidence(walked, texts)
    worked = {(start + timedelta(days=number)).date() for number in range(days) if number % 9 != 8}
    assert {node.period.first for node in walked.nodes.values() if node.period.level == "day"} == worked
    weeks = {f"toc:week:{year:04}-W{week:02}" for year, week, _ in (day.isocalendar() for day in worked)}
    assert {name for name in walked.nodes if name.startswith("toc:week:")} == weeks


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)
