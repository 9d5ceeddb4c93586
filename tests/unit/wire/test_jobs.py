"""Jobs as records."""

import asyncio
from contextlib import aclosing
from dataclasses import fields, replace
from datetime import UTC, datetime

import pytest
from tests.support.records import MemoryRecords

from kalends.domain import schedules
from kalends.domain.errors import Conflict, Damaged
from kalends.domain.schedules import JobState
from kalends.wire.jobs import KIND, JobStore, StoredJob

FULL = JobState(
    name="toc-day",
    cron="0 */15 * * * *",
    is_paused=True,
    is_running=True,
    last_run_at=datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC),
    last_started=datetime(1969, 3, 1, tzinfo=UTC),
    next_run_at=datetime(2104, 2, 29, tzinfo=UTC),
    run_count=2**40,
    error_count=7,
    last_result="SKIPPED",
    last_error="a run is under way 😀",
    last_duration_s=0.1,
    checkpoint="2026-03-01T12:00:00+00:00",
    term=2**33,
    run_id="01KJ",
    tries=3,
    wanted=4,
    granted=3,
    resets=2,
    resets_done=1,
)


async def test_a_job_comes_back_as_it_was():
    """Every field, and none that the test forgot."""
    store = JobStore(MemoryRecords())
    assert all(getattr(FULL, field.name) not in (None, "", 0, False) for field in fields(JobState))

    written = await store.put(FULL, revision=0)

    assert written.state == FULL
    assert await store.get("toc-day") == written
    bare = await store.put(JobState(name="other"), revision=0)
    assert await store.all() == {"other": bare, "toc-day": written}
    assert await store.get("none") is None


async def test_of_two_writers_the_second_is_refused():
    """It would undo the first one's."""
    store = JobStore(MemoryRecords())
    first = await store.put(FULL, revision=0)
    await store.put(replace(FULL, run_count=1), revision=first.revision)

    with pytest.raises(Conflict):
        await store.put(replace(FULL, run_count=2), revision=first.revision)
    with pytest.raises(Conflict):
        await store.put(FULL, revision=0)


async def test_a_late_write_of_an_earlier_leader_is_refused():
    """Its successor has written the job under its own term, whether or not anything else changed."""
    store = JobStore(MemoryRecords())
    of_the_first = await store.put(replace(FULL, term=1), revision=0)
    of_the_second = await store.put(replace(FULL, term=2), revision=of_the_first.revision)

    with pytest.raises(Conflict):
        await store.put(replace(of_the_first.state, run_count=99), revision=of_the_first.revision)
    assert await store.get("toc-day") == of_the_second


async def test_a_change_is_made_again_on_what_somebody_else_wrote_in_between():
    """So nobody's change is lost."""
    records = MemoryRecords()
    store = JobStore(records)
    await store.put(JobState(name="j"), revision=0)
    await asyncio.gather(*(store.change("j", schedules.asked_for) for _ in range(5)))
    original = records.put

    async def overtaken(*arguments, **named):
        records.put = original
        await JobStore(records).change("j", schedules.paused)
        return await original(*arguments, **named)

    records.put = overtaken
    changed = await store.change("j", schedules.asked_for)

    assert (changed.state.wanted, changed.state.is_paused) == (6, True)


async def test_a_change_of_a_job_that_nobody_wrote_yet_makes_it():
    """A job can be paused before the first leader has seen it."""
    store = JobStore(MemoryRecords())

    changed = await store.change("j", schedules.paused)

    assert changed.state == JobState(name="j", is_paused=True)


async def test_a_job_that_is_written_all_the_time_is_given_up_on():
    """With an error, and not for ever."""
    store = JobStore(Contended())

    with pytest.raises(Conflict, match="all the time"):
        await store.change("j", schedules.paused)


class Contended(MemoryRecords):
    """Records of which somebody else always writes first."""

    async def put(self, *arguments, **named):
        raise Conflict("another write came first")


@pytest.mark.parametrize("value", [b"\xff\xff", b"", JobState])
async def test_a_damaged_record_is_an_error_for_who_asks_for_that_job_alone(value):
    """What cannot be read, what is another job's, and a result that does not exist."""
    records = MemoryRecords()
    store = JobStore(records)
    good = await store.put(FULL, revision=0)
    if value is JobState:
        await store.put(replace(FULL, name="bad", last_result="PERHAPS"), revision=0)
    else:
        await records.put(KIND, "scheduler", "bad", value)

    with pytest.raises(Damaged):
        await store.get("bad")
    assert await store.all() == {"toc-day": good}
    async with aclosing(store.watch()) as jobs:
        assert [await anext(jobs) for _ in range(2)] == [good, None]


async def test_a_watch_tells_of_every_change():
    """First what there is, then None, then changes; a deleted record is none."""
    records = MemoryRecords()
    store = JobStore(records)
    first = await store.put(FULL, revision=0)
    async with aclosing(store.watch()) as jobs:
        assert [await anext(jobs), await anext(jobs)] == [first, None]
        await records.delete(KIND, "scheduler", "toc-day")
        second = await store.put(FULL, revision=0)

        assert await anext(jobs) == StoredJob(state=FULL, revision=second.revision)
