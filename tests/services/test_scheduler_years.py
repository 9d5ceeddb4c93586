"""The scheduler over years of simulated time: every job runs at each of its due times, and at no other.

Belongs here: time. Does not belong here: stores and the work itself (``test_scheduler``). A newcomer would get wrong: what is due is
reckoned here without any cron, day by day, so that the library is tested too.
"""

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.clocks import SimulatedClock, slept
from tests.support.records import MemoryRecords
from tests.support.scheduling import Asked, Pace, Workshop, scheduler

from kalends.domain.errors import Damaged
from kalends.domain.schedules import JobSpec

PATIENT = Pace(look_s=1e6, write_every_s=30.0, settle_s=0.0)
FOUR = (time(4),)
DAYS: dict[str, tuple[Callable[[date], bool], tuple[time, ...]]] = {
    "0 0 4 * * *": (lambda _: True, FOUR),
    "0 4 * * SUN": (lambda day: day.isoweekday() == 7, FOUR),
    "0 0 4 29 2 *": (lambda day: (day.month, day.day) == (2, 29), FOUR),
    "0 0 4 1 1 *": (lambda day: (day.month, day.day) == (1, 1), FOUR),
    "0 0 4 31 * *": (lambda day: day.day == 31, FOUR),
    "0 0 4 L * *": (lambda day: (day + timedelta(days=1)).day == 1, FOUR),
    "0 0 4 * * MON#1": (lambda day: day.isoweekday() == 1 and day.day <= 7, FOUR),
    "59 59 23 28,29,30,31 12,1,2 *": (lambda day: day.day >= 28 and day.month in {12, 1, 2}, (time(23, 59, 59),)),
    "15 7,37 17 * * 1-5": (
        lambda day: day.isoweekday() <= 5,
        (time(17, 7, 15), time(17, 37, 15)),
    ),
}


def due_times(cron: str, *, after: datetime, until: datetime) -> list[datetime]:
    """Every moment of *cron* in the span, found by looking at each day."""
    on_day, times = DAYS[cron]
    days = (after.date() + timedelta(days=number) for number in range((until - after).days + 2))
    moments = (datetime.combine(day, at, tzinfo=UTC) for day in days if on_day(day) for at in times)
    return [moment for moment in moments if after < moment <= until]


@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sets(st.sampled_from(sorted(DAYS)), min_size=1, max_size=3),
    st.datetimes(min_value=datetime(1999, 1, 1), max_value=datetime(2098, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis wants bounds without a zone
    st.integers(1, 1200),
)
async def test_every_job_runs_at_each_of_its_due_times(crons, start, days):
    """Over leap days, ends of years and the years that are no leap years though they could be divided by four."""
    clock = SimulatedClock(start)
    specs = [JobSpec(name=f"job-{number}", task=f"job-{number}", cron=cron, timeout_s=60.0) for number, cron in enumerate(sorted(crons))]
    async with scheduler(*specs, records=MemoryRecords(), clock=clock, pace=PATIENT) as running:
        await clock.advance(days * 86_400.0)

        for spec in specs:
            expected = due_times(spec.cron, after=start, until=clock.now())
            assert running.work.times(spec.task) == expected
            job = await running.job(spec.name)
            assert (job.run_count, job.error_count, job.last_result) == (len(expected), 0, "SUCCESS" if expected else None)


@pytest.mark.parametrize("jitter_s", [0.0, 30.0])
async def test_a_sweep_runs_every_five_seconds_whatever_the_others_do(jitter_s):
    """Beside a job that takes hours, and one that always fails."""
    clock = SimulatedClock()
    start = clock.now()
    sweep = JobSpec(name="sweep", task="sweep", cron="*/5 * * * * *", timeout_s=60.0, jitter_s=jitter_s)
    hour = JobSpec(name="long", task="long", cron="0 * * * * *", timeout_s=7200.0)
    work = Workshop(clock=clock)

    async def long(_: Asked) -> str:
        await slept(clock, 3600.0)
        return "done"

    async def broken(_: Asked) -> str:
        raise Damaged("broken")

    work.doing |= {"long": long, "broken": broken}
    async with scheduler(sweep, hour, replace(hour, name="broken", task="broken"), records=MemoryRecords(), clock=clock, work=work):
        await clock.advance(600.0)

    windows = [int((at - start).total_seconds() // 5) for at in work.times("sweep")]
    assert windows[-118:] == list(range(windows[-118], windows[-118] + 118))
    assert (len(work.times("long")), len(work.times("broken"))) == (1, 10)
    assert work.most_at_once == 1


async def test_years_leave_nothing_behind():
    """Memory after three hundred days is what it was after fifty, and so is the number of tasks."""
    clock = SimulatedClock()
    spec = JobSpec(name="daily", task="daily", cron="0 0 */6 * * *", timeout_s=60.0)
    async with scheduler(spec, records=MemoryRecords(), clock=clock, pace=PATIENT) as running:
        await clock.advance(50 * 86_400.0)
        running.work.asked.clear()
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        await clock.advance(250 * 86_400.0)
        asked = len(running.work.asked)
        running.work.asked.clear()
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()

        assert asked == 1000
        assert after - before < 200_000
        assert clock.sleepers < 10


async def test_a_clock_that_is_set_back_does_not_stop_the_sweep():
    """Whoever sleeps does not notice that a clock was set, so the leader looks from time to time."""
    clock = SimulatedClock()
    spec = JobSpec(name="sweep", task="sweep", cron="*/5 * * * * *", timeout_s=60.0)
    async with scheduler(spec, records=MemoryRecords(), clock=clock) as running:
        await clock.advance(60.0)
        count = len(running.work.asked)
        clock.set_wall(clock.now() - timedelta(days=1))
        await clock.advance(60.0)

        assert 6 <= len(running.work.asked) - count <= 12


async def test_a_clock_that_is_set_ahead_begins_what_became_due_once():
    """A laptop that slept for a month does not run a daily job thirty times."""
    clock = SimulatedClock()
    spec = JobSpec(name="daily", task="daily", cron="0 0 4 * * *", timeout_s=60.0)
    async with scheduler(spec, records=MemoryRecords(), clock=clock) as running:
        await clock.advance(60.0)
        clock.set_wall(clock.now() + timedelta(days=30))
        await clock.advance(60.0)

        assert len(running.work.asked) == 1
        assert (await running.job("daily")).next_run_at > clock.now()
