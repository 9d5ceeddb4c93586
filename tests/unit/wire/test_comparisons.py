"""How far a comparison has come: kept until it is done."""

from tests.support.records import MemoryRecords

from kalends.wire.comparisons import KIND, Compared, ComparisonStore

PLACE = Compared(projection="vector", scope_key="abc.calendar")


async def test_the_place_is_kept_until_it_is_cleared():
    """By whoever goes on, which may be another process."""
    records = MemoryRecords()
    assert await ComparisonStore(records).load() is None
    await ComparisonStore(records).save(Compared(projection="lexical", scope_key="zzz"))
    await ComparisonStore(records).save(PLACE)

    assert await ComparisonStore(records).load() == PLACE
    for _ in range(2):
        await ComparisonStore(records).clear()
    assert await ComparisonStore(records).load() is None


async def test_a_record_that_cannot_be_read_begins_again():
    """It costs no more than time."""
    records = MemoryRecords()
    await records.put(KIND, "instance", "reconcile", b"\xff\xff")

    assert await ComparisonStore(records).load() is None
    records.lose(KIND, "instance", "reconcile")
    assert await ComparisonStore(records).load() is None
