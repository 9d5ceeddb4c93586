"""The format that a log says it is of."""

import pytest
from tests.support.records import MemoryRecords

from kalends.domain.errors import Damaged, Misconfigured
from kalends.wire import formats


async def test_a_log_that_says_nothing_is_of_the_first_format_and_goes_on_saying_nothing():
    """The version before knows of no such record, and must be able to take over again."""
    records = MemoryRecords()

    assert await formats.check_format(records) == 1
    assert await records.list(formats.KIND) == []


async def test_a_log_of_a_format_that_is_not_read_is_refused():
    """Before anything of it is read, or written to it."""
    records = MemoryRecords()
    await records.put(formats.KIND, formats.OWNER, formats.NAME, b"2")

    with pytest.raises(Misconfigured, match="records of format 2"):
        await formats.check_format(records)


async def test_a_record_that_says_no_number_is_damaged():
    """It is not taken for the first format."""
    records = MemoryRecords()
    await records.put(formats.KIND, formats.OWNER, formats.NAME, b"\xff")

    with pytest.raises(Damaged):
        await formats.check_format(records)
