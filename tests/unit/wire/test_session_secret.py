"""The key of agents' sessions: one for all, and no reason not to start."""

import asyncio

from tests.support.records import MemoryRecords

from kalends.adapters.embedded.kek import FileWrapper
from kalends.kit import aead
from kalends.wire.session_secret import KIND, session_secret


async def test_every_process_has_the_same() -> None:
    """Whoever asks first makes it, also if several ask at once."""
    records, wrapper = MemoryRecords(), FileWrapper(aead.new_key())
    found = await asyncio.gather(*(session_secret(records, wrapper) for _ in range(5)))

    assert len(set(found)) == 1
    assert len(found[0]) == 32
    assert await session_secret(records, wrapper) == found[0]


async def test_it_is_stored_wrapped() -> None:
    """Who reads the records cannot make bearers."""
    records, wrapper = MemoryRecords(), FileWrapper(aead.new_key())
    secret = await session_secret(records, wrapper)

    (record,) = await records.list(KIND)
    assert secret not in record.value


async def test_one_that_does_not_open_is_replaced() -> None:
    """Agents log in again; nothing else is lost."""
    records = MemoryRecords()
    before = await session_secret(records, FileWrapper(aead.new_key()))
    other = FileWrapper(aead.new_key())
    after = await session_secret(records, other)

    assert after != before
    assert await session_secret(records, other) == after


async def test_one_that_the_disk_lost_is_replaced() -> None:
    """It is no reason not to start."""
    records, wrapper = MemoryRecords(), FileWrapper(aead.new_key())
    before = await session_secret(records, wrapper)
    records.lose(KIND, "instance", "sessions")
    after = await session_secret(records, wrapper)

    assert after != before
    assert await session_secret(records, wrapper) == after
