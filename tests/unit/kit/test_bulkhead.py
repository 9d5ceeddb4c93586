"""So many at once, and the others wait, but not for ever."""

import asyncio

import pytest

from kalends.kit.bulkhead import Bulkhead, Full


async def test_no_more_than_its_places_are_taken_at_once() -> None:
    """And all come to their turn."""
    bulkhead, inside, most = Bulkhead(2, name="test"), 0, 0

    async def work() -> None:
        nonlocal inside, most
        async with bulkhead.place(wait_s=60.0):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    async with asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(work())
    assert most == 2


async def test_who_waits_too_long_is_told_that_it_is_full() -> None:
    """And takes no place away."""
    bulkhead = Bulkhead(1, name="test")
    async with bulkhead.place(wait_s=60.0):
        with pytest.raises(Full):
            async with bulkhead.place(wait_s=0.01):
                raise AssertionError
    async with bulkhead.place(wait_s=60.0):
        pass


async def test_a_place_is_given_back_whatever_happens() -> None:
    """By an error, and by whoever leaves while waiting."""
    bulkhead = Bulkhead(1, name="test")
    with pytest.raises(ZeroDivisionError):
        async with bulkhead.place(wait_s=60.0):
            raise ZeroDivisionError
    async with bulkhead.place(wait_s=60.0):
        waiting = asyncio.create_task(bulkhead.place(wait_s=60.0).__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
    async with bulkhead.place(wait_s=60.0):
        pass
