"""Schedulers over the real broker: who leads, what survives, what is refused.

Belongs here: several processes, restarts, outages. Does not belong here: people (``test_scheduler_people``), years of time
(``test_scheduler_years``). A newcomer would get wrong: time is simulated wherever a test says when something happens, and passes in steps,
after each of which the broker has answered.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.support.broker import SMALL, fresh_bus, own_bus, watched_server
from tests.support.clocks import SimulatedClock, slept
from tests.support.records import MemoryRecords
from tests.support.scheduling import BRISK, Asked, Workshop, leading, pass_time, quiet, scheduler
from tests.support.waiting import until

from kalends.adapters.embedded.clock import SystemClock
from kalends.adapters.nats import NatsBus
from kalends.adapters.nats.work import NatsWork
from kalends.domain.errors import Conflict, Occupied, Unavailable
from kalends.domain.schedules import JobSpec
from kalends.ports.work import TaskCall

LEASE_S = 10.0
SWEEP = JobSpec(name="sweep", task="sweep", cron="*/5 * * * * *", timeout_s=60.0)
QUARTER = JobSpec(name="quarter", task="quarter", cron="0 */15 * * * *", timeout_s=60.0)
MINUTELY = JobSpec(name="minute", task="minute", cron="0 * * * * *", timeout_s=30.0)
DAILY = JobSpec(name="daily", task="daily", cron="0 0 4 * * *", timeout_s=60.0)
EVERY_SECOND = JobSpec(name="second", task="second", cron="* * * * * *", timeout_s=60.0)


@pytest.fixture
async def bus() -> AsyncIterator[NatsBus]:
    """An empty bus."""
    async with fresh_bus() as opened:
        yield opened


@pytest.fixture
def clock() -> SimulatedClock:
    """The clock of a process."""
    return SimulatedClock()


async def test_of_two_schedulers_one_leads_and_each_run_is_asked_for_once(bus, clock):
    """Though their clocks tell times that lie an hour apart."""
    other_clock = SimulatedClock(clock.now() + timedelta(hours=1))
    async with (
        scheduler(SWEEP, records=bus.records, clock=clock, lease_s=LEASE_S) as one,
        scheduler(SWEEP, records=bus.records, clock=other_clock, lease_s=LEASE_S) as other,
    ):
        leader = await leading(one, other)
        await pass_time(60.0, one, other)

        assert [one.leads, other.leads].count(True) == 1
        assert sum(len(each.work.asked) for each in (one, other)) == len(leader.work.asked)
        assert 11 <= len(leader.work.asked) <= 13


async def test_a_killed_leader_is_replaced_within_the_leases_time(bus, clock):
    """And the jobs go on; no due time is lost that came while nobody led."""
    async with scheduler(MINUTELY, records=bus.records, clock=clock, lease_s=LEASE_S) as one:
        await leading(one)
        async with scheduler(MINUTELY, records=bus.records, clock=clock, lease_s=LEASE_S, work=one.work) as other:
            await pass_time(115.0, one, other, step_s=1.0)
            await one.kill()
            died_at = clock.monotonic()
            while not other.leads:
                await pass_time(0.25, other)
            assert clock.monotonic() - died_at <= LEASE_S
            await pass_time(60.0, other, step_s=1.0)

            assert [at.minute for at in one.work.times("minute")] == [1, 2, 3]
            assert (await other.job("minute")).run_count == 3


async def test_a_leader_that_stood_still_writes_nothing_late(bus, clock):
    """Its network comes back after another has led: what it believes of the job is refused, and it follows."""
    async with (
        scheduler(MINUTELY, records=bus.records, clock=clock, lease_s=LEASE_S) as one,
        scheduler(MINUTELY, records=bus.records, clock=clock, lease_s=LEASE_S) as other,
    ):
        old = await leading(one, other)
        new = other if old is one else one
        of_the_old = await old.store.get("minute")
        old.records.is_cut = True
        await pass_time(2 * LEASE_S, one, other)
        assert new.leads
        of_the_new = await new.stored("minute")
        old.records.is_cut = False

        with pytest.raises(Conflict):
            await old.store.put(replace(of_the_old.state, run_count=99), revision=of_the_old.revision)
        await pass_time(60.0, one, other, step_s=1.0)
        assert (old.leads, new.leads) == (False, True)
        assert (of_the_old.state.term, of_the_new.term) == (1, 2)
        assert (await new.stored("minute")).run_count == 1
        assert (await old.job("minute")).run_count == 1
        assert old.work.asked == []


async def test_what_a_replaced_leader_was_still_waiting_for_changes_nothing(bus, clock):
    """The answer comes after its successor took over and had the run done again."""
    answers = asyncio.Event()
    slow = Workshop(clock=clock)

    async def late(_: Asked) -> str:
        await answers.wait()
        return "late"

    slow.doing["minute"] = late
    async with scheduler(replace(MINUTELY, timeout_s=1e5), records=bus.records, clock=clock, lease_s=LEASE_S, work=slow) as one:
        await leading(one)
        async with scheduler(MINUTELY, records=bus.records, clock=clock, lease_s=LEASE_S) as other:
            await pass_time(61.0, one, other, step_s=1.0)
            assert (await one.stored("minute")).is_running
            one.records.is_cut = True
            await pass_time(2 * LEASE_S, one, other)
            assert len(other.work.asked) == 1
            one.records.is_cut = False
            answers.set()
            await pass_time(2 * LEASE_S, one, other)

            stored = await other.stored("minute")
            assert (stored.run_count, stored.error_count, stored.is_running, stored.last_result) == (1, 0, False, "SUCCESS")


async def test_a_leader_that_ends_in_order_is_replaced_at_once(bus, clock):
    """It gives the lease back and writes what it knows."""
    async with scheduler(SWEEP, records=bus.records, clock=clock, lease_s=1000.0) as one:
        await leading(one)
        async with scheduler(SWEEP, records=bus.records, clock=clock, lease_s=1000.0) as other:
            await pass_time(33.0, one, other)
            await one.stop()
            await pass_time(51.0, other)

            assert other.leads
            assert (await other.job("sweep")).run_count > 6


async def test_a_paused_job_stays_paused_over_a_restart(bus, clock):
    """And runs again once it is resumed, from the next due time on."""
    async with scheduler(QUARTER, records=bus.records, clock=clock) as first:
        await leading(first)
        told = await first.call("pause", "quarter")
        assert (told.is_paused, told.next_run_at) == (True, None)
        await pass_time(3600.0, first, step_s=600.0)
        assert first.work.asked == []
    async with scheduler(QUARTER, records=bus.records, clock=clock) as second:
        await leading(second)
        await pass_time(3600.0, second, step_s=600.0)
        assert (await second.job("quarter")).is_paused
        assert second.work.asked == []
        resumed_at = clock.now()
        told = await second.call("resume", "quarter")
        await pass_time(1200.0, second, step_s=60.0)

        assert not told.is_paused
        assert [told.next_run_at] == second.work.times("quarter")
        assert told.next_run_at > resumed_at


@pytest.mark.parametrize("heeds", [True, False])
async def test_a_run_that_hangs_is_given_up_and_the_job_runs_again(bus, clock, heeds):
    """Without a restart, also if whoever does it does not heed being told to stop; meanwhile the other jobs run."""
    work, let_go = Workshop(clock=clock), asyncio.Event()

    async def hang_once(asked: Asked) -> str:
        while len(work.times("quarter")) == 1 and not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                if heeds:
                    raise
        return "done"

    work.doing["quarter"] = hang_once
    async with scheduler(QUARTER, SWEEP, records=bus.records, clock=clock, work=work) as running:
        await leading(running)
        await pass_time(15 * 60 + 61.0, running, step_s=5.0)
        failed = await running.job("quarter")
        stored = await running.stored("quarter")
        health = running.service.health()
        await pass_time(15 * 60.0, running, step_s=5.0)
        again = await running.job("quarter")
        let_go.set()

        assert (failed.last_result, failed.last_error, failed.error_count) == ("FAILED", "not done within 60 s", 1)
        assert (stored.last_result, stored.is_running) == ("FAILED", False)
        assert (health[0].state, health[0].detail) == ("degraded", "the last run failed: quarter")
        assert (again.last_result, again.last_error, again.run_count, again.error_count) == ("SUCCESS", None, 2, 1)
        assert len(work.times("sweep")) >= 360
        assert running.service.health()[0].state == "up"


async def test_runs_of_a_job_never_overlap(bus, clock):
    """A run takes longer than the time between two, and somebody asks for one meanwhile."""
    work = Workshop(clock=clock)

    async def long(_: Asked) -> str:
        await slept(clock, 12.0)
        return "done"

    work.doing["sweep"] = long
    async with scheduler(SWEEP, records=bus.records, clock=clock, work=work) as running:
        await leading(running)
        await pass_time(7.0, running)
        assert (await running.call("run", "sweep")).is_running
        await pass_time(53.0, running)

        assert work.most_at_once == 1
        first, second = work.times("sweep")[:2]
        assert second - first <= timedelta(seconds=12.5)


@pytest.mark.parametrize("gently", [True, False])
async def test_runs_that_were_missed_while_nobody_led_become_one(bus, clock, gently):
    """After any end, and then the job keeps to its times."""
    clock.set_wall(clock.now().replace(hour=3, minute=50))
    async with scheduler(DAILY, QUARTER, records=bus.records, clock=clock) as first:
        await leading(first)
        await pass_time(1200.0, first, step_s=30.0)
        await (first.stop() if gently else first.kill())
    await clock.advance(30 * 86_400.0 + 60)
    back = clock.now()
    async with scheduler(DAILY, QUARTER, records=bus.records, clock=clock, alone=True) as second:
        await leading(second)
        await pass_time(120.0, second, step_s=1.0)
        assert (len(second.work.times("daily")), len(second.work.times("quarter"))) == (1, 1)
        assert second.work.times("daily")[0] - back < timedelta(seconds=5)
        await pass_time(900.0, second, step_s=30.0)
        assert (len(second.work.times("daily")), len(second.work.times("quarter"))) == (1, 2)
        job = await second.job("daily")
        assert (job.run_count, job.next_run_at.hour, job.next_run_at - back < timedelta(days=1)) == (2, 4, True)


async def test_counters_and_the_last_result_survive_a_restart(bus, clock):
    """Of a job that is written after each run, and, after an end in order, of one that is not."""
    work = Workshop(clock=clock)

    async def fail(_: Asked) -> str:
        raise Conflict("the node was written by somebody else")

    work.doing["quarter"] = fail
    async with scheduler(QUARTER, SWEEP, records=bus.records, clock=clock, work=work) as first:
        await leading(first)
        await pass_time(1803.0, first, step_s=5.0)
        before = {name: await first.job(name) for name in ("quarter", "sweep")}
    async with scheduler(QUARTER, SWEEP, records=bus.records, clock=clock) as second:
        await leading(second)
        after = {name: await second.job(name) for name in ("quarter", "sweep")}

    assert (before["quarter"].error_count, before["quarter"].last_error) == (2, "the node was written by somebody else")
    assert before["sweep"].run_count == len(work.times("sweep"))
    assert after == before


async def test_a_kill_costs_a_frequent_job_half_a_minute_of_counts_and_others_none(bus, clock):
    """That is the price of not syncing a write every five seconds."""
    async with scheduler(QUARTER, SWEEP, records=bus.records, clock=clock) as first:
        await leading(first)
        await pass_time(903.0, first, step_s=1.0)
        before = {name: await first.job(name) for name in ("quarter", "sweep")}
        writes = first.records.writes["job"]
        await first.kill()
    async with scheduler(QUARTER, SWEEP, records=bus.records, clock=clock, alone=True) as second:
        await leading(second)
        after = {name: await second.job(name) for name in ("quarter", "sweep")}

    assert after["quarter"] == before["quarter"]
    assert before["sweep"].run_count - 6 <= after["sweep"].run_count <= before["sweep"].run_count
    assert before["sweep"].run_count >= 180
    assert writes <= 40


async def test_a_task_that_nobody_serves_fails_at_once_and_is_tried_again_soon(bus, clock):
    """The service that does it may only be starting."""
    work, away = Workshop(clock=clock), [Unavailable("nobody serves daily")] * 2

    async def absent(_: Asked) -> str:
        if away:
            raise away.pop()
        return "done"

    work.doing["daily"] = absent
    async with scheduler(DAILY, records=bus.records, clock=clock, work=work) as running:
        await leading(running)
        await running.call("run", "daily")
        await quiet(running)
        assert (await running.job("daily")).last_error == "nobody serves daily"
        await pass_time(30.0, running)

        first, second, third = work.times("daily")
        assert (second - first, third - second) == (timedelta(seconds=5), timedelta(seconds=10))
        job = await running.job("daily")
        assert (job.last_result, job.run_count, job.error_count, job.next_run_at.hour) == ("SUCCESS", 3, 2, 4)


async def test_a_run_that_another_one_is_in_the_way_of_is_skipped(bus, clock):
    """It is no failure, and is counted apart."""
    work, busy = Workshop(clock=clock), [Occupied("a run of daily is under way already")]

    async def occupied(_: Asked) -> str:
        if busy:
            raise busy.pop()
        return "done"

    work.doing["daily"] = occupied
    async with scheduler(DAILY, records=bus.records, clock=clock, work=work) as running:
        await leading(running)
        await running.call("run", "daily")
        await quiet(running)
        skipped = await running.job("daily")
        await pass_time(6.0, running)

        assert (skipped.last_result, skipped.run_count, skipped.error_count) == ("SKIPPED", 0, 0)
        assert (await running.job("daily")).last_result == "SUCCESS"
        assert running.service.health()[0].state == "up"
        sample = running.metrics.registry.get_sample_value
        assert [sample("kalends_job_runs_total", {"job": "daily", "result": result}) for result in ("SKIPPED", "SUCCESS")] == [1, 1]
        assert sample("kalends_job_seconds_count", {"job": "daily"}) == 1


async def test_the_metrics_tell_when_a_job_last_succeeded_and_whether_it_rests(bus, clock):
    """Also in a process that did not run it, and after a restart; a run that fails changes nothing."""
    work = Workshop(clock=clock)
    async with scheduler(DAILY, records=bus.records, clock=clock, work=work) as running:
        await leading(running)
        await running.call("run", "daily")
        await pass_time(6.0, running)
        ended = (await running.job("daily")).last_run_at
        await running.call("pause", "daily")
        await quiet(running)
    async with scheduler(DAILY, records=bus.records, clock=clock, work=work) as again:
        await leading(again)
        sample = again.metrics.registry.get_sample_value
        await until(lambda: sample("kalends_job_paused", {"job": "daily"}) == 1)

        assert sample("kalends_job_last_success_timestamp_seconds", {"job": "daily"}) == ended.timestamp()


async def test_an_error_that_nobody_foresaw_fails_the_run_and_nothing_else(bus, clock):
    """It is told by its type alone, for its words may quote somebody's."""
    work = Workshop(clock=clock)

    async def broken(_: Asked) -> str:
        raise RuntimeError("the-secret-words-of-a-user")

    work.doing["daily"] = broken
    async with scheduler(DAILY, records=bus.records, clock=clock, work=work) as running:
        await leading(running)
        await running.call("run", "daily")
        await quiet(running)

        assert (await running.job("daily")).last_error == "an unexpected error: RuntimeError"
        assert running.leads


async def test_health_says_when_nobody_leads(clock):
    """Neither this process nor another one that it can see."""
    records = MemoryRecords()
    async with scheduler(DAILY, records=records, clock=clock, lease_s=LEASE_S) as one:
        await leading(one)
        async with scheduler(DAILY, records=records, clock=clock, lease_s=LEASE_S) as other:
            await pass_time(1.0, one, other)
            assert [each.service.health()[0].state for each in (one, other)] == ["up", "up"]
            one.records.is_cut = other.records.is_cut = True
            await pass_time(2 * LEASE_S, one, other)

            found = [each.service.health()[0] for each in (one, other)]
            assert [each.state for each in found] == ["degraded", "degraded"]
            assert not any(each.required for each in found)
            one.records.is_cut = other.records.is_cut = False
            await pass_time(LEASE_S, one, other)
            assert [each.service.health()[0].state for each in (one, other)] == ["up", "up"]


async def test_a_start_is_no_failure(clock):
    """That nobody leads is said after the time in which somebody should."""
    async with scheduler(DAILY, records=MemoryRecords(), clock=clock, lease_s=LEASE_S) as one:
        one.records.is_cut = True
        assert not one.leads
        assert one.service.health()[0].state == "up"

        await pass_time(2 * LEASE_S, one)

        assert not one.leads
        assert one.service.health()[0].state == "degraded"


async def test_a_scheduler_outlives_a_restart_of_the_broker(tmp_path):
    """On the real clock, with a task over the broker too."""
    calls: list[TaskCall] = []

    async def do(call: TaskCall) -> str:
        calls.append(call)
        return "done"

    async with watched_server(tmp_path) as server, own_bus(server, replace(SMALL, idle=0.2)) as bus:
        work = NatsWork(bus.link)
        serving = asyncio.create_task(work.serve({"second": do}))
        async with scheduler(EVERY_SECOND, records=bus.records, clock=SystemClock(), work=work, lease_s=2.0, pace=BRISK) as running:
            await until(lambda: len(calls) >= 2)
            assert server.pid is not None
            os.kill(server.pid, signal.SIGKILL)
            await until(lambda: not bus.link.connected.is_set())
            count = len(calls)
            await until(lambda: len(calls) >= count + 2)
            await until(lambda: running.leads)

            assert (await running.job("second")).run_count > 0
            assert calls[-1].arguments["checkpoint"] != ""
        serving.cancel()
        await asyncio.wait([serving])
