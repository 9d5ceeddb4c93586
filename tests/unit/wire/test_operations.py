"""Operations that outlive a process: kept, listed by kind, and forgotten when they are old and over."""

from dataclasses import replace

import pytest
from tests.support.clocks import SimulatedClock
from tests.support.records import MemoryRecords

from kalends.domain.errors import Damaged
from kalends.wire.operations import KEPT, KIND, OperationStore


@pytest.fixture
def records() -> MemoryRecords:
    """Empty records."""
    return MemoryRecords()


@pytest.fixture
def store(records: MemoryRecords) -> OperationStore:
    """A store over them."""
    return OperationStore(records=records, clock=SimulatedClock())


async def test_an_operation_is_found_as_it_was_stored(store: OperationStore):
    """By a process that did not begin it, too: nothing is remembered beside the record."""
    begun = await store.begin("toc-rebuild", "toc", tenant="acme", memory="notes", since="2026-01-30")
    changed = await store.put(begun, state="running", done=3, total=9, result="so far")

    assert await store.find(begun.operation_id) == changed
    assert replace(changed, state="queued", done=0, total=0, result="", revision=begun.revision) == begun
    assert await store.find("01JB00000000000000000000XX") is None


async def test_operations_are_listed_by_kind_from_the_oldest(store: OperationStore):
    """Ids grow with time."""
    first = await store.begin("toc-rebuild", "toc")
    await store.begin("other", "toc")
    last = await store.begin("toc-rebuild", "toc")

    assert sorted(one.operation_id for one in await store.all("toc-rebuild")) == sorted([first.operation_id, last.operation_id])


async def test_the_oldest_that_are_over_are_forgotten(store: OperationStore, records: MemoryRecords):
    """What is still under way is kept, however old it is."""
    running = await store.begin("toc-rebuild", "toc")
    for _ in range(KEPT + 5):
        begun = await store.begin("toc-rebuild", "toc")
        await store.put(begun, state="succeeded")

    kept = {record.name for record in await records.list(KIND)}
    assert running.operation_id in kept
    assert len(kept) <= KEPT + 2


async def test_a_record_that_cannot_be_read_harms_no_other(store: OperationStore, records: MemoryRecords):
    """It is an error for whoever asks for it."""
    good = await store.begin("toc-rebuild", "toc")
    await records.put(KIND, "instance", "broken", b"\xff\xff")

    assert [one.operation_id for one in await store.all("toc-rebuild")] == [good.operation_id]
    with pytest.raises(Damaged):
        await store.find("broken")
