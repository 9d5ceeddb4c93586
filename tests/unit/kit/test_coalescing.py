"""Coalescing: who travels with whom, and that nobody is forgotten."""

import asyncio

import pytest

from kalends.domain.errors import Unavailable
from kalends.kit.coalescing import Coalescer


class Station:
    """Trips that start when they are let go; it notes what each one carried."""

    def __init__(self) -> None:
        self.trips: list[list[int]] = []
        self.gate = asyncio.Event()
        self.failure: Exception | None = None

    async def travel(self, questions):
        self.trips.append(list(questions))
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return {question: question * 10 for question in questions if question >= 0}


async def under_way(coalescer, *groups):
    """One task for each group of questions, all of them waiting."""
    tasks = [asyncio.create_task(coalescer.ask(list(group))) for group in groups]
    await asyncio.wait(tasks, timeout=0.01)
    return tasks


async def answers(tasks):
    """What became of the tasks, soon."""
    async with asyncio.timeout(5):
        return await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_lone_caller_leaves_at_once():
    """It waits for nobody."""
    station = Station()
    station.gate.set()

    assert await Coalescer(station.travel, limit=10).ask([1, 2]) == {1: 10, 2: 20}


async def test_who_comes_while_a_trip_is_under_way_shares_the_next_one():
    """Who comes in the same turn of the loop as the first caller goes along with it."""
    station = Station()
    coalescer = Coalescer(station.travel, limit=10)
    tasks = await under_way(coalescer, [0], [1])
    tasks += await under_way(coalescer, [2], [3])
    station.gate.set()

    replies = await answers(tasks)

    assert station.trips == [[0, 1], [2, 3]]
    assert [reply[number] for number, reply in enumerate(replies)] == [0, 10, 20, 30]


async def test_a_trip_takes_no_more_than_its_limit():
    """Nor does a caller's question get split; one that alone is larger travels alone."""
    station = Station()
    tasks = await under_way(Coalescer(station.travel, limit=3), [0, 1], [2, 3], [4], [5, 6, 7, 8], [9])
    station.gate.set()
    await answers(tasks)

    assert station.trips == [[0, 1], [2, 3, 4], [5, 6, 7, 8], [9]]


async def test_what_a_trip_leaves_out_is_left_out_of_the_reply():
    """Nothing is known of it."""
    station = Station()
    station.gate.set()

    assert await Coalescer(station.travel, limit=3).ask([-1, 1]) == {1: 10}


async def test_a_failure_reaches_everybody_on_the_trip_and_nobody_else():
    """The next trip starts afresh."""
    station = Station()
    coalescer = Coalescer(station.travel, limit=10)
    station.failure = Unavailable("away")
    tasks = await under_way(coalescer, [1], [2], [3])
    station.gate.set()

    assert [type(reply) for reply in await answers(tasks)] == [Unavailable] * 3

    station.failure = None
    assert await coalescer.ask([4]) == {4: 40}


async def test_a_leader_who_gives_up_leaves_the_others_to_the_next():
    """They do not share its fate."""
    station = Station()
    coalescer = Coalescer(station.travel, limit=10)
    tasks = await under_way(coalescer, [1], [2], [3])
    tasks[0].cancel()
    station.gate.set()

    replies = await answers(tasks)

    assert isinstance(replies[0], asyncio.CancelledError)
    assert [replies[1][2], replies[2][3]] == [20, 30]


async def test_who_gives_up_while_waiting_takes_nobodys_place():
    """A question that nobody asks any more must not fill the trip of those behind it."""
    station = Station()
    coalescer = Coalescer(station.travel, limit=2)
    tasks = await under_way(coalescer, [1], [2, 3], [4, 5])
    tasks[1].cancel()
    station.gate.set()

    replies = await answers(tasks)

    assert replies[2] == {4: 40, 5: 50}
    assert station.trips == [[1], [4, 5]]


async def test_who_gives_up_during_the_trip_needs_no_reply():
    """The leader brings the replies for the others all the same."""
    station = Station()
    coalescer = Coalescer(station.travel, limit=10)
    first = await under_way(coalescer, [1])
    others = await under_way(coalescer, [2], [3])
    station.gate.set()
    station.gate.clear()
    await answers(first)
    await asyncio.wait(others, timeout=0.01)
    others[1].cancel()
    await asyncio.wait(others[1:])
    station.gate.set()

    replies = await answers(others)

    assert replies[0][2] == 20
    assert station.trips == [[1], [2, 3]]


@pytest.mark.parametrize("limit", [1, 3, 100])
async def test_many_callers_each_get_their_own(limit):
    """Whatever the limit."""
    station = Station()
    station.gate.set()
    coalescer = Coalescer(station.travel, limit=limit)

    replies = await answers([asyncio.create_task(coalescer.ask([number, number + 1])) for number in range(50)])

    assert [reply[number] for number, reply in enumerate(replies)] == [number * 10 for number in range(50)]
