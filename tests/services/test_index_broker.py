"""A projection over a broker or a store that goes away: what was fetched before is dealt with once both are back, and not sent twice.

A newcomer would get wrong: the time to ack is long here, as in a real instance, so a delivery that is lost shows as a projection that stays
behind. Outages that the broker has nothing to do with: ``test_index``.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

import pytest
from tests.support.broker import SMALL, own_bus, watched_server
from tests.support.engines import IMPATIENT, QUICK, SCOPE, event
from tests.support.faulty import Faulty
from tests.support.keys import MemoryKeys, vault_over
from tests.support.waiting import until

from kalends.adapters.nats import LocalServer, NatsBus
from kalends.domain.errors import NotFound, Unavailable
from kalends.domain.queries import Entry, Tombstone
from kalends.index import consumers
from kalends.index.consumers import Projector
from kalends.kit.traffic import Traffic
from kalends.ports.log import ConsumerState, Draft
from kalends.wire import envelopes
from kalends.wire.reader import Reader
from kalends.wire.vault import key_reference

COUNT = 3
"""In batches of one: one is written, one waits, and one waits for room to wait."""


class Store:
    """A sink that remembers what it holds."""

    def __init__(self) -> None:
        self.held: set[str] = set()

    async def put(self, entries: Sequence[Entry], tombstones: Sequence[Tombstone]) -> None:
        self.held |= {entry.key for entry in entries}

    async def probe(self) -> None:
        return


@dataclass(frozen=True, kw_only=True)
class Work:
    """A projector at work on a log; ``store`` and ``consumer`` can be told to be away."""

    server: LocalServer
    bus: NatsBus
    consumer: Faulty
    store: Faulty
    projector: Projector
    held: set[str]
    release: Callable[[], None]
    """Lets the first event be written."""
    end: Callable[[], Awaitable[None]]
    """Ends the projector, as a process that is told to end does."""

    async def delivered(self) -> int:
        """How many deliveries the broker has made, repetitions included."""
        return int((await self.bus.connection.jetstream().consumer_info("EVENTS_0", "c")).delivered.consumer_seq)

    async def all_fetched(self) -> bool:
        """Whether everything is under way."""
        return self.store.waiting["put"] == 1 and await self.delivered() == COUNT

    async def done(self) -> bool:
        """Whether everything is written and acked."""
        try:
            states = await self.consumer.states()
        except Unavailable:
            return False
        return states == [ConsumerState(stream="EVENTS_0", floor=COUNT, pending=0, in_flight=0)]


@pytest.fixture
async def work(tmp_path, request: pytest.FixtureRequest) -> AsyncIterator[Work]:
    """The first event is about to be written, and waits for its store; the others are fetched."""
    keys, store = MemoryKeys(), Store()
    async with watched_server(tmp_path) as server, own_bus(server, getattr(request, "param", SMALL)) as bus:
        await bus.log.append(await drafts(keys))
        consumer, faulty = Faulty(await bus.log.consumer("c"), dependency="nats"), Faulty(store, dependency="lexical")
        reader = Reader(vault_over(keys))
        projector = a_projector(consumer, faulty, reader)
        running = asyncio.create_task(projector.run())

        async def end() -> None:
            running.cancel()
            await asyncio.wait([running])

        release = faulty.hold("put").set
        made = Work(server=server, bus=bus, consumer=consumer, store=faulty, projector=projector, held=store.held, release=release, end=end)
        await until(made.all_fetched)
        faulty.let_pass()
        yield made
        await end()


def a_projector(consumer: Faulty, store: Faulty, reader: Reader) -> Projector:
    """One that writes events singly."""
    return Projector(
        projection="lexical",
        consumer=consumer,
        sink=store,
        reader=reader,
        batch=1,
        settings=QUICK,
        moved=lambda: None,
        traffic=Traffic(),
    )


async def drafts(keys: MemoryKeys) -> list[Draft]:
    """As many events as there are to be written, sealed."""
    reference = key_reference(SCOPE, "s")
    box = (await vault_over(keys).boxes_for_writing(SCOPE, [reference]))[reference]
    found = []
    for number in range(COUNT):
        said, stamp = event(number), envelopes.Stamp(writer="w", number=number + 1, acked_up_to=number)
        mac = envelopes.content_mac(said, box)
        body = envelopes.seal_event(said, scope=SCOPE, key_reference=reference, box=box, mac=mac, stamp=stamp)
        found.append(Draft(scope=SCOPE, message_id=str(number), body=body))
    return found


@pytest.mark.parametrize("work", [IMPATIENT], indirect=True, ids=["a short time to ack"])
async def test_what_takes_longer_than_the_time_to_ack_is_not_sent_twice(work: Work) -> None:
    """A slow store or model would get ever more to do, and whatever waits behind it would be done by others too."""
    other = await work.bus.log.consumer("c")

    assert await other.fetch(limit=COUNT, wait=4 * IMPATIENT.ack_wait) == []
    assert await work.delivered() == COUNT
    await other.pause()
    work.release()
    await until(work.done)
    assert await work.delivered() == COUNT


async def test_what_was_fetched_before_the_broker_went_away_is_not_sent_twice(work: Work) -> None:
    """Nobody can hand it back, so it is kept, and written when the broker answers again."""
    work.consumer.leave("fetch", "states")
    work.store.leave("put")
    work.release()
    await until(lambda: work.projector.failure is not None)
    work.store.come_back()
    work.consumer.come_back()

    await until(work.done)

    assert len(work.held) == COUNT
    assert await work.delivered() == COUNT


async def test_a_fetch_that_fails_does_not_cut_off_what_is_being_written(work: Work) -> None:
    """The batches before it are written and acked first."""
    work.consumer.leave("fetch")
    work.release()

    await until(work.done)

    assert len(work.held) == COUNT
    assert await work.delivered() == COUNT


@pytest.mark.parametrize("work", [IMPATIENT], indirect=True, ids=["a short time to ack"])
async def test_what_was_fetched_stays_in_hand_while_the_store_is_away(work: Work) -> None:
    """Handed back, or left to the time to ack, it would come nearer to being given up with every outage."""
    other = await work.bus.log.consumer("c")
    work.store.leave()
    work.release()

    assert await other.fetch(limit=COUNT, wait=4 * IMPATIENT.ack_wait) == []
    await other.pause()
    assert work.store.refused["probe"] >= 2
    work.store.come_back()
    await until(work.done)

    assert len(work.held) == COUNT
    assert await work.delivered() == COUNT


async def test_what_a_store_that_can_be_asked_does_not_take_is_never_given_up(work: Work) -> None:
    """A full disk or a lost majority refuses writes and answers questions; the broker would give up what it delivers eight times."""
    work.store.leave("put")
    work.release()
    await until(lambda: work.projector.failing_since is not None)
    since = work.projector.failing_since
    await until(lambda: work.store.refused["put"] >= 20)
    assert work.projector.failing_since == since
    work.store.come_back()

    await until(work.done)

    assert len(work.held) == COUNT
    assert await work.delivered() == COUNT
    assert await work.bus.dead_letters.count() == 0
    await until(lambda: work.projector.failure is work.projector.failing_since is None)


@pytest.mark.parametrize(("few", "deliveries"), [(1, 2 * COUNT), (0, COUNT)], ids=["seldom delivered", "often delivered"])
async def test_after_long_without_a_store_what_was_fetched_is_handed_back(
    work: Work, monkeypatch: pytest.MonkeyPatch, few: int, deliveries: int
) -> None:
    """It may be that only this process cannot reach it; but not what the broker would soon give up."""
    monkeypatch.setattr(consumers, "_LONG_S", 0.0)
    monkeypatch.setattr(consumers, "_FEW", few)
    work.store.leave()
    work.release()
    await until(lambda: work.store.refused["probe"] >= 2)
    work.store.come_back()

    await until(work.done)

    assert len(work.held) == COUNT
    assert await work.delivered() == deliveries


async def test_an_index_that_is_gone_is_no_fault_of_what_was_to_be_written(work: Work) -> None:
    """Nothing is given up; the projection says that its own store is away, which is what healing goes by."""
    work.store.leave(error=NotFound("no such index"))
    work.release()
    await until(lambda: work.store.refused["probe"] >= 1)
    assert work.projector.failure is not None
    assert (work.projector.failure.code, work.projector.failure.dependency) == ("unavailable", "lexical")
    work.store.come_back()

    await until(work.done)

    assert len(work.held) == COUNT
    assert await work.bus.dead_letters.count() == 0


async def test_a_projector_that_ends_hands_back_what_it_had_begun_too(work: Work) -> None:
    """So another goes on with it at once, and not after the time to ack."""
    await work.end()
    other = a_projector(work.consumer, work.store, work.projector._reader)
    running = asyncio.create_task(other.run())

    await until(work.done)
    running.cancel()
    await asyncio.wait([running])

    assert len(work.held) == COUNT
    assert await work.delivered() == 2 * COUNT


async def test_a_killed_broker_does_not_hold_up_a_projection(work: Work) -> None:
    """Whatever the broker remembers of its deliveries, nothing waits for the time to ack."""
    pid = work.server.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    work.release()

    await until(work.done)

    assert len(work.held) == COUNT
