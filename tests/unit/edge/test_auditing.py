"""What is worth an entry, what waits for it, and what is only counted."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest
from tests.support.edge import FixedClock
from tests.support.waiting import until

from kalends.domain.audit import Entry, Head, chained
from kalends.domain.credentials import Principal
from kalends.domain.errors import Conflict, Forbidden, Throttled, Unavailable
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.edge import auditing
from kalends.edge.auditing import Auditor
from kalends.edge.dispatch import Route, routes
from kalends.edge.metrics import new_metrics
from kalends.edge.operations import Answer, Call, Operation
from kalends.edge.services import Service

SCOPE = Scope(Tenant("acme"), MemoryName("notes"))
ADA = Principal(token_id="ada", tenant=SCOPE.tenant, memories=None, rights=frozenset({"append"}))


class Kept:
    """A store in memory that can be away."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.asked = 0
        self.blocks = 0
        self.there = asyncio.Event()
        self.there.set()
        self.failures: list[Exception] = []

    async def append(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        self.asked += 1
        await self.there.wait()
        if self.failures:
            raise self.failures.pop()
        head = Head(number=self.entries[-1].number, hash=self.entries[-1].hash) if self.entries else Head()
        placed = chained(head, entries)
        self.entries += placed
        self.blocks += 1
        return placed

    @property
    def told(self) -> list[tuple[str, str, int]]:
        """Operation, outcome and count of each entry."""
        return [(entry.operation, entry.outcome, entry.count) for entry in self.entries]


async def nothing(_call: Call) -> Answer:
    """A handler that has nothing to do."""
    return Answer()


def operation(name: str = "memories.change", method: str = "PATCH", right: str = "admin", handle=nothing) -> Operation:
    """A row of the table."""
    return Operation(
        name=name, method=method, path=f"/memories/{{memory}}/{name}", right=right, summary="", handle=handle, answer=None, status=204
    )


def call(request_id: str = "r", *, seconds: float = 5.0) -> Call:
    """A call about a memory."""
    deadline = asyncio.get_running_loop().time() + seconds
    return Call(
        principal=ADA, scope=SCOPE, path={}, query=None, body=None, raw=b"said", headers={}, request_id=request_id, deadline=deadline
    )


def row(of: Operation) -> Route:
    """A row that can be called."""
    [found] = routes([Service(name="s", operations=[of])], metrics=new_metrics(version="1"), transport="http")
    return found


@contextlib.asynccontextmanager
async def running(store: Kept, clock: FixedClock | None = None, counted: Sequence[str] = ()) -> AsyncIterator[Auditor]:
    """An auditor that writes to *store*."""
    auditor = Auditor(store=store, clock=clock or FixedClock(), counted=frozenset(counted))
    task = asyncio.create_task(auditor.run())
    await asyncio.sleep(0)
    try:
        yield auditor
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_a_call_that_changes_something_is_answered_when_its_entry_is_durable():
    """Not before; the entry says who, what, where and with which outcome, and nothing of what was sent."""
    store = Kept()
    store.there.clear()
    async with running(store) as auditor:
        asked = asyncio.create_task(row(operation()).perform(call(), audit=auditor))
        await until(lambda: store.asked == 1)
        assert not asked.done()
        store.there.set()
        await asked

    [entry] = store.entries
    assert (entry.tenant, entry.actor, entry.operation, entry.memory, entry.outcome) == ("acme", "ada", "memories.change", "notes", "ok")
    assert (entry.request_id, entry.count, entry.refused) == ("r", 1, False)
    assert "said" not in repr(entry)


@pytest.mark.parametrize(("method", "right"), [("GET", "admin"), ("POST", "search"), ("POST", "")])
async def test_a_call_that_only_reads_leaves_nothing(method, right):
    """However it is asked."""
    store = Kept()
    async with running(store) as auditor:
        await row(operation(method=method, right=right)).perform(call(), audit=auditor)

    assert store.entries == []


async def test_a_failure_is_an_outcome():
    """By its code; a refusal is told by the edge, and is not there twice."""

    async def fail(_call: Call) -> Answer:
        raise error

    store = Kept()
    async with running(store) as auditor:
        for error in (Conflict("x"), Forbidden("no"), ValueError("said")):
            with pytest.raises(type(error)):
                await row(operation(handle=fail)).perform(call(), audit=auditor)

    assert [entry.outcome for entry in store.entries] == ["conflict", "internal"]


async def test_a_call_that_is_broken_off_is_noted_without_waiting():
    """What it did is not known, and that is what the entry says."""

    async def hang(_call: Call) -> Answer:
        await asyncio.Event().wait()
        raise AssertionError("nobody wakes it")

    store, clock = Kept(), FixedClock()
    async with running(store, clock) as auditor:
        asked = asyncio.create_task(row(operation(handle=hang)).perform(call("lost"), audit=auditor))
        await asyncio.sleep(0)
        asked.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asked

    assert [(entry.outcome, entry.request_id) for entry in store.entries] == [("unknown", "lost")]


async def test_an_entry_that_is_not_durable_in_time_fails_its_call_and_is_written_later():
    """Who is told of a success can rely on the entry; the other hears 503 and asks again with the same ids."""
    store = Kept()
    store.there.clear()
    async with running(store) as auditor:
        with pytest.raises(Unavailable) as caught:
            await auditor.changed(call(seconds=0.01), operation(), "ok")
        assert caught.value.dependency == "audit"
        store.there.set()
        await until(lambda: bool(store.entries))

    assert store.told == [("memories.change", "ok", 1)]


async def test_a_store_that_fails_is_asked_again():
    """Until it has the entry."""
    store = Kept()
    store.failures = [Unavailable("away", dependency="nats"), Throttled("full")]
    async with running(store) as auditor:
        await auditor.changed(call(), operation(), "ok")

    assert store.told == [("memories.change", "ok", 1)]


async def test_refusals_alike_are_one_entry_a_second():
    """A flood of them costs one entry each second, which says how many there were."""
    store, clock = Kept(), FixedClock()
    async with running(store, clock) as auditor:
        for _ in range(10_000):
            auditor.refused(ADA, operation(), "right")
        auditor.refused(None, operation(), "credential")
        clock.advance(seconds=1)
        await until(lambda: len(store.entries) == 2)
        auditor.refused(ADA, operation(), "right")
        clock.advance(seconds=1)
        await until(lambda: len(store.entries) == 3)

    assert store.told == [("memories.change", "right", 10_000), ("memories.change", "credential", 1), ("memories.change", "right", 1)]
    assert all(entry.refused and not entry.memory for entry in store.entries)
    assert [entry.actor for entry in store.entries] == ["ada", "", "ada"]


async def test_there_is_room_for_so_many_kinds_of_refusals():
    """Who makes up names cannot fill the memory; what there is no room for is counted together."""
    store = Kept()
    async with running(store) as auditor:
        for number in range(auditing.COUNTED_MAX + 500):
            auditor.refused(replace(ADA, token_id=f"t{number}"), operation(), "right")

    counts = {entry.operation: entry.count for entry in store.entries}
    assert len(store.entries) == auditing.COUNTED_MAX + 1
    assert counts[auditing.OTHERS] == 500


async def test_a_flood_of_calls_is_refused_before_it_changes_anything(monkeypatch):
    """There is room for so many entries; beyond it nothing is done, so nothing is done without an entry."""
    monkeypatch.setattr(auditing, "WAITING_MAX", 2)
    done: list[Call] = []

    async def note(given: Call) -> Answer:
        done.append(given)
        return Answer()

    auditor = Auditor(store=Kept(), clock=FixedClock())
    waiting = [asyncio.create_task(row(operation(handle=note)).perform(call(), audit=auditor)) for _ in range(2)]
    await until(lambda: len(done) == 2)

    with pytest.raises(Throttled):
        await row(operation(handle=note)).perform(call(), audit=auditor)

    assert len(done) == 2
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_call_is_refused_before_it_changes_anything_while_its_entry_would_find_no_room():
    """On a full disk nothing is done without an entry, and nobody waits for one; what is only counted goes its way."""
    done: list[Call] = []

    async def note(given: Call) -> Answer:
        done.append(given)
        return Answer()

    def full() -> None:
        raise Unavailable("the disk is full", dependency="disk")

    auditor = Auditor(store=Kept(), clock=FixedClock(), counted=frozenset({"counted"}), need_room=full)
    with pytest.raises(Unavailable, match="the disk is full"):
        await row(operation(handle=note)).perform(call(), audit=auditor)
    assert done == []

    await row(operation(name="counted", handle=note)).perform(call(), audit=auditor)
    assert len(done) == 1


async def test_counted_operations_wait_for_nobody():
    """Those alike of a second are one entry."""
    store, clock = Kept(), FixedClock()
    store.there.clear()
    async with running(store, clock, counted=["events.append"]) as auditor:
        for number in range(50):
            await row(operation("events.append", "POST", "append")).perform(call(f"r{number}"), audit=auditor)
        store.there.set()
        clock.advance(seconds=1)
        await until(lambda: bool(store.entries))

    assert store.told == [("events.append", "ok", 50)]
    assert store.entries[0].request_id == "r0"


async def test_callers_at_the_same_time_share_a_block():
    """One write for many, as in the log."""
    store = Kept()
    store.there.clear()
    async with running(store) as auditor:
        first = asyncio.create_task(auditor.changed(call(), operation(), "ok"))
        await until(lambda: store.asked == 1)
        rest = [asyncio.create_task(auditor.changed(call(), operation(), "ok")) for _ in range(100)]
        await until(lambda: len(auditor._waiting) == 100)
        store.there.set()
        await asyncio.gather(first, *rest)

    assert (len(store.entries), store.blocks) == (101, 2)


async def test_what_was_counted_is_written_before_the_end():
    """A process that ends in order leaves nothing behind."""
    store = Kept()
    async with running(store) as auditor:
        auditor.refused(ADA, operation(), "right")

    assert store.told == [("memories.change", "right", 1)]
