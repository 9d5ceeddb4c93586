"""Task groups whose lone error leaves them as itself, and that nobody's cancellation is forgotten."""

import asyncio
import contextlib

import pytest

from kalends.domain.errors import Conflict, Unavailable
from kalends.kit import tasks


async def failing(error):
    """A task that fails at once."""
    raise error


async def forever(ended):
    """A task that goes on until it is cancelled, and says so."""
    try:
        await asyncio.Event().wait()
    finally:
        ended.append("cancelled")


async def test_a_group_waits_for_its_tasks():
    """Nothing is left running behind it."""
    async with tasks.group() as group:
        made = [group.create_task(asyncio.sleep(0, number)) for number in range(3)]

    assert [task.result() for task in made] == [0, 1, 2]


async def test_a_lone_error_is_raised_as_itself():
    """So that ``except`` for its type sees it; the very object, without a group around it or behind it."""
    error = Unavailable("away")

    with pytest.raises(Unavailable) as caught:
        async with tasks.group() as group:
            group.create_task(failing(error))

    assert caught.value is error
    assert error.__suppress_context__


async def test_an_error_of_the_block_is_raised_as_itself():
    """It need not come from a task."""
    error = Conflict("no")

    async def block():
        async with tasks.group():
            raise error

    with pytest.raises(Conflict) as caught:
        await block()

    assert caught.value is error


async def test_a_lone_error_within_groups_is_raised_as_itself():
    """Groups within groups, each of one."""
    error = Unavailable("away")

    with pytest.raises(Unavailable) as caught:
        async with asyncio.timeout(5), tasks.group() as group:
            group.create_task(failing(ExceptionGroup("outer", [ExceptionGroup("inner", [error])])))

    assert caught.value is error


async def test_several_errors_stay_a_group():
    """None of them is lost."""
    both = asyncio.Barrier(2)

    async def fail(error):
        await both.wait()
        raise error

    async def work():
        async with tasks.group() as group:
            group.create_task(fail(Unavailable("away")))
            group.create_task(fail(Conflict("no")))

    with pytest.raises(ExceptionGroup) as caught:
        await work()

    assert {type(error) for error in caught.value.exceptions} == {Unavailable, Conflict}


async def test_an_error_cancels_the_others():
    """And the group ends when they have."""
    ended = []

    async def work():
        async with tasks.group() as group:
            group.create_task(forever(ended))
            await asyncio.sleep(0)
            group.create_task(failing(Unavailable("away")))

    with pytest.raises(Unavailable):
        await work()

    assert ended == ["cancelled"]


async def test_a_cancelled_group_is_cancelled_and_no_error():
    """Ending a process looks like ending a process."""
    ended, started = [], asyncio.Event()

    async def work():
        async with tasks.group() as group:
            group.create_task(forever(ended))
            await asyncio.sleep(0)
            started.set()

    task = asyncio.create_task(work())
    await started.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["cancelled"]


@pytest.mark.parametrize("fails", ["block", "task"])
async def test_who_is_cancelled_while_a_group_winds_up_after_an_error_is_cancelled(fails):
    """So that a loop which goes on after errors ends when it is told to."""
    winding_up, released, rounds = asyncio.Event(), asyncio.Event(), []

    async def slow_to_end():
        try:
            await asyncio.Event().wait()
        finally:
            winding_up.set()
            await released.wait()

    async def work():
        while len(rounds) < 5:
            rounds.append(1)
            with contextlib.suppress(Unavailable):
                async with tasks.group() as group:
                    group.create_task(slow_to_end())
                    await asyncio.sleep(0)
                    if fails == "block":
                        raise Unavailable("away")
                    group.create_task(failing(Unavailable("away")))

    task = asyncio.create_task(work())
    await winding_up.wait()
    task.cancel()
    asyncio.get_running_loop().call_later(0.01, released.set)
    done, _ = await asyncio.wait([task], timeout=20)

    assert done == {task}
    assert task.cancelled()
    assert len(rounds) == 1


async def test_a_deadline_that_ends_while_a_group_winds_up_is_a_deadline():
    """And nothing of it is left for the next wait."""
    released = asyncio.Event()

    async def slow_to_end():
        try:
            await asyncio.Event().wait()
        finally:
            await released.wait()

    async def work():
        asyncio.get_running_loop().call_later(0.1, released.set)
        async with asyncio.timeout(0.05), tasks.group() as group:
            group.create_task(slow_to_end())
            await asyncio.sleep(0)
            raise Unavailable("away")

    with pytest.raises(TimeoutError):
        await work()
    await asyncio.sleep(0)


@pytest.mark.parametrize("answer", ["a result", Unavailable("away")], ids=["result", "error"])
async def test_a_cancellation_that_comes_together_with_an_answer_is_heeded(answer):
    """``asyncio.wait_for`` of Python 3.11 returns the answer then, and forgets that it was cancelled."""
    answered: asyncio.Future[object] = asyncio.get_running_loop().create_future()

    async def work():
        with tasks.heeded():
            await asyncio.wait_for(answered, 20)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    if isinstance(answer, Exception):
        answered.set_exception(answer)
    else:
        answered.set_result(answer)
    task.cancel()
    await asyncio.wait([task])

    assert task.cancelled()


async def test_what_was_cancelled_before_may_still_ask():
    """As whoever cleans up does."""
    asked = []

    async def work():
        try:
            await asyncio.Event().wait()
        finally:
            with tasks.heeded():
                await asyncio.sleep(0)
            asked.append(1)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])

    assert asked == [1]
