"""One term of one leader, where others write at the very moments that matter.

Belongs here: interleavings that a whole scheduler shows too seldom. Does not belong here: the lease (``test_scheduler``).
"""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from tests.support.clocks import SimulatedClock, settled
from tests.support.records import MemoryRecords
from tests.support.scheduling import BRISK, Workshop

from kalends.domain import schedules
from kalends.domain.errors import Conflict, Unavailable
from kalends.domain.schedules import JobSpec
from kalends.scheduler.leading import Leadership
from kalends.wire.jobs import JobStore

SPEC = JobSpec(name="job", task="job", cron="0 * * * * *", timeout_s=60.0)


@asynccontextmanager
async def term(number: int, records: MemoryRecords, clock: SimulatedClock):
    """A leader in its term, who is sure to hold the lease; what it began ends with the block."""
    async with asyncio.TaskGroup() as group:
        yield Leadership(
            term=number,
            specs={"job": SPEC},
            store=JobStore(records),
            work=Workshop(clock=clock),
            clock=clock,
            pace=BRISK,
            group=group,
            holds=lambda: True,
            observe=lambda _, __: None,
        )


@asynccontextmanager
async def at_work(leader: Leadership):
    """It leads for as long as the block runs, or until it ends by itself."""
    led = asyncio.create_task(leader.lead())
    try:
        yield led
    finally:
        led.cancel()
        await asyncio.wait([led])


async def test_a_leader_that_reads_a_later_ones_job_ends():
    """Though its own lease, by its own clock, still holds: it must not write over what the later one writes."""
    records, clock = MemoryRecords(), SimulatedClock()
    async with term(1, records, clock) as old, term(2, records, clock) as new:
        await old.take_over()
        async with at_work(old) as led:
            await settled()
            await new.take_over()
            await clock.advance(120.0)

            assert led.done()
            assert old.is_over
            found = await JobStore(records).get("job")
            assert found is not None
            assert (found.state.term, found.state.run_count) == (2, 0)


async def test_a_later_leader_is_not_taken_over_from():
    """Who was slow to begin its term finds that it is over."""
    records, clock = MemoryRecords(), SimulatedClock()
    async with term(1, records, clock) as old, term(2, records, clock) as new:
        await new.take_over()

        with pytest.raises(Conflict):
            await old.take_over()


async def test_a_pause_at_the_moment_of_taking_over_is_not_lost():
    """It was heard of before the leader knew that its own write had been taken."""
    records, clock = MemoryRecords(), SimulatedClock()
    put = records.put
    async with term(1, records, clock) as leader:

        async def paused_meanwhile(*arguments, **named):
            revision = await put(*arguments, **named)
            records.put = put
            leader.heed(await JobStore(records).change("job", schedules.paused))
            return revision

        records.put = paused_meanwhile
        await leader.take_over()
        async with at_work(leader):
            await clock.advance(300.0)

        assert leader.states["job"].is_paused
        assert leader.work.asked == []


async def test_a_pause_at_the_moment_of_a_write_is_not_lost():
    """Neither by the leader nor in the store, and neither is the run that was written."""
    records, clock = MemoryRecords(), SimulatedClock()
    store, put = JobStore(records), records.put
    async with term(1, records, clock) as leader:
        await leader.take_over()

        async def paused_before(*arguments, **named):
            records.put = put
            await store.change("job", schedules.paused)
            return await put(*arguments, **named)

        async with at_work(leader):
            await clock.advance(59.0)
            records.put = paused_before
            await clock.advance(300.0)

            found = await store.get("job")
            assert found is not None
            assert (found.state.is_paused, found.state.run_count) == (True, 1)
            assert found.state == leader.states["job"]
            assert len(leader.work.asked) == 1


async def test_a_deleted_record_is_written_anew():
    """The leader knows more than a store that lost it."""
    records, clock = MemoryRecords(), SimulatedClock()
    async with term(1, records, clock) as leader:
        await leader.take_over()
        async with at_work(leader):
            await clock.advance(60.0)
            await records.delete("job", "scheduler", "job")
            await clock.advance(60.0)

            found = await JobStore(records).get("job")
            assert found is not None
            assert found.state.run_count == 2


async def test_while_the_store_is_away_jobs_run_and_are_written_once_it_is_back():
    """A leader that holds the lease need not stop for a moment without the store."""
    records, clock = MemoryRecords(), SimulatedClock()
    put = records.put

    async def away(*_: object, **__: object):
        raise Unavailable("away")

    async with term(1, records, clock) as leader:
        await leader.take_over()
        async with at_work(leader):
            records.put = away
            await clock.advance(180.0)
            assert len(leader.work.asked) == 3
            records.put = put
            await clock.advance(2.0)

            found = await JobStore(records).get("job")
            assert found is not None
            assert found.state.run_count == 3


async def test_what_a_leader_leaves_is_what_its_successor_begins_with():
    """A run that was cut short is done again, at once."""
    records, clock = MemoryRecords(), SimulatedClock()
    async with term(1, records, clock) as old, term(2, records, clock) as new:
        await old.take_over()
        old.states["job"] = replace(schedules.started(SPEC, old.states["job"], now=clock.now(), run_id="r"), run_count=7)
        await old.end()
        await new.take_over()

        assert new.states["job"].run_count == 7
        assert schedules.is_due(new.states["job"], now=clock.now())
