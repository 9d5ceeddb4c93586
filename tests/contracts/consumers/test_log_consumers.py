"""The suite of the port ``log``: its durable consumers, on the real broker and on a cluster of three.

A newcomer would get wrong: what a consumer is sent and has not fetched is in its hands too, and comes to nobody else meanwhile.
"""

import asyncio
from dataclasses import replace

import pytest
from tests.contracts.drafts import bodies, draft, drafts
from tests.support.broker import SMALL, another_bus, fresh_bus

from kalends.adapters.nats import NatsBus
from kalends.adapters.nats.log import NatsLog
from kalends.domain.errors import Conflict
from kalends.ports.log import Delivery

pytestmark = pytest.mark.usefixtures("broker")


async def test_a_consumer_gets_what_is_not_acked_again() -> None:
    """After the time to ack is over, the message comes with a higher attempt; an acked one does not come."""
    async with fresh_bus(replace(SMALL, ack_wait=0.2, redelivery=(0.2, 0.2))) as bus:
        await bus.log.append([draft("one"), draft("two")])
        consumer = await bus.log.consumer("c")
        first, second = await consumer.fetch(limit=10, wait=5)
        await first.ack()

        [again] = await consumer.fetch(limit=10, wait=5)

        assert (again.message.body, again.attempt) == (b"two", 2)
        assert again.message.position == second.message.position


async def test_what_is_kept_comes_to_nobody_else_until_it_is_kept_no_more() -> None:
    """For many times the time to ack; then it comes, and what was settled does not."""
    async with fresh_bus(replace(SMALL, ack_wait=0.4, redelivery=(0.4, 0.4))) as bus:
        await bus.log.append(drafts("a", 2))
        consumer, other = await bus.log.consumer("c"), await bus.log.consumer("c")
        fetched = await consumer.fetch(limit=2, wait=5)
        keeping = asyncio.create_task(consumer.keep(lambda: fetched))
        await fetched[0].ack()

        assert await other.fetch(limit=10, wait=2) == []
        keeping.cancel()

        [again] = await other.fetch(limit=10, wait=5)
        assert (again.message.body, again.attempt) == (b"a-1", 2)


async def test_a_consumer_that_was_closed_goes_on_where_it_was_and_leaves_nothing_here(bus: NatsBus) -> None:
    """Closing again does nothing; who opens it again gets what was not acked."""
    await bus.log.append(drafts("a", 3))
    before = len(bus.connection._subs)
    consumer = await bus.log.consumer("c")
    fetched = await consumer.fetch(limit=2, wait=5)
    await consumer.ack_all(fetched)

    await consumer.close()
    await consumer.close()

    assert len(bus.connection._subs) == before
    assert await bus.log.consumers() == ["c"]
    again = await bus.log.consumer("c")
    assert [one.message.body for one in await again.fetch(limit=10, wait=5)] == [b"a-2"]


async def test_a_sole_reader_gets_what_its_predecessor_left_at_once() -> None:
    """Nothing waits for the time to ack, and what was acked does not come again."""
    options = replace(SMALL, sole_reader=True)
    async with fresh_bus(options) as bus:
        await bus.log.append(drafts("a", 3))
        first, _, _ = await (await bus.log.consumer("c")).fetch(limit=10, wait=5)
        await first.ack()

    async with another_bus(options) as bus:
        again = await (await bus.log.consumer("c")).fetch(limit=10, wait=5)

        assert bodies(delivery.message for delivery in again) == ["a-1", "a-2"]


async def test_a_delivery_is_settled_once(log: NatsLog) -> None:
    """A second settlement is a mistake of the caller and is said so."""
    await log.append([draft("one")])
    [delivery] = await (await log.consumer("c")).fetch(limit=1, wait=5)
    await delivery.ack()

    with pytest.raises(Conflict):
        await delivery.ack()


async def test_the_floor_follows_the_acks_and_reaches_the_head(log: NatsLog) -> None:
    """A hole holds the floor down; when all is acked the floor is the end of the stream."""
    await log.append(drafts("a", 300))
    consumer = await log.consumer("c")
    deliveries: list[Delivery] = []
    while len(deliveries) < 300:
        deliveries += await consumer.fetch(limit=300 - len(deliveries), wait=5)
    assert len(deliveries) == 300
    await consumer.ack_all([*deliveries[:100], *deliveries[101:]])

    [state] = await consumer.states()
    assert (state.floor, state.pending, state.in_flight) == (100, 0, 1)
    await consumer.ack_all([deliveries[100]])
    [state] = await consumer.states()
    assert (state.floor, state.pending, state.in_flight) == (300, 0, 0)


async def test_an_empty_fetch_is_empty(log: NatsLog) -> None:
    """No messages is no error."""
    consumer = await log.consumer("c")

    assert await consumer.fetch(limit=10, wait=0.05) == []
    await log.append([draft("one")])
    assert len(await consumer.fetch(limit=10, wait=5)) == 1


async def test_a_consumer_that_finds_nothing_has_one_question_open(bus: NatsBus) -> None:
    """However often it looks: an answer to an earlier question opens no second one, or the broker would be full of them one day."""
    consumer = await bus.log.consumer("idle")

    waiting = []
    for number in range(120):
        assert await consumer.fetch(limit=10, wait=0.01 + number % 7 / 1000) == []
        info = await bus.connection.jetstream().consumer_info("EVENTS_0", "idle")
        waiting.append(info.num_waiting)

    assert max(waiting[-40:]) <= 2


async def test_a_new_consumer_begins_where_it_is_told_and_an_old_one_stays_where_it_is(log: NatsLog) -> None:
    """The start is only heeded when the consumer is made."""
    appended = await log.append(drafts("a", 10))
    start = {appended[0].position.stream: 4}
    consumer = await log.consumer("c", start=start)
    deliveries = await consumer.fetch(limit=100, wait=5)
    assert deliveries[0].message.position.sequence == 5
    await consumer.ack_all(deliveries)

    again = await log.consumer("c", start={appended[0].position.stream: 0})

    assert await again.fetch(limit=100, wait=0.1) == []
    await log.drop_consumer("c")
    await log.drop_consumer("c")
    assert len(await (await log.consumer("c")).fetch(limit=100, wait=5)) == 10
