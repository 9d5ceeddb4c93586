"""Doing operations: by one process at a time, gone on with by another, ended by a person or by an error that waiting cannot mend."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs
from tests.support.faulty import Faulty
from tests.support.records import MemoryRecords
from tests.support.waiting import until

from kalends.adapters.embedded.clock import SystemClock
from kalends.domain.errors import Conflict, Damaged, Throttled, Unavailable
from kalends.wire.leases import Lease
from kalends.wire.operations import OperationStore
from kalends.wire.running import OperationRunner

LEASE_S = 2.0


class Doing:
    """Work that can be held up and told to fail; ``begun`` has who began which operation."""

    def __init__(self):
        self.begun: list[tuple[str, str]] = []
        self.abandoned: list[str] = []
        self.errors: list[Exception] = []
        self.gate = asyncio.Event()
        self.gate.set()

    def runner(self, records, holder="a", *, place="", kind="sorting"):
        """The runner of one process."""
        clock = SystemClock()

        async def do(operation, report):
            self.begun.append((holder, operation.operation_id))
            report(1, 2)
            await self.gate.wait()
            if self.errors:
                raise self.errors.pop(0)
            report(2, 2)
            return "sorted"

        async def abandon(operation):
            self.abandoned.append(operation.operation_id)

        lease = Lease(records, name=f"{kind}-{place}", holder=holder, lease_s=LEASE_S, clock=clock)
        store = OperationStore(records=records, clock=clock)
        return OperationRunner(kind=kind, store=store, lease=lease, clock=clock, do=do, abandon=abandon, place=place)


@asynccontextmanager
async def running(*runners):
    """They run for as long as the block does, and end when they are told to."""
    tasks = [asyncio.create_task(one.run()) for one in runners]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert all(task.cancelled() for task in tasks)


async def in_state(runner, one, state):
    """Wait until an operation is in that state."""

    async def met():
        return (await runner.find(one.operation_id)).state == state

    await until(met)


async def test_operations_are_done_in_the_order_in_which_they_were_asked_for():
    """Each with its result and its progress, and none of another kind."""
    doing, records = Doing(), MemoryRecords()
    runner, other = doing.runner(records), doing.runner(records, kind="other")
    asked = [await runner.ask(str(number)) for number in range(3)]
    await other.ask("x")

    async with running(runner):
        await in_state(runner, asked[-1], "succeeded")

    assert [one for _, one in doing.begun] == [one.operation_id for one in asked]
    assert [(one.state, one.done, one.total, one.result) for one in await runner.all()] == [("succeeded", 2, 2, "sorted")] * 3


async def test_what_waits_already_is_joined_by_whoever_wants_the_same():
    """Wherever it was asked for; what differs in its subject or in any field that was named is another one."""
    doing, records = Doing(), MemoryRecords()
    here, there = doing.runner(records, "a"), doing.runner(records, "b")

    first = await here.join("x", {"memory": "notes"}, total=3)

    assert (await there.join("x", {"memory": "notes"}, total=5)).operation_id == first.operation_id
    apart = doing.runner(records, place="p")
    others = [await here.join("y", {"memory": "notes"}), await here.join("x", {"memory": "diary"}), await apart.join("x")]
    assert len({first.operation_id, *(one.operation_id for one in others)}) == 4
    assert first.total == 3


async def test_what_has_begun_is_not_joined():
    """It may have passed what came since."""
    doing, records = Doing(), MemoryRecords()
    runner = doing.runner(records)
    doing.gate.clear()

    async with running(runner):
        first = await runner.join("x")
        await until(lambda: len(doing.begun) == 1)
        second = await runner.join("x")
        third = await runner.join("x")
        doing.gate.set()
        await in_state(runner, second, "succeeded")

    assert first.operation_id != second.operation_id == third.operation_id
    assert doing.begun == [("a", first.operation_id), ("a", second.operation_id)]


async def test_one_of_several_processes_does_an_operation():
    """The others see it under way, with its progress, and do nothing."""
    doing, records = Doing(), MemoryRecords()
    runners = [doing.runner(records, holder) for holder in "abc"]
    doing.gate.clear()

    async with running(*runners):
        asked = await runners[0].ask("x")
        await until(lambda: all(runner.underway for runner in runners))

        async def noted():
            return all([(await runner.find(asked.operation_id)).done == 1 for runner in runners])

        await until(noted)
        assert sum(runner.leads for runner in runners) == 1
        doing.gate.set()
        await in_state(runners[0], asked, "succeeded")
        await until(lambda: not any(runner.underway for runner in runners))

    assert len(doing.begun) == 1


async def test_what_a_process_leaves_behind_another_goes_on_with():
    """At once if it was shut down, and within the lease if it died."""
    doing, records = Doing(), MemoryRecords()
    first, second = doing.runner(records, "a"), doing.runner(records, "b")
    doing.gate.clear()
    async with running(first):
        asked = await first.ask("x")
        await until(lambda: len(doing.begun) == 1)
    assert (await second.find(asked.operation_id)).state == "running"
    doing.gate.set()

    async with running(second):
        await in_state(second, asked, "succeeded")

    assert doing.begun == [("a", asked.operation_id), ("b", asked.operation_id)]
    assert doing.abandoned == []


async def test_a_person_ends_an_operation_wherever_it_is_done():
    """What it has left is cleared away there, and the next one begins."""
    doing, records = Doing(), MemoryRecords()
    here, there = doing.runner(records, "a"), doing.runner(records, "b")
    doing.gate.clear()

    async with running(here):
        first, second = await here.ask("x"), await here.ask("y")
        await until(lambda: len(doing.begun) == 1)
        await there.cancel(first.operation_id)
        await until(lambda: len(doing.begun) == 2)
        doing.gate.set()
        await in_state(here, second, "succeeded")

    assert doing.abandoned == [first.operation_id]
    assert (await there.find(first.operation_id)).state == "cancelled"
    with pytest.raises(Conflict):
        await there.cancel(first.operation_id)
    with pytest.raises(Conflict):
        await there.cancel("01JB00000000000000000000XX")


async def test_what_is_away_is_waited_for_and_what_is_wrong_ends_the_operation():
    """An unexpected error is named as one, without its words."""
    doing, records = Doing(), MemoryRecords()
    runner = doing.runner(records)
    doing.errors = [Unavailable("away"), Damaged("the index cannot be read"), ValueError("secret")]
    waited, damaged, odd, good = [await runner.ask(name) for name in "wdog"]

    async with running(runner):
        await in_state(runner, good, "succeeded")

    states = [(await runner.find(one.operation_id)).state for one in (waited, damaged, odd, good)]
    assert states.count("failed") == 2
    errors = sorted([(await runner.find(one.operation_id)).error for one in (waited, damaged, odd, good)])
    assert errors == ["", "", "an unexpected error; the log says which", "the index cannot be read"]
    assert len(doing.abandoned) == 2


async def test_operations_of_another_place_are_not_ours():
    """They are known and left alone."""
    doing, records = Doing(), MemoryRecords()
    here, there = doing.runner(records, place="here"), doing.runner(records, place="there")
    far, near = await there.ask("x"), await here.ask("y")

    async with running(here):
        await in_state(here, near, "succeeded")

    assert (await here.find(far.operation_id)).state == "queued"
    assert [one for _, one in doing.begun] == [near.operation_id]


async def test_an_operation_asked_for_as_done_is_not_done():
    """A dry run is counted where it is asked."""
    doing, records = Doing(), MemoryRecords()
    runner = doing.runner(records)
    dry = await runner.ask("x", state="succeeded", dry_run=True, total=5)

    async with running(runner):
        await in_state(runner, await runner.ask("y"), "succeeded")

    assert (dry.state, dry.dry_run, len(doing.begun)) == ("succeeded", True, 1)


async def test_a_watch_that_breaks_is_begun_again():
    """What was asked for elsewhere meanwhile is done."""
    doing, records = Doing(), MemoryRecords()
    runner, elsewhere = doing.runner(records), doing.runner(records, "b")

    async with running(runner):
        await in_state(runner, await runner.ask("x"), "succeeded")
        records.interrupt()
        await in_state(runner, await elsewhere.ask("y"), "succeeded")

    assert len(doing.begun) == 2


@pytest.mark.parametrize(
    "error", [Throttled("the store is full"), Damaged("the newest is lost"), Unavailable("away")], ids=lambda one: one.code
)
async def test_a_lease_that_cannot_be_renewed_runs_out_and_the_operation_goes_on_afterwards(error):
    """Whatever the store says, nothing but the operation stops; it is told once, and not at each renewal."""
    doing, records = Doing(), MemoryRecords()
    store = Faulty(records, dependency="records")
    runner = doing.runner(store)
    doing.gate.clear()

    with capture_logs() as lines:
        async with running(runner):
            asked = await runner.ask("x")
            await until(lambda: len(doing.begun) == 1)
            store.leave("put", error=error)
            await until(lambda: not runner.leads)
            told = [one["event"] for one in lines]
            store.come_back()
            doing.gate.set()
            await in_state(runner, asked, "succeeded")

    assert len(doing.begun) == 2
    assert told.count("the lease cannot be kept") == 1
    assert told.count("an operation goes on elsewhere") == 1


async def test_a_renewal_that_fails_once_costs_nothing():
    """The lease is held on, and the operation is not begun anew."""
    doing, records = Doing(), MemoryRecords()
    store = Faulty(records, dependency="records")
    runner = doing.runner(store)
    doing.gate.clear()

    async with running(runner):
        asked = await runner.ask("x")
        await until(lambda: len(doing.begun) == 1)
        store.leave("put", error=Throttled("the store is full"))
        await until(lambda: store.refused["put"] == 1)
        store.come_back()
        doing.gate.set()
        await in_state(runner, asked, "succeeded")

    assert len(doing.begun) == 1
