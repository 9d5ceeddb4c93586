"""The log while it is being widened: what is asked of the port ``log`` holds throughout."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from functools import partial

import pytest
from tests.contracts import conftest as contracts
from tests.contracts.drafts import bodies, drafts, everything
from tests.support.broker import SMALL, another_bus, fresh_bus
from tests.support.waiting import until

from kalends.adapters.nats import NatsBus
from kalends.domain.errors import NotFound
from kalends.domain.positions import Position, covers
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.kit import failpoints
from kalends.ports.log import Consumer, Delivery, Message

broker = contracts.broker
pytestmark = pytest.mark.usefixtures("broker")

QUICK = replace(SMALL, events_bytes=16 << 20, look_every=0.1, mend_after=0.2, widening_lease=2.0, idle=0.2)
SCOPES = tuple(Scope(Tenant("acme"), MemoryName(f"m{number}")) for number in range(64))
WRITERS = 8


async def widen(partitions: int) -> None:
    """What a process with another setting does: it starts, and sees to it that there are as many streams."""
    async with another_bus(replace(QUICK, partitions=partitions)) as bus:
        await until(lambda: _streams(bus, least=partitions))


class Load:
    """Writers that append to many memories until told to stop, and what was acknowledged to them."""

    def __init__(self, bus: NatsBus) -> None:
        self._bus = bus
        self.acked: dict[Scope, dict[str, Position]] = {scope: {} for scope in SCOPES}
        self.duplicates = 0
        self.stop = asyncio.Event()

    @property
    def count(self) -> int:
        """How many messages were acknowledged."""
        return sum(map(len, self.acked.values()))

    async def more(self, count: int) -> None:
        """Return once so many more were."""
        enough = self.count + count
        await until(lambda: self.count >= enough, deadline=60)

    async def write(self, number: int) -> None:
        """One writer; it has the memories of its number to itself."""
        turn = 0
        while not self.stop.is_set():
            scope = SCOPES[number::WRITERS][turn % (len(SCOPES) // WRITERS)]
            batch = drafts(f"{scope.memory}-{turn}", 1 + turn % 23, scope=scope)
            appended = await self._bus.log.append(batch)
            self.acked[scope] |= {one.message_id: place.position for one, place in zip(batch, appended, strict=True)}
            self.duplicates += sum(one.duplicate for one in appended)
            turn += 1

    def check_versions(self) -> None:
        """Of each memory, what was written later has the greater version."""
        for written in self.acked.values():
            versions = [position.version for position in written.values()]
            assert versions == sorted(set(versions))

    @property
    def positions(self) -> dict[str, Position]:
        """Every message's place, by what its body says."""
        return {name: position for written in self.acked.values() for name, position in written.items()}


class Readers:
    """Two readers of one durable consumer, and what each message says that was delivered."""

    def __init__(self) -> None:
        self.seen: dict[str, set[Position]] = {}

    async def read(self, consumer: Consumer) -> None:
        """One reader, until cancelled."""
        while True:
            deliveries: Sequence[Delivery] = await consumer.fetch(limit=200, wait=0.3)
            for delivery in deliveries:
                self.seen.setdefault(delivery.message.body.decode(), set()).add(delivery.message.position)
            await consumer.ack_all(deliveries)


async def follow(bus: NatsBus, found: list[Message]) -> None:
    """Everything of the log, until cancelled."""
    async for batch in bus.log.follow(after={}, limit=500):
        found.extend(batch)


@contextlib.asynccontextmanager
async def under_load(bus: NatsBus) -> AsyncIterator[tuple[Load, list[Message], dict[str, Readers]]]:
    """Eight writers, a follower, and two durable consumers with two readers each in processes of their own; all that was acked is read."""
    load, found, consumers = Load(bus), list[Message](), {"one": Readers(), "two": Readers()}
    async with another_bus(QUICK) as elsewhere, asyncio.TaskGroup() as reading:
        tasks = [reading.create_task(follow(elsewhere, found))]
        for name, readers in consumers.items():
            there = [await one.log.consumer(name) for one in (bus, elsewhere)]
            tasks += [reading.create_task(readers.read(consumer)) for consumer in there]
        async with asyncio.TaskGroup() as writing:
            for number in range(WRITERS):
                writing.create_task(load.write(number))
            await load.more(500)
            yield load, found, consumers
            await load.more(500)
            load.stop.set()
        await until(lambda: len(found) >= load.count and all(len(one.seen) >= load.count for one in consumers.values()), deadline=60)
        for name in consumers:
            opened = await elsewhere.log.consumer(name)
            await until(partial(_is_through, opened), deadline=60)
            floors = {state.stream: state.floor for state in await opened.states()}
            assert covers(floors, await bus.log.heads())
        for task in tasks:
            task.cancel()


async def _is_through(consumer: Consumer) -> bool:
    return all((state.pending, state.in_flight) == (0, 0) for state in await consumer.states())


@pytest.mark.parametrize("widths", [(8,), (3, 8)])
async def test_nothing_is_lost_or_doubled_when_the_log_is_widened_under_load(widths: tuple[int, ...]) -> None:
    """Writers, followers and consumers with the old number go on; each message is in the log once, and each memory in its order."""
    async with fresh_bus(QUICK) as bus:
        async with under_load(bus) as (load, found, consumers):
            for width in widths:
                await widen(width)
                await load.more(500)

        positions = load.positions
        assert len({position.stream for position in positions.values()}) == 8
        assert load.duplicates == 0
        load.check_versions()
        assert {message.body.decode(): message.position for message in found} == positions
        assert len(found) == len(positions)
        for readers in consumers.values():
            assert readers.seen == {name: {position} for name, position in positions.items()}
        stored = await bus.log.read(list(positions.values()))
        assert bodies(stored) == list(positions)
        assert sum((await bus.log.heads()).values()) == len(positions)


async def test_a_follower_gets_each_memory_in_its_order() -> None:
    """Also one that begins when all is over: what a memory has in the old stream comes before what it has in the new one."""
    async with fresh_bus(QUICK) as bus:
        async with under_load(bus) as (load, found, _):
            await widen(8)
        anew = await everything(bus.log, count=load.count)

        for messages in (found, anew):
            order = {message.body.decode(): place for place, message in enumerate(messages)}
            for written in load.acked.values():
                places = [order[name] for name in written]
                assert places == sorted(places)


async def test_followers_and_consumers_find_new_streams_where_nothing_is_written() -> None:
    """By looking, without a restart; and what they do not know they do not claim to have."""
    async with fresh_bus(QUICK) as bus, another_bus(replace(QUICK, look_every=30)) as blind:
        await bus.log.append([one for scope in SCOPES for one in drafts("a", 2, scope=scope)])
        consumer, blind_consumer = await bus.log.consumer("c"), await blind.log.consumer("c")
        await widen(4)
        await until(lambda: _streams(bus, least=4))
        async with another_bus(QUICK) as writer:
            appended = await writer.log.append([one for scope in SCOPES for one in drafts("b", 2, scope=scope)])
        wanted: dict[str, int] = {}
        for one in appended:
            wanted[one.position.stream] = max(one.position.sequence, wanted.get(one.position.stream, 0))

        seen = 0
        async with asyncio.timeout(20):
            while seen < 4 * len(SCOPES):
                deliveries = await consumer.fetch(limit=50, wait=1)
                seen += len(deliveries)
                await consumer.ack_all(deliveries)

        assert covers({state.stream: state.floor for state in await consumer.states()}, wanted)
        assert not covers({state.stream: state.floor for state in await blind_consumer.states()}, wanted)
        assert bodies(await blind.log.read([appended[0].position, appended[-1].position])) == ["b-0", "b-1"]
        assert len(await everything(bus.log, count=4 * len(SCOPES))) == 4 * len(SCOPES)


async def _streams(bus: NatsBus, *, least: int) -> bool:
    return len(await bus.log.heads()) >= least


async def test_a_long_backlog_of_one_stream_is_not_handed_out_in_crumbs() -> None:
    """After a widening most of what waits is in the old stream; the others do not keep their share of each batch for nothing."""
    async with fresh_bus(replace(QUICK, partitions=4)) as bus:
        await bus.log.append(drafts("a", 200, scope=SCOPES[0]))
        consumer, sizes = await bus.log.consumer("c"), list[int]()
        async with asyncio.timeout(20):
            while sum(sizes) < 200:
                deliveries = await consumer.fetch(limit=40, wait=1)
                assert len(deliveries) <= 40
                sizes.append(len(deliveries))
                await consumer.ack_all(deliveries)

        assert max(sizes) > 40 // 4


async def test_a_dropped_consumer_does_not_come_back_on_new_streams() -> None:
    """Whoever still holds it is told that it is gone."""
    async with fresh_bus(QUICK) as bus, another_bus(QUICK) as other:
        held = await other.log.consumer("c")
        await bus.log.consumer("c")
        await bus.log.drop_consumer("c")
        await widen(4)
        await until(lambda: _streams(other, least=4))

        with pytest.raises(NotFound):
            await held.states()
        assert await other.log.consumers() == []


async def test_a_consumer_is_dropped_from_streams_that_are_not_known_yet() -> None:
    """Or it would hold a place there for ever."""
    async with fresh_bus(QUICK) as bus, another_bus(replace(QUICK, look_every=30)) as blind:
        await blind.log.consumer("c")
        await widen(4)
        await bus.log.consumer("c")
        await until(lambda: _streams(bus, least=4))
        await (await bus.log.consumer("c")).states()

        await blind.log.drop_consumer("c")

        assert await bus.log.consumers() == []


@pytest.mark.parametrize("place", ["log.before-giving", "log.before-receiving"])
async def test_a_widening_that_died_halfway_is_finished_by_whoever_runs(place: str) -> None:
    """Slots without a stream get one, and who writes to them only waits."""
    async with fresh_bus(QUICK) as bus:
        await bus.log.append([one for scope in SCOPES for one in drafts("a", 1, scope=scope)])
        failpoints.arm({place: "error@2"})
        with pytest.raises(failpoints.FailpointError):
            await widen(4)

        appended = await bus.log.append([one for scope in SCOPES for one in drafts("b", 1, scope=scope)])

        assert not any(one.duplicate for one in appended)
        found = await everything(bus.log, count=2 * len(SCOPES))
        assert Counter(message.body for message in found) == {b"a-0": len(SCOPES), b"b-0": len(SCOPES)}
        await widen(4)
        again = await bus.log.append([one for scope in SCOPES for one in drafts("c", 1, scope=scope)])
        assert len({one.position.stream for one in again}) == 4
        for first, second in zip(appended, again, strict=True):
            assert second.position.version > first.position.version


async def test_processes_that_widen_at_once_agree() -> None:
    """Whatever each of them was told: all slots have a stream, and nobody is in the way of the writers."""
    async with fresh_bus(QUICK) as bus:
        async with under_load(bus) as (load, found, _), asyncio.TaskGroup() as group:
            for partitions in (8, 3, 8, 5, 2, 8):
                group.create_task(widen(partitions))

        load.check_versions()
        assert len(await bus.log.heads()) == 8
        assert {message.body.decode(): message.position for message in found} == load.positions
        assert len(found) == load.count


@pytest.mark.parametrize("count", [1, 30])
@pytest.mark.parametrize(("place", "is_stored"), [("log.before-answer", True), ("log.before-commit", False)])
async def test_what_may_have_been_stored_before_its_memory_moved_is_stored_once(*, place: str, is_stored: bool, count: int) -> None:
    """Nobody heard the answer, the memory moved, and the new stream remembers no ids of the old one: so the old one is asked."""
    moving = next(scope for scope in SCOPES if scope.slot >= 128)
    async with fresh_bus(replace(QUICK, look_every=30, attempt_timeout=1.0)) as bus:
        [first] = await bus.log.append(drafts("first", 1, scope=moving))
        failpoints.arm({place: "stall"})
        async with another_bus(QUICK) as other, asyncio.TaskGroup() as group:
            appending = group.create_task(bus.log.append(drafts("a", count, scope=moving)))
            if is_stored:
                await until(lambda: _holds(other, first.position.stream, count + 1))
            await widen(2)

        appended = appending.result()
        assert {one.position.stream == first.position.stream for one in appended} == {is_stored}
        assert not any(one.duplicate for one in appended)
        assert bodies(await bus.log.read([one.position for one in appended])) == [f"a-{number}" for number in range(count)]
        assert len(await everything(bus.log, count=count + 1)) == sum((await bus.log.heads()).values()) == count + 1
        [after] = await bus.log.append(drafts("after", 1, scope=moving))
        assert after.position.stream != first.position.stream


async def _holds(bus: NatsBus, stream: str, count: int) -> bool:
    return (await bus.log.heads())[stream] == count


async def test_a_call_that_is_larger_than_a_batch_keeps_its_order_when_its_memory_moves() -> None:
    """What comes behind a batch that found no stream is not sent before it."""
    moving = next(scope for scope in SCOPES if scope.slot >= 128)
    async with fresh_bus(replace(QUICK, look_every=30, batch_max=10, append_timeout=60)) as bus:
        [first] = await bus.log.append(drafts("first", 1, scope=moving))
        async with asyncio.TaskGroup() as group:
            appending = group.create_task(bus.log.append(drafts("a", 3000, scope=moving)))
            await widen(2)

        appended = appending.result()
        assert len({one.position.stream for one in [first, *appended]}) == 2
        versions = [one.position.version for one in appended]
        assert versions == sorted(set(versions))
        assert bodies(await bus.log.read([one.position for one in appended])) == [f"a-{number}" for number in range(3000)]
        assert not any(one.duplicate for one in appended)


async def test_the_broker_is_asked_for_what_a_process_does_not_know() -> None:
    """A batch for a memory that moved is taken by the new stream, and its outcome names that stream and its epoch."""
    async with fresh_bus(replace(QUICK, look_every=30)) as bus:
        before = [(await bus.log.append(drafts("a", 1, scope=scope)))[0].position for scope in SCOPES]
        await widen(8)

        after = [(await bus.log.append(drafts("b", 1, scope=scope)))[0].position for scope in SCOPES]

        assert all(new.version > old.version for old, new in zip(before, after, strict=True))
        assert {position.epoch > 0 for position in after if position.stream != "EVENTS_0"} == {True}
        assert bodies(await bus.log.read([*before, *after])) == ["a-0"] * len(SCOPES) + ["b-0"] * len(SCOPES)
