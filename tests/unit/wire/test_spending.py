"""What was spent on a chat model: kept by memory, for one day."""

from datetime import date

from tests.support.records import MemoryRecords

from kalends.wire.spending import KIND, SpendingStore

TODAY = date(2026, 3, 1)


async def test_what_was_saved_is_loaded_by_memory():
    """The newest day replaces the one before."""
    records = MemoryRecords()
    store = SpendingStore(records)
    await store.save("a", date(2026, 2, 28), 900)
    await store.save("a", TODAY, 12)
    await store.save("b", TODAY, 7)

    found = [await SpendingStore(records).load(memory) for memory in ("a", "b", "c")]

    assert found == [(TODAY, 12), (TODAY, 7), None]


async def test_a_record_that_cannot_be_read_begins_again():
    """Rather than holding up the calendar."""
    records = MemoryRecords()
    await records.put(KIND, "a", "chat", b"\xff\xff")

    assert await SpendingStore(records).load("a") is None
    records.lose(KIND, "a", "chat")
    assert await SpendingStore(records).load("a") is None
