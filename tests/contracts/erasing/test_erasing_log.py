"""The suite of the ports ``log`` and ``keys``, what they do about erased messages, on the real broker and on a cluster of three.

Belongs here: erasing, and that nobody who reads stalls at the holes that it leaves. Does not belong here: the cluster's own logs
(``cluster/test_nats_erasing``). A newcomer would get wrong: bodies are stored as they are, so a scan of the files finds a canary if it is
there; each scan first finds what it will look for.
"""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest
from tests.contracts.drafts import SCOPE, bodies, draft, drafts, everything
from tests.support.broker import ALONE, SMALL, another_bus, fresh_bus, own_bus
from tests.support.files import files_with
from tests.support.waiting import until

from kalends.adapters.nats import LocalServer, NatsBus
from kalends.adapters.nats.log import NatsLog
from kalends.domain.positions import Position
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.ports.log import Appended, Delivery

pytestmark = pytest.mark.usefixtures("broker")

OTHER = Scope(Tenant("umbrella"), MemoryName("notes"))
BRIEF = replace(SMALL, redelivery=(1.0, 1.0), ack_wait=1.0)


async def written(log: NatsLog, prefix: str, count: int) -> list[Position]:
    """The places of so many new messages."""
    return [one.position for one in await log.append(drafts(prefix, count))]


async def test_what_is_erased_is_gone_and_the_rest_stays(log: NatsLog) -> None:
    """Counted once; what is gone already is no error, and more are erased than are under way at once."""
    positions = await written(log, "a", 100)
    gone = positions[10:90]

    assert await log.erase([*gone, *gone]) == 80
    assert await log.erase(positions[80:95]) == 5

    left = [position for position in positions if position not in positions[10:95]]
    assert await log.read(positions[10:95]) == [None] * 85
    assert bodies(await log.read(left)) == [f"a-{number}" for number in (*range(10), *range(95, 100))]
    assert await log.erase([]) == 0


async def test_places_that_are_not_of_this_log_are_passed_over(log: NatsLog) -> None:
    """Of another epoch, of a stream that is not there, behind the end, and none at all."""
    [position] = await written(log, "a", 1)
    strange = [replace_epoch(position), Position("EVENTS_99", 1), Position(position.stream, 10_000), Position(position.stream, 0)]

    assert await log.erase(strange) == 0

    assert bodies(await log.read([position])) == ["a-0"]


def replace_epoch(position: Position) -> Position:
    """The same sequence of a stream of the same name that another log has."""
    return position._replace(epoch=position.epoch + 1)


async def test_an_erasure_goes_on_where_another_stopped(log: NatsLog, bus: NatsBus) -> None:
    """Two at once and one after the other erase the same, and each message is counted by one of them."""
    positions = await written(log, "a", 60)
    async with another_bus() as second:
        counts = await asyncio.gather(log.erase(positions), second.log.erase(positions))

    assert sum(counts) >= 60
    assert await log.read(positions) == [None] * 60


async def past(log: NatsLog, scope: Scope, *, after: Mapping[str, int] | None = None, upto: Mapping[str, int] | None = None) -> list[str]:
    """What ``history`` says of a memory, up to the end if nothing else is said."""
    ends = await log.heads() if upto is None else upto
    async with asyncio.timeout(30), aclosing(log.history(scope, after=after or {}, upto=ends, limit=7)) as batches:
        return [body async for messages in batches for body in bodies(messages)]


async def test_the_past_of_a_memory_is_its_own_from_one_place_to_another(log: NatsLog) -> None:
    """Among many messages of others, in order; it ends where it was told to, and there is no more to wait for at the log's end."""
    mine = [one.position for batch in range(5) for one in await interleaved(log, batch)]
    said = [f"mine-{batch}-{number}" for batch in range(5) for number in range(4)]

    assert await past(log, SCOPE) == said
    [stream] = {position.stream for position in mine}
    assert await past(log, SCOPE, after={stream: mine[2].sequence}, upto={stream: mine[11].sequence}) == said[3:12]
    assert await past(log, Scope(Tenant("acme"), MemoryName("nobody"))) == []
    assert await past(log, SCOPE, upto={}) == []


async def interleaved(log: NatsLog, batch: int) -> Sequence[Appended]:
    """Four messages of a memory between some of another."""
    await log.append(drafts(f"others-{batch}", 9, scope=OTHER))
    found = await log.append(drafts(f"mine-{batch}", 4))
    await log.append(drafts(f"more-{batch}", 9, scope=OTHER))
    return found


async def test_the_past_ends_before_what_was_erased_at_its_end(log: NatsLog) -> None:
    """Nobody waits for messages that are gone, be it some of them or all."""
    positions = await written(log, "a", 20)
    await log.append(drafts("others", 3, scope=OTHER))
    await log.erase(positions[15:])

    assert await past(log, SCOPE) == [f"a-{number}" for number in range(15)]
    await log.erase(positions[:15])
    assert await past(log, SCOPE) == []


async def test_the_past_of_a_memory_that_moved_is_in_both_streams(log: NatsLog, bus: NatsBus) -> None:
    """What it said before, and then what it said in its new place."""
    scopes = [Scope(Tenant("acme"), MemoryName(f"m{number}")) for number in range(16)]
    for scope in scopes:
        await log.append(drafts("before", 3, scope=scope))
    async with another_bus(replace(SMALL, partitions=4)) as wider:
        await until(lambda: _wide(wider), deadline=30)
        for scope in scopes:
            await wider.log.append(drafts("after", 2, scope=scope))

        told = [await past(wider.log, scope) for scope in scopes]

    assert told == [["before-0", "before-1", "before-2", "after-0", "after-1"]] * len(scopes)


async def _wide(bus: NatsBus) -> bool:
    return len(await bus.log.heads()) == 4


async def test_following_goes_over_holes(log: NatsLog) -> None:
    """In the middle, at the place to begin behind, at the end; what comes later comes."""
    positions = await written(log, "a", 30)
    await log.erase([*positions[5:20], *positions[27:]])
    left = [f"a-{number}" for number in (*range(5), *range(20, 27))]

    async def gone() -> bool:
        return bodies(await everything(log, count=len(left))) == left

    # a replica that is a moment behind its leader may still give what was taken out
    await until(gone, deadline=10)
    inside = {positions[0].stream: positions[10].sequence}
    assert bodies(await everything(log, count=7, after=inside)) == left[5:]
    assert (await log.heads())[positions[0].stream] == positions[-1].sequence
    later = await written(log, "b", 2)
    assert [one.position for one in await everything(log, count=2, after={positions[0].stream: positions[-1].sequence})] == later


async def test_whether_anything_is_left_up_to_a_place_is_told(log: NatsLog) -> None:
    """A stream's head counts what was erased at its end, of which nothing will ever come."""
    positions = await written(log, "a", 10)
    stream, heads = positions[0].stream, await log.heads()
    assert not await log.has_none(after={}, upto=heads)
    await log.erase(positions[6:])

    assert await log.has_none(after={stream: positions[5].sequence}, upto=heads)
    assert not await log.has_none(after={stream: positions[4].sequence}, upto=heads)
    assert not await log.has_none(after={}, upto=heads)
    await written(log, "b", 1)
    assert await log.has_none(after={stream: positions[5].sequence}, upto=heads)
    assert not await log.has_none(after={stream: positions[5].sequence}, upto=await log.heads())


async def test_a_reader_that_is_at_it_goes_over_what_is_erased_under_it(log: NatsLog) -> None:
    """It waits at the end while everything it has handed out, and what it has not, is erased."""
    positions = await written(log, "a", 20)
    reader = log.follow(after={}, limit=5)
    assert bodies(await anext(reader)) == [f"a-{number}" for number in range(5)]

    await log.erase(positions[2:])
    await written(log, "b", 1)

    seen: list[str | None] = []
    async with asyncio.timeout(30):
        while "b-0" not in seen:
            seen += bodies(await anext(reader))
    await reader.aclose()


async def test_a_consumer_is_not_held_up_by_erased_messages(log: NatsLog) -> None:
    """Neither those that it has not been given nor the last ones: it gets the others, and its floor is the end of the stream.

    A replica that has not yet heard of the erasure may give some of the erased ones, too.
    """
    positions = await written(log, "a", 50)
    consumer = await log.consumer("c")
    await log.erase([*positions[10:30], *positions[45:]])
    wanted = {f"a-{number}" for number in (*range(10), *range(30, 45))}

    given: list[str | None] = []
    async with asyncio.timeout(30):
        while not wanted <= set(given):
            deliveries = await consumer.fetch(limit=50, wait=5)
            given += bodies(one.message for one in deliveries)
            await consumer.ack_all(deliveries)

    assert len(given) == len(set(given))
    await until(lambda: at_the_end(consumer, positions[-1]))


async def test_what_is_erased_while_it_is_worked_on_holds_nothing_up() -> None:
    """Acked afterwards or never: the floor comes to the end of the stream."""
    async with fresh_bus(BRIEF) as bus:
        positions = await written(bus.log, "a", 20)
        consumer = await bus.log.consumer("c")
        deliveries: list[Delivery] = []
        async with asyncio.timeout(30):
            while len(deliveries) < 20:
                deliveries += await consumer.fetch(limit=20 - len(deliveries), wait=5)
        await bus.log.erase(positions[5:])

        await consumer.ack_all(deliveries[:10])

        async def settled() -> bool:
            again = await consumer.fetch(limit=5, wait=0.2)
            await consumer.ack_all(again)
            return await at_the_end(consumer, positions[-1])

        await until(settled, deadline=60)


async def at_the_end(consumer: object, last: Position) -> bool:
    """Whether the consumer has nothing left, and its floor is at the end."""
    [state] = await consumer.states()  # type: ignore[attr-defined]  # a consumer of the log
    return (state.floor, state.pending, state.in_flight) == (last.sequence, 0, 0)


async def test_a_log_whose_last_messages_were_erased_can_be_widened() -> None:
    """The memories that move are read in order over the hole, and copies in both streams are erased by their places."""
    async with fresh_bus(replace(SMALL, partitions=1)) as bus:
        scopes = [Scope(Tenant("acme"), MemoryName(f"m{number}")) for number in range(8)]
        first = [one.position for one in await bus.log.append([draft(f"a-{n}", scope=scope) for n, scope in enumerate(scopes)])]
        await bus.log.erase(first[5:])
    async with another_bus(replace(SMALL, partitions=2)) as bus:
        second = [one.position for one in await bus.log.append([draft(f"b-{n}", scope=scope) for n, scope in enumerate(scopes)])]
        assert len({position.stream for position in second}) == 2
        found = bodies(await everything(bus.log, count=13))
        assert sorted(str(one) for one in found) == sorted([f"a-{n}" for n in range(5)] + [f"b-{n}" for n in range(8)])

        assert await bus.log.erase([*first, *second[:4]]) == 9

        assert await bus.log.read([*first, *second[:4]]) == [None] * 12
        assert bodies(await bus.log.read(second[4:])) == [f"b-{n}" for n in range(4, 8)]


@ALONE
async def test_no_byte_of_an_erased_message_is_left_in_the_files(tmp_path: Path) -> None:
    """Not of its body, its headers or its id; not while the broker runs, and not after it has stopped."""
    gone, kept = secrets.token_hex(16), secrets.token_hex(16)
    async with LocalServer(tmp_path) as server, own_bus(server) as bus:
        first = [draft(f"n{number}", body=secrets.token_bytes(400)) for number in range(50)]
        said = [replace(draft(f"id-{name}", body=name.encode()), headers={"traceparent": f"h-{name}"}) for name in (gone, kept)]
        positions = [one.position for one in await bus.log.append([*first, *said, *drafts("z", 50)])]
        assert files_with(tmp_path, gone.encode())

        await bus.log.erase([positions[50]])

        assert files_with(tmp_path, gone.encode()) == []
        assert files_with(tmp_path, kept.encode())

    assert files_with(tmp_path, gone.encode()) == []
    assert files_with(tmp_path, kept.encode())


async def test_every_key_of_a_scope_can_be_destroyed(bus: NatsBus) -> None:
    """Those of another scope stay; nothing to destroy is nothing, and so is washing what has no replicas."""
    mine, theirs = ({secrets.token_hex(16): secrets.token_bytes(40) for _ in range(count)} for count in (70, 3))
    await bus.keys.create(SCOPE, mine)
    await bus.keys.create(OTHER, theirs)

    assert await bus.keys.destroy_all(SCOPE) == 70
    assert await bus.keys.destroy_all(SCOPE) == 0

    assert await bus.keys.get(SCOPE, list(mine)) == {}
    assert await bus.keys.get(OTHER, list(theirs)) == theirs


@ALONE
async def test_washing_without_replicas_is_nothing(bus: NatsBus) -> None:
    """There is no other log than the stream."""
    positions = await written(bus.log, "a", 2)
    await bus.log.wash({position.stream for position in positions})
    await bus.keys.wash()

    assert bodies(await bus.log.read(positions)) == ["a-0", "a-1"]
