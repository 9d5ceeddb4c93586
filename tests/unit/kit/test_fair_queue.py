"""Turns: places, owners one after the other, and nothing lost when somebody leaves."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.waiting import until

from kalends.kit.bulkhead import Full
from kalends.kit.fair_queue import FairQueue


class Work:
    """Things that are done in turns, each until it is told to end."""

    def __init__(self, queue: FairQueue) -> None:
        self.queue = queue
        self.begun: list[str] = []
        self.ends: dict[str, asyncio.Event] = {}

    async def run(self, name: str, owner: str, part: str = "") -> None:
        self.ends[name] = asyncio.Event()
        async with self.queue.place(owner, (owner, part)):
            self.begun.append(name)
            await self.ends[name].wait()


async def turns() -> None:
    """Let everything happen that can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_owners_take_turns_however_many_each_has_waiting():
    """The one who came late with one thing waits for one of the others, not for all of theirs."""
    work = Work(FairQueue(places=1, each=10, waiting=100, name="test"))
    async with asyncio.TaskGroup() as group:
        for number in range(5):
            group.create_task(work.run(f"noisy{number}", "noisy"))
        await turns()
        group.create_task(work.run("quiet0", "quiet"))
        group.create_task(work.run("quiet1", "quiet"))
        for _ in range(7):
            await turns()
            work.ends[work.begun[-1]].set()

    assert work.begun == ["noisy0", "noisy1", "quiet0", "noisy2", "quiet1", "noisy3", "noisy4"]


async def test_a_part_that_has_all_it_may_have_lets_its_neighbours_pass():
    """Also within one owner."""
    work = Work(FairQueue(places=3, each=1, waiting=100, name="test"))
    async with asyncio.TaskGroup() as group:
        for name, part in (("a0", "a"), ("a1", "a"), ("b0", "b")):
            group.create_task(work.run(name, "acme", part))
            await turns()
        assert work.begun == ["a0", "b0"]
        for end in work.ends.values():
            end.set()

    assert work.begun == ["a0", "b0", "a1"]


async def test_too_many_of_one_owner_are_refused_and_others_are_not():
    """A queue that only grows helps nobody."""
    work = Work(FairQueue(places=1, each=1, waiting=2, name="test"))
    async with asyncio.TaskGroup() as group:
        for number in range(3):
            group.create_task(work.run(f"n{number}", "noisy"))
        await turns()
        with pytest.raises(Full):
            await work.run("n3", "noisy")
        group.create_task(work.run("q", "quiet"))
        await turns()
        for name in ("n0", "n1", "n2", "q"):
            work.ends[name].set()

    assert sorted(work.begun) == ["n0", "n1", "n2", "q"]


async def test_who_leaves_while_waiting_takes_no_place_with_it():
    """Nor does who leaves at the moment in which a place came."""
    work = Work(FairQueue(places=1, each=1, waiting=10, name="test"))
    tasks = [asyncio.create_task(work.run(f"t{number}", "acme", str(number))) for number in range(4)]
    await turns()
    tasks[1].cancel()
    await turns()
    work.ends["t0"].set()
    tasks[2].cancel()
    await until(lambda: work.begun[-1:] == ["t3"])
    work.ends["t3"].set()
    await asyncio.gather(*tasks, return_exceptions=True)

    async with work.queue.place("other", "x"):
        assert work.queue._free == 0
    assert (work.queue._free, dict(work.queue._active), dict(work.queue._waiting)) == (1, {}, {})


@settings(max_examples=60, deadline=None)
@given(
    asked=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy"), st.booleans()), max_size=25),
    places=st.integers(1, 4),
    each=st.integers(1, 3),
)
def test_never_more_at_once_than_there_are_places_and_everybody_is_served(asked: list[tuple[str, str, bool]], places: int, each: int):
    """Whoever comes, whoever leaves early, in whichever order."""
    asyncio.run(_everybody(asked, places, each))


async def _everybody(asked: list[tuple[str, str, bool]], places: int, each: int) -> None:
    queue = FairQueue(places=places, each=each, waiting=100, name="test")
    active: Counter[object] = Counter()
    served = 0

    async def work(owner: str, part: str) -> None:
        nonlocal served
        async with queue.place(owner, (owner, part)):
            active[owner, part] += 1
            assert active.total() <= places
            assert active[owner, part] <= each
            try:
                await asyncio.sleep(0)
            finally:
                active[owner, part] -= 1
            served += 1

    tasks = []
    for owner, part, leaves in asked:
        task = asyncio.create_task(work(owner, part))
        tasks.append(task)
        await asyncio.sleep(0)
        if leaves:
            task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)

    assert all(result is None or isinstance(result, asyncio.CancelledError) for result in results)
    assert served == sum(result is None for result in results) >= sum(not leaves for *_, leaves in asked)
    assert (queue._free, queue._active.total(), len(queue._waiting)) == (places, 0, 0)


async def test_who_waits_to_be_alone_goes_on_when_the_last_of_the_others_leaves():
    """Those who do not count are not waited for."""
    work = Work(FairQueue(places=9, each=9, waiting=9, name="test"))
    async with asyncio.TaskGroup() as group:
        for name, owner in (("a", "noisy"), ("b", "quiet"), ("c", "other"), ("d", "as noisy")):
            group.create_task(work.run(name, owner))
        await turns()
        alone = group.create_task(work.queue.until_alone("noisy", but=lambda owner: owner == "as noisy"))
        for name in ("b", "c"):
            await turns()
            assert not alone.done()
            work.ends[name].set()
        await turns()
        assert alone.done()
        for end in work.ends.values():
            end.set()


async def test_who_no_longer_waits_to_be_alone_is_forgotten():
    """And leaves nothing behind that somebody's leaving would stumble over."""
    work = Work(FairQueue(places=9, each=9, waiting=9, name="test"))
    async with asyncio.TaskGroup() as group:
        group.create_task(work.run("a", "quiet"))
        await turns()
        impatient = group.create_task(work.queue.until_alone("noisy", but=lambda _: False))
        await turns()
        impatient.cancel()
        await turns()
        work.ends["a"].set()

    assert impatient.cancelled()
    await work.queue.until_alone("noisy", but=lambda _: False)
