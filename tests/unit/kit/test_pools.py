"""The account that pools keep of themselves."""

import asyncio
import gc
import threading

import pytest

from kalends.adapters.embedded.threads import Lane
from kalends.kit import pools
from kalends.kit.bulkhead import Bulkhead, Full
from kalends.kit.fair_queue import FairQueue
from kalends.kit.pools import Account, Usage


def test_pools_of_one_name_are_added_up() -> None:
    """Two files of one kind have two lanes, and one line in a graph."""
    one, other = Account("test-sum", places=2), Account("test-sum", places=3)
    for account in (one, other, other):
        account.come()
    one.begin()
    other.refuse()

    assert pools.usage()["test-sum"] == Usage(places=5, taken=1, waiting=2, refused=1)


def test_a_pool_that_is_gone_is_not_listed() -> None:
    """Whether it was closed or forgotten."""
    closed, forgotten = Account("test-closed", places=1), Account("test-forgotten", places=1)
    closed.close()
    del forgotten
    gc.collect()

    assert not {"test-closed", "test-forgotten"} & pools.usage().keys()


async def test_a_lane_tells_what_runs_and_what_waits() -> None:
    """And what was cancelled before it began waits no more."""
    lane, go = Lane("test-lane"), threading.Event()
    began = asyncio.Event()
    loop = asyncio.get_running_loop()

    def work() -> None:
        loop.call_soon_threadsafe(began.set)
        assert go.wait(30.0)

    first = asyncio.create_task(lane.run(work))
    await began.wait()
    second = asyncio.create_task(lane.run(work))
    await asyncio.sleep(0)
    assert pools.usage()["test-lane"] == Usage(places=1, taken=1, waiting=1, refused=0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    assert pools.usage()["test-lane"] == Usage(places=1, taken=1, waiting=0, refused=0)
    go.set()
    await first
    await lane.close()
    assert "test-lane" not in pools.usage()


async def test_a_bulkhead_tells_whom_it_turned_away() -> None:
    """Who waited too long is not among those who wait."""
    bulkhead = Bulkhead(1, name="test-bulkhead")
    async with bulkhead.place(wait_s=1.0):
        with pytest.raises(Full):
            async with bulkhead.place(wait_s=0.0):
                pass
        assert pools.usage()["test-bulkhead"] == Usage(places=1, taken=1, waiting=0, refused=1)
    assert pools.usage()["test-bulkhead"] == Usage(places=1, taken=0, waiting=0, refused=1)


async def test_a_fair_queue_tells_who_waits_and_who_was_refused() -> None:
    """One has the only place, one may wait, and the third is one too many."""
    queue = FairQueue(places=1, each=1, waiting=1, name="test-queue")
    async with queue.place("a", "a"):
        waiter = asyncio.create_task(queue.place("b", "b").__aenter__())
        await asyncio.sleep(0)
        with pytest.raises(Full):
            await queue.place("b", "b").__aenter__()
        assert pools.usage()["test-queue"] == Usage(places=1, taken=1, waiting=1, refused=1)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        assert pools.usage()["test-queue"] == Usage(places=1, taken=1, waiting=0, refused=1)
    assert pools.usage()["test-queue"] == Usage(places=1, taken=0, waiting=0, refused=1)
