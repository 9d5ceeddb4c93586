"""The suite of the port ``log``, for memories with a stream of their own beside those that share one; on one server and on a cluster."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from tests.contracts.drafts import SCOPE, bodies, draft, drafts, everything
from tests.support.broker import ALONE, SMALL, another_bus, fresh_bus, own_bus, watched_server
from tests.support.waiting import until

from kalends.adapters.nats import LocalServer, NatsBus
from kalends.adapters.nats.log import NatsLog
from kalends.domain.errors import Throttled, Unavailable
from kalends.domain.positions import stream_of_own
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.ports.log import Message
from kalends.wire.isolations import DEDICATED, Isolations

pytestmark = pytest.mark.usefixtures("broker")

OWN = Scope(Tenant("acme"), MemoryName("vault"))
STREAM = stream_of_own(OWN)


@pytest.fixture
async def log(bus: NatsBus) -> NatsLog:
    """Its log, with a dedicated memory."""
    await dedicate(bus)
    return bus.log


async def dedicate(bus: NatsBus, scope: Scope = OWN) -> None:
    """What creating a dedicated memory does before its record is written."""
    await Isolations(bus.records).claim(scope, DEDICATED)
    await bus.log.dedicate(scope)


async def subjects_of(bus: NatsBus, stream: str) -> dict[str, int]:
    """The subjects of what a stream holds, as the broker says."""
    info = await bus.connection.jetstream().stream_info(stream, subjects_filter=">")
    return dict(info.state.subjects or {})


async def test_a_dedicated_memory_is_alone_in_its_stream(log: NatsLog, bus: NatsBus) -> None:
    """And is in no other; what is appended in one call goes to each memory's own place, in order."""
    wanted = [*drafts("own", 3, scope=OWN), *drafts("shared", 3), draft("own-3", scope=OWN)]

    appended = await log.append(wanted)

    assert [one.position.stream for one in appended] == [STREAM] * 3 + ["EVENTS_0"] * 3 + [STREAM]
    assert [one.position.sequence for one in appended] == [1, 2, 3, 1, 2, 3, 4]
    assert await subjects_of(bus, STREAM) == {"ev.v1.s.acme.vault": 4}
    assert await subjects_of(bus, "EVENTS_0") == {f"ev.v1.u.{SCOPE.slot}.acme.notes": 3}
    assert bodies(await log.read([one.position for one in appended])) == [one.message_id for one in wanted]


async def test_who_is_dedicated_is_known_by_the_memorys_key(log: NatsLog) -> None:
    """Of no other memory it is said."""
    assert log.is_dedicated(OWN.key)
    assert not log.is_dedicated(SCOPE.key)


async def test_the_same_id_is_another_message_in_another_memory(log: NatsLog) -> None:
    """And a repetition in a dedicated memory is one, also for a process that came later."""
    own, shared = await log.append([draft("one", scope=OWN), draft("one")])
    async with another_bus() as elsewhere:
        again, shared_again = await elsewhere.log.append([draft("one", scope=OWN), draft("one")])

    assert (own.duplicate, shared.duplicate, again.duplicate, shared_again.duplicate) == (False, False, True, True)
    assert (again.position, shared_again.position) == (own.position, shared.position)


async def test_without_its_stream_nothing_is_stored_anywhere() -> None:
    """A dedicated memory's messages never go among those of others; once the stream is there, the same append goes through."""
    async with fresh_bus(replace(SMALL, append_timeout=1.0, attempt_timeout=0.5)) as bus:
        await Isolations(bus.records).claim(OWN, DEDICATED)

        with pytest.raises(Unavailable, match="not there"):
            await bus.log.append([draft("one", scope=OWN)])

        assert sum((await bus.log.heads()).values()) == 0
        await bus.log.dedicate(OWN)
        [appended] = await bus.log.append([draft("one", scope=OWN)])
        assert appended.position == (STREAM, 1, 0)


async def test_dedicating_again_changes_nothing(log: NatsLog) -> None:
    """Neither here nor from another process; what is there stays."""
    [appended] = await log.append([draft("one", scope=OWN)])

    async with another_bus() as elsewhere:
        await asyncio.gather(log.dedicate(OWN), elsewhere.log.dedicate(OWN))

    assert bodies(await log.read([appended.position])) == ["one"]
    assert (await log.heads())[STREAM] == 1


async def test_a_process_that_did_not_make_it_appends_to_it_at_once(bus: NatsBus) -> None:
    """It was there before the memory was, and has never looked since; it reads what it wrote, and what others wrote."""
    async with another_bus(replace(SMALL, look_every=3600.0)) as elsewhere:
        await dedicate(bus)

        [theirs] = await elsewhere.log.append([draft("theirs", scope=OWN)])
        [ours] = await bus.log.append([draft("ours", scope=OWN)])

        assert (theirs.position, ours.position) == ((STREAM, 1, 0), (STREAM, 2, 0))
        assert bodies(await elsewhere.log.read([theirs.position, ours.position])) == ["theirs", "ours"]
        assert (await elsewhere.log.heads())[STREAM] >= 1
        assert elsewhere.log.is_dedicated(OWN.key)


async def test_a_reader_that_follows_gets_what_a_new_memory_says(bus: NatsBus) -> None:
    """Though the memory was made by another process after it began."""
    found: list[Message] = []

    async def read() -> None:
        async for batch in bus.log.follow(after={}, limit=10):
            found.extend(batch)

    reading = asyncio.create_task(read())
    try:
        await bus.log.append([draft("shared")])
        await until(lambda: len(found) == 1)
        async with another_bus() as elsewhere:
            await dedicate(elsewhere)
            await elsewhere.log.append(drafts("own", 5, scope=OWN))
        await until(lambda: len(found) == 6)
    finally:
        reading.cancel()
        await asyncio.wait([reading])

    assert [one.position.sequence for one in found if one.position.stream == STREAM] == [1, 2, 3, 4, 5]


async def test_a_reader_goes_on_from_its_place_in_every_stream(log: NatsLog) -> None:
    """Places are per stream, also of a stream that one memory has alone."""
    await log.append([*drafts("own", 4, scope=OWN), *drafts("shared", 2)])

    messages = await everything(log, count=3, after={STREAM: 2, "EVENTS_0": 1})

    assert sorted(bodies(messages), key=str) == ["own-2", "own-3", "shared-1"]


async def test_a_durable_consumer_gets_what_a_new_memory_says(bus: NatsBus) -> None:
    """From its beginning; its state names the stream, and forgetting the consumer forgets it there too."""
    consumer = await bus.log.consumer("words")
    assert await consumer.fetch(limit=10, wait=0.1) == []
    await dedicate(bus)
    await bus.log.append([*drafts("own", 3, scope=OWN), draft("shared")])

    fetched: list[str | None] = []
    while len(fetched) < 4:
        some = await consumer.fetch(limit=10, wait=5)
        fetched += bodies([one.message for one in some])
        await consumer.ack_all(some)

    assert sorted(map(str, fetched)) == ["own-0", "own-1", "own-2", "shared"]
    assert {state.stream: state.floor for state in await consumer.states()} == {STREAM: 3, "EVENTS_0": 1}
    await bus.log.drop_consumer("words")
    assert await bus.connection.jetstream().consumers_info(STREAM) == []


async def test_a_consumer_that_waits_is_told_of_a_new_memory(bus: NatsBus) -> None:
    """It does not wait to its end first, which may be long."""
    consumer = await bus.log.consumer("words")
    waiting = asyncio.create_task(consumer.fetch(limit=10, wait=120))
    await bus.log.append([draft("shared")])
    await consumer.ack_all(await waiting)
    waiting = asyncio.create_task(consumer.fetch(limit=10, wait=120))
    await until(lambda: not waiting.done())
    await dedicate(bus)
    await bus.log.append([draft("own", scope=OWN)])

    async with asyncio.timeout(30):
        (delivery,) = await waiting

    assert delivery.message.position == (STREAM, 1, 0)


async def test_a_new_consumer_of_a_later_process_begins_where_it_is_told(log: NatsLog) -> None:
    """In the memory's own stream, too."""
    await log.append(drafts("own", 3, scope=OWN))

    async with another_bus() as elsewhere:
        consumer = await elsewhere.log.consumer("late", start={STREAM: 2})
        (delivery,) = await consumer.fetch(limit=10, wait=5)

    assert delivery.message.position == (STREAM, 3, 0)


async def test_what_is_erased_is_gone_and_the_stream_stays(log: NatsLog) -> None:
    """With its head: who has read so far has not read too far, and what comes next has a larger version."""
    appended = await log.append(drafts("own", 3, scope=OWN))

    assert await log.erase([one.position for one in appended]) == 3

    assert await log.read([one.position for one in appended]) == [None] * 3
    assert (await log.heads())[STREAM] == 3
    async with another_bus() as elsewhere:
        assert (await elsewhere.log.heads())[STREAM] == 3
        [next_one] = await elsewhere.log.append([draft("own-3", scope=OWN)])
    assert next_one.position.version > appended[-1].position.version


async def test_whole_heads_have_a_stream_that_another_process_has_just_made(bus: NatsBus) -> None:
    """Or a backup, an erasure or an export would pass by what was acknowledged in it; without that word it may be lacking."""
    async with another_bus(replace(SMALL, look_every=3600.0)) as elsewhere:
        await dedicate(bus)
        await bus.log.append(drafts("own", 3, scope=OWN))

        assert STREAM not in await elsewhere.log.heads()
        assert (await elsewhere.log.heads(whole=True))[STREAM] == 3
        await bus.log.append(drafts("more", 2, scope=OWN))
        await bus.log.append(drafts("shared", 2))
        found = await elsewhere.log.heads(whole=True)
        assert (found[STREAM], found["EVENTS_0"]) == (5, 2)


async def test_widening_leaves_a_dedicated_memory_where_it_is(log: NatsLog) -> None:
    """Slots move between the streams that memories share, and only those count as partitions."""
    [before] = await log.append([draft("own-0", scope=OWN)])

    async with another_bus(replace(SMALL, partitions=4)) as wider:
        after, shared = await wider.log.append([draft("own-1", scope=OWN), draft("shared")])

        assert set(await wider.log.heads()) == {STREAM, *(f"EVENTS_{number}" for number in range(4))}
        assert STREAM not in wider.log.left_behind
        assert (before.position.stream, after.position.stream) == (STREAM, STREAM)
        assert after.position.version > before.position.version
        assert shared.position.stream.startswith("EVENTS_")
        assert bodies(await everything(wider.log, count=3)).count("own-1") == 1


async def test_a_full_stream_of_one_memory_stops_no_other() -> None:
    """It throttles alone, and keeps what it has."""
    async with fresh_bus(replace(SMALL, dedicated_bytes=1 << 20)) as bus:
        await dedicate(bus)
        for number in range(15):
            await bus.log.append([draft(f"own-{number}", scope=OWN, body=b"x" * 65_536)])
        with pytest.raises(Throttled):
            await bus.log.append([draft(f"too-much-{number}", scope=OWN, body=b"x" * 65_536) for number in range(2)])

        [shared] = await bus.log.append([draft("shared")])

        assert shared.position == ("EVENTS_0", 1, 0)
        assert (await bus.log.heads())[STREAM] == 15


async def test_no_room_for_another_stream_is_said() -> None:
    """By the setting's meaning; nothing was made."""
    async with fresh_bus(replace(SMALL, dedicated_bytes=1 << 50)) as bus:
        with pytest.raises(Throttled, match="no room for another dedicated memory"):
            await bus.log.dedicate(OWN)

        assert set(await bus.log.heads()) == {"EVENTS_0"}


async def test_what_nothing_was_said_of_is_shared_from_then_on(bus: NatsBus) -> None:
    """A memory of an earlier version cannot become dedicated later, when half of it is elsewhere."""
    await bus.log.append([draft("one")])

    claim = await Isolations(bus.records).claim(SCOPE, DEDICATED)

    assert (claim.says, claim.ours) == ("shared", False)


@ALONE
async def test_a_restart_finds_dedicated_memories_again(tmp_path: Path) -> None:
    """Their stream, what is in it, and the settings of today."""
    async with watched_server(tmp_path) as server:
        async with own_bus(server) as bus:
            await dedicate(bus)
            [appended] = await bus.log.append([draft("one", scope=OWN)])
        async with own_bus(server, replace(SMALL, dedicated_bytes=64 << 20)) as bus:
            assert bus.log.is_dedicated(OWN.key)
            assert bodies(await bus.log.read([appended.position])) == ["one"]
            info = await bus.connection.jetstream().stream_info(STREAM)
            assert info.config.max_bytes == 64 << 20


@ALONE
async def test_a_broker_that_is_away_makes_no_memory(tmp_path: Path) -> None:
    """Whoever creates one is told so, and may try again."""
    async with LocalServer(tmp_path) as server, own_bus(server, replace(SMALL, request_timeout=1.0)) as bus:
        await server.stop()

        with pytest.raises(Unavailable):
            await bus.log.dedicate(OWN)


async def test_the_past_of_a_dedicated_memory_is_read_in_its_stream(log: NatsLog) -> None:
    """And that of another without it."""
    await log.append([*drafts("own", 3, scope=OWN), *drafts("shared", 2)])
    upto = await log.heads()

    async def past(scope: Scope) -> list[str]:
        return [body async for some in log.history(scope, after={}, upto=upto, limit=2) for body in bodies(some)]

    assert await past(OWN) == ["own-0", "own-1", "own-2"]
    assert await past(SCOPE) == ["shared-0", "shared-1"]
