"""A durable consumer that pauses gives back what was sent to it, whether or not it was fetched.

A newcomer would get wrong: a reader whose fetch is cancelled has a question open at the broker, which goes on to answer it; what comes then
is nobody's until its time to be acked is over, and the floor waits for it.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from tests.contracts.drafts import draft
from tests.support.broker import SMALL, fresh_bus
from tests.support.waiting import until

from kalends.adapters.nats import NatsBus


@pytest.fixture
async def bus() -> AsyncIterator[NatsBus]:
    """An empty log, whose time to ack is long."""
    async with fresh_bus() as made:
        yield made


@pytest.mark.parametrize("while_fetching", [False, True])
async def test_what_was_sent_to_one_that_pauses_comes_to_another_at_once(bus: NatsBus, while_fetching: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Not only what it had fetched is known to be open: a question of its own was, and was answered while nobody took the answer."""
    log = bus.log
    pausing, other = await log.consumer("c"), await log.consumer("c")
    fetching = asyncio.create_task(pausing.fetch(limit=10, wait=30))
    await until(lambda: bool(pausing._open))
    if while_fetching:
        await log.append([draft("one"), draft("two")])
        await until(lambda: pausing._inbox.waiting > 0 or bool(pausing._ready) or fetching.done())
    fetching.cancel()
    await asyncio.wait([fetching])
    if not while_fetching:
        await log.append([draft("one"), draft("two")])
        await until(lambda: pausing._inbox.waiting == 2)
    fetched = [] if fetching.cancelled() else list(fetching.result())
    await pausing.pause()
    await pausing.pause()

    found = {one.message.body for one in fetched}
    while len(found) < 2:
        found |= {delivery.message.body for delivery in await other.fetch(limit=10, wait=10)}
    assert found == {b"one", b"two"}
    await other.pause()
    await log.append([draft("three")])
    [again] = await pausing.fetch(limit=10, wait=10)
    assert again.message.body == b"three"


async def test_what_was_sent_and_not_fetched_is_kept_too() -> None:
    """It waits behind what is being written, and came to somebody else after the time to ack, and to this one later all the same."""
    async with fresh_bus(replace(SMALL, ack_wait=0.4, redelivery=(0.4, 0.4))) as bus:
        keeping, other = await bus.log.consumer("c"), await bus.log.consumer("c")
        asking = asyncio.create_task(keeping.fetch(limit=10, wait=30))
        await until(lambda: bool(keeping._open))
        asking.cancel()
        await asyncio.wait([asking])
        async with asyncio.TaskGroup() as group:
            kept = group.create_task(keeping.keep(list))
            await bus.log.append([draft("one")])

            assert await other.fetch(limit=10, wait=2) == []
            kept.cancel()

        [again] = await keeping.fetch(limit=10, wait=1)
        assert (again.message.body, again.attempt) == (b"one", 1)
