"""When a process that has just begun indexes."""

import asyncio

from kalends.index.service import after


class Work:
    """Something to be done, and whether it was."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()

    async def run(self) -> None:
        """Do it."""
        self.begun.set()


async def test_a_process_indexes_once_it_may_answer():
    """Following the log comes first, for until then nobody is answered."""
    known, work = asyncio.Event(), Work()

    async def tell() -> None:
        for _ in range(10):
            await asyncio.sleep(0)
        assert not work.begun.is_set()
        known.set()

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(after(known.wait, work.run))
        group.create_task(tell())

    assert work.begun.is_set()


async def test_a_log_that_takes_long_to_follow_is_indexed_beside():
    """A further replica of index is to help, however large the log is."""
    work = Work()

    async with asyncio.timeout(10):
        await after(asyncio.Event().wait, work.run, at_most_s=0.0)

    assert work.begun.is_set()
