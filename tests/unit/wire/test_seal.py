"""The seal of a log: made once, and opened only by its own key."""

import asyncio

import pytest
from tests.support.keys import TEST_KEY
from tests.support.records import MemoryRecords

from kalends.adapters.embedded.kek import FileWrapper
from kalends.domain.errors import Damaged, Misconfigured
from kalends.wire.seal import KIND, check_seal


async def test_a_log_is_given_an_id_once():
    """Every later start, and every other process, finds the same."""
    records = MemoryRecords()

    first, second = await asyncio.gather(check_seal(records, FileWrapper(TEST_KEY)), check_seal(records, FileWrapper(TEST_KEY)))

    assert first == second == await check_seal(records, FileWrapper(TEST_KEY))
    assert len(first) == 32
    assert await check_seal(MemoryRecords(), FileWrapper(TEST_KEY)) != first


async def test_another_key_is_refused_with_what_to_do():
    """Before anything is sealed under it."""
    records = MemoryRecords()
    await check_seal(records, FileWrapper(TEST_KEY))

    with pytest.raises(Misconfigured, match="put back the key file"):
        await check_seal(records, FileWrapper(bytes(32)))


@pytest.mark.parametrize("value", [b"\xff", b""])
async def test_a_seal_that_cannot_be_read_is_damaged(value):
    """It is no fresh log."""
    records = MemoryRecords()
    await check_seal(records, FileWrapper(TEST_KEY))
    (record,) = await records.list(KIND)
    await records.put(KIND, record.owner, record.name, value)

    with pytest.raises(Damaged, match="seal"):
        await check_seal(records, FileWrapper(TEST_KEY))


async def test_a_seal_that_the_disk_lost_is_not_made_anew():
    """With another the log would be another's, and so would its archive, its backups and its projections."""
    records, wrapper = MemoryRecords(), FileWrapper(TEST_KEY)
    await check_seal(records, wrapper)
    records.lose(KIND, "instance", "log")

    with pytest.raises(Damaged):
        await check_seal(records, wrapper)
