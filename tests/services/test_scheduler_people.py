"""What people see of the scheduler and ask of it, through any process, and what they may set.

Belongs here: the operations, their routes, the default jobs. Does not belong here: who leads (``test_scheduler``). A newcomer would get
wrong: what is asked of a process that does not lead is heeded as soon as the leader hears of it, so tests wait for that.
"""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from tests.support.broker import fresh_bus
from tests.support.clocks import SimulatedClock
from tests.support.edge import hosted
from tests.support.records import MemoryRecords
from tests.support.scheduling import Running, leading, pass_time, scheduler
from tests.support.waiting import until

from kalends.adapters.nats import NatsBus
from kalends.domain.errors import Misconfigured, NotFound
from kalends.domain.schedules import JobSpec
from kalends.scheduler.jobs import JOBS, chosen
from kalends.wire.leases import Lease

LEASE_S = 10.0
QUARTER = JobSpec(name="quarter", task="quarter", cron="0 */15 * * * *", timeout_s=60.0)
DAILY = JobSpec(name="daily", task="daily", cron="0 0 4 * * *", timeout_s=60.0)


@pytest.fixture
async def bus() -> AsyncIterator[NatsBus]:
    """An empty bus."""
    async with fresh_bus() as opened:
        yield opened


@pytest.fixture
def clock() -> SimulatedClock:
    """The clock of a process."""
    return SimulatedClock()


async def test_people_reach_the_job_through_any_process(bus, clock):
    """Pausing, resuming, asking for a run, forgetting the checkpoint: the leader hears of it."""
    async with scheduler(QUARTER, records=bus.records, clock=clock, lease_s=LEASE_S) as one:
        await leading(one)
        async with scheduler(QUARTER, records=bus.records, clock=clock, lease_s=LEASE_S) as other:
            await other.call("run", "quarter")
            await until(lambda: len(one.work.asked) == 1)
            assert one.work.asked[0].checkpoint == ""
            began = one.work.asked[0].at
            await other.call("pause", "quarter")
            await until(lambda: _shows(one, is_paused=True, run_count=1))
            await other.call("run", "quarter")
            await until(lambda: len(one.work.asked) == 2)
            assert one.work.asked[1].checkpoint == began.isoformat()
            await until(lambda: _shows(other, is_paused=True, run_count=2, is_running=False))
            assert (await other.call("reset_checkpoint", "quarter")).checkpoint is None
            await until(lambda: _shows(one, checkpoint=None))
            await other.call("resume", "quarter")
            await until(lambda: _shows(one, is_paused=False))
            await pass_time(900.0, one, other, step_s=2.0)

            assert [asked.checkpoint for asked in one.work.asked[2:]] == [""]
            assert other.work.asked == []
            assert await one.job("quarter") == await other.job("quarter")


async def _shows(running: Running, **expected: object) -> bool:
    job = await running.job("quarter")
    return all(getattr(job, name) == value for name, value in expected.items())


async def test_what_people_ask_before_there_is_a_leader_is_heeded_by_the_first_one(bus, clock):
    """Nobody has written the job yet."""
    held = Lease(bus.records, name="scheduler", holder="elsewhere", lease_s=LEASE_S, clock=clock)
    await held.attempt()
    async with scheduler(DAILY, QUARTER, records=bus.records, clock=clock, lease_s=LEASE_S) as running:
        await running.call("pause", "quarter")
        told = await running.call("run", "daily")
        await held.release()
        assert (told.cron, told.is_running, told.next_run_at.hour) == (DAILY.cron, False, 4)
        await leading(running)
        await pass_time(1000.0, running, step_s=5.0)

        assert [asked.task for asked in running.work.asked] == ["daily"]


async def test_a_job_that_does_not_exist_is_not_found(bus, clock):
    """Whatever one wants of it."""
    async with scheduler(DAILY, records=bus.records, clock=clock) as running:
        for operation in ("pause", "resume", "run", "reset_checkpoint"):
            with pytest.raises(NotFound):
                await running.call(operation, "nightly")


async def test_the_routes_are_for_admins(clock):
    """Over HTTP, with every field of the contract."""
    async with scheduler(DAILY, records=MemoryRecords(), clock=clock) as running, hosted(*running.service.operations) as edge:
        await leading(running)
        listed = await edge.client.get("/scheduler/jobs")
        wanted = await edge.client.post("/scheduler/jobs/daily/run")
        unknown = await edge.client.post("/scheduler/jobs/nightly/pause")
        searcher = edge.bearer(await edge.token(memories=None))
        refused = [
            (await edge.client.request(row.method, row.path.replace("{name}", "daily"), headers=searcher)).status_code
            for row in running.service.operations
        ]

    assert listed.json() == {
        "items": [
            {
                "job_name": "daily",
                "cron": "0 0 4 * * *",
                "is_paused": False,
                "is_running": False,
                "last_run_at": None,
                "next_run_at": "2026-03-02T04:00:00Z",
                "run_count": 0,
                "error_count": 0,
                "last_result": None,
                "last_error": None,
                "last_duration_s": None,
                "checkpoint": None,
            }
        ],
        "next_cursor": None,
    }
    assert (wanted.status_code, wanted.json()["job_name"]) == (202, "daily")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")
    assert refused == [403] * 5


BY_DEFAULT = tuple(job for job in JOBS if job.cron)
"""All but those that somebody has to ask for."""


def test_the_default_jobs_can_work_and_can_be_set():
    """Each under its own name, with another time or left out."""
    assert [job.name for job in chosen()] == [job.name for job in BY_DEFAULT]
    assert [job.name for job in chosen("backup", crons={"backup": "0 3 * * *"})] == ["backup"]
    assert [job.name for job in chosen("toc-day", "retention", crons={"retention": ""})] == ["toc-day"]
    assert chosen("toc-day", crons={"toc-day": "0 * * * *"})[0].cron == "0 * * * *"
    for wrong in ({"nightly": "0 * * * *"}, {"nightly": ""}):
        with pytest.raises(Misconfigured):
            chosen(crons=wrong)


@pytest.mark.parametrize("jobs", [(replace(DAILY, cron="daily"),), (DAILY, replace(QUARTER, name="daily")), (replace(DAILY, name="A"),)])
async def test_jobs_that_cannot_work_are_refused_when_the_process_starts(clock, jobs):
    """Not at four in the morning."""
    with pytest.raises(Misconfigured):
        async with scheduler(*jobs, records=MemoryRecords(), clock=clock):
            pass


async def test_all_default_jobs_are_taken_over(clock):
    """By the first leader, each with its next time."""
    async with scheduler(*BY_DEFAULT, records=MemoryRecords(), clock=clock) as running:
        await leading(running)
        jobs = (await running.call("list")).items

        assert [job.job_name for job in jobs] == [job.name for job in BY_DEFAULT]
        assert all(job.next_run_at > clock.now() for job in jobs)
