"""Durable consumers that pause while a cluster of three sends to them.

Belongs here: what only several nodes can do to somebody who stops to listen. Does not belong here: pausing on one node
(``tests/services/test_log_pausing``). A newcomer would get wrong: the node that sends is not the one that was told that nobody listens any
more, and what it sends in between is known to it as under way until the time to ack is over.
"""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from tests.cluster.load import OPTIONS, bus_of
from tests.contracts.drafts import drafts
from tests.support.nats_cluster import NatsCluster
from tests.support.waiting import until

from kalends.adapters.nats import NatsBus
from kalends.ports.log import Consumer

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

PATIENT = replace(OPTIONS, ack_wait=120.0, redelivery=(120.0, 120.0, 120.0))
ROUNDS = 150
SOON_S = 45.0
"""Far below the time to ack, far above anything that a loaded machine does to a single answer."""


async def test_nothing_that_was_sent_to_one_that_pauses_waits_for_its_time_to_ack(cluster: NatsCluster) -> None:
    """One consumer on each node pauses again and again while events come in; in the end another soon has all of them."""
    async with AsyncExitStack() as stack:
        buses = [await stack.enter_async_context(bus_of(cluster, PATIENT, url=node.url)) for node in cluster.nodes]
        consumers = [await bus.log.consumer("c") for bus in buses]
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(written(buses[0], stop))
            for consumer in consumers:
                await paused_again_and_again(consumer)
            stop.set()
        last = consumers[0]

        async def all_done() -> bool:
            await last.ack_all(await last.fetch(limit=1000, wait=0.5))
            states = await last.states()
            return all(state.pending == 0 and state.in_flight == 0 for state in states)

        await until(all_done, deadline=SOON_S)


async def written(bus: NatsBus, stop: asyncio.Event) -> None:
    """Small batches, as quickly as they are acked."""
    turn = 0
    while not stop.is_set():
        await bus.log.append(drafts(f"turn-{turn}", 5))
        turn += 1


async def paused_again_and_again(consumer: Consumer) -> None:
    """Fetch, write half of it off, hand the rest back, and stop to listen while a fetch is under way."""
    for _ in range(ROUNDS):
        fetched = await consumer.fetch(limit=10, wait=5.0)
        await consumer.ack_all(fetched[::2])
        for delivery in fetched[1::2]:
            await delivery.retry(after=0.0)
        fetching = asyncio.create_task(consumer.fetch(limit=10, wait=0.5))
        await asyncio.wait([fetching], timeout=0.01)
        fetching.cancel()
        await asyncio.wait([fetching])
        if not fetching.cancelled():
            await consumer.ack_all(fetching.result())
        await consumer.pause()
