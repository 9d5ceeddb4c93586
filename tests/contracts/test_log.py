"""The suite of the port ``log``, on the real broker and on a cluster of three."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from tests.contracts.drafts import SCOPE, bodies, draft, drafts, everything
from tests.support.broker import ALONE, SMALL, another_bus, fresh_bus, own_bus, shared_broker, watched_server
from tests.support.proxy import Relay, relay
from tests.support.waiting import until

from kalends.adapters.nats import NatsBus
from kalends.adapters.nats.log import NatsLog
from kalends.domain.errors import DeadlineExceeded, Invalid, Throttled, TooLarge, Unavailable
from kalends.domain.positions import Position
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.ports.log import Appended, Draft, Message

pytestmark = pytest.mark.usefixtures("broker")

OTHER = Scope(Tenant("umbrella"), MemoryName("notes"))


async def test_what_was_appended_is_read_back_as_it_was(log: NatsLog) -> None:
    """Body and headers survive, and the broker's own headers are not among them."""
    [appended] = await log.append([draft("one", body=b"\x00\xff\r\n body")])

    [message] = await log.read([appended.position])

    assert message is not None
    assert message.body == b"\x00\xff\r\n body"
    assert message.headers == {"traceparent": "00-one"}
    assert message.position == appended.position
    assert message.recorded_us > 1_600_000_000_000_000


async def test_the_drafts_of_a_call_are_stored_in_their_order(log: NatsLog) -> None:
    """Positions come back in the order of the drafts, and each points at its own draft, also over several batches."""
    appended = await log.append(drafts("a", 1200))

    sequences = [one.position.sequence for one in appended]
    assert sequences == sorted(set(sequences))
    assert bodies(await log.read([one.position for one in appended])) == [f"a-{number}" for number in range(1200)]


async def test_nothing_to_append_is_nothing(log: NatsLog) -> None:
    """No drafts, no outcomes."""
    assert await log.append([]) == []


async def test_a_repetition_in_a_later_call_is_a_duplicate_of_the_first(log: NatsLog) -> None:
    """Its outcome says where the first one is."""
    [first] = await log.append([draft("one")])

    [second] = await log.append([draft("one")])

    assert (first.duplicate, second.duplicate) == (False, True)
    assert second.position == first.position


async def test_a_repetition_within_one_call_is_a_duplicate(log: NatsLog) -> None:
    """Only the first of the two is stored."""
    appended = await log.append([draft("one"), draft("two"), draft("one")])

    assert [one.duplicate for one in appended] == [False, False, True]
    assert appended[2].position == appended[0].position
    assert sum((await log.heads()).values()) == 2


async def test_the_same_id_in_two_scopes_is_two_messages(log: NatsLog) -> None:
    """One tenant's id never hides another tenant's message."""
    mine, theirs = await log.append([draft("one", scope=SCOPE), draft("one", scope=OTHER)])

    assert not mine.duplicate
    assert not theirs.duplicate


async def test_a_duplicate_does_not_fail_its_neighbours(log: NatsLog) -> None:
    """The broker refuses the batch, and every draft still gets the outcome that is its own."""
    await log.append([draft("a-3"), draft("a-7")])

    appended = await log.append(drafts("a", 10))

    assert [number for number, one in enumerate(appended) if one.duplicate] == [3, 7]
    assert bodies(await log.read([one.position for one in appended])) == [f"a-{number}" for number in range(10)]
    fresh = [one.position.sequence for one in appended if not one.duplicate]
    assert fresh == sorted(fresh)


async def test_concurrent_callers_with_the_same_id_make_one_message(log: NatsLog) -> None:
    """Exactly one of them is the first."""
    outcomes = await asyncio.gather(*(log.append([draft("one")]) for _ in range(20)))

    flat = [outcome for [outcome] in outcomes]
    assert sum(not outcome.duplicate for outcome in flat) == 1
    assert len({outcome.position for outcome in flat}) == 1


async def test_eight_writers_keep_their_own_order(log: NatsLog) -> None:
    """However commits are shared, each scope's messages are in the order in which its calls were made."""
    scopes = [Scope(Tenant("acme"), MemoryName(f"m{number}")) for number in range(8)]

    async def write(scope: Scope) -> list[Position]:
        found: list[Position] = []
        for turn in range(12):
            found += [one.position for one in await log.append(drafts(f"{scope.memory}-{turn}", 17, scope=scope))]
        return found

    written = await asyncio.gather(*(write(scope) for scope in scopes))

    flat = [position for positions in written for position in positions]
    assert len(set(flat)) == 8 * 12 * 17
    for scope, positions in zip(scopes, written, strict=True):
        assert positions == sorted(positions)
        expected = [f"{scope.memory}-{turn}-{number}" for turn in range(12) for number in range(17)]
        assert bodies(await log.read(positions)) == expected


async def test_a_full_log_throttles_and_keeps_what_it_has() -> None:
    """The caller is told to come back; nothing old is dropped to make room."""
    async with fresh_bus(replace(SMALL, events_bytes=100_000)) as bus:
        [first] = await bus.log.append([draft("first")])

        async def fill() -> None:
            for number in range(100):
                await bus.log.append([draft(f"big-{number}", body=b"x" * 20_000), draft(f"small-{number}")])

        with pytest.raises(Throttled) as caught:
            await fill()

        assert caught.value.retry_after is not None
        assert bodies(await bus.log.read([first.position])) == ["first"]


async def test_too_many_waiting_messages_throttle() -> None:
    """Memory is bounded: beyond the limit callers are sent away instead of queued."""
    async with fresh_bus(replace(SMALL, waiting_max=50)) as bus:
        await bus.log.append(drafts("first", 1))  # from here on it is known where the memory is, so that all of them wait at once
        outcomes = await asyncio.gather(*(bus.log.append(drafts(f"c{n}", 20)) for n in range(8)), return_exceptions=True)

        assert any(isinstance(outcome, Throttled) for outcome in outcomes)
        assert all(isinstance(outcome, Throttled | list) for outcome in outcomes)


async def test_what_cannot_be_sent_is_refused_before_anything_is_stored(log: NatsLog) -> None:
    """An id or a header that would break the protocol, or a body that the broker would hang up on, never leaves the process."""
    with pytest.raises(Invalid):
        await log.append([draft("good"), Draft(scope=SCOPE, message_id="a\r\nb", body=b"")])
    with pytest.raises(Invalid):
        await log.append([Draft(scope=SCOPE, message_id="a", body=b"", headers={"x": "1\r\nNats-Msg-Id: b"})])
    with pytest.raises(Invalid):
        await log.append([Draft(scope=SCOPE, message_id="a", body=b"", headers={"Nats-Batch-Commit": "1"})])
    with pytest.raises(TooLarge):
        await log.append([draft("big", body=b"x" * (9 << 20))])

    assert sum((await log.heads()).values()) == 0


async def test_a_missing_message_is_none(log: NatsLog) -> None:
    """Beyond the end, before the start, or in a stream that nobody has."""
    [appended] = await log.append([draft("one")])
    stream = appended.position.stream

    found = await log.read([Position(stream, 999), appended.position, Position(stream, 0), Position("EVENTS_77", 1), appended.position])

    assert bodies(found) == [None, "one", None, None, "one"]


async def test_heads_know_at_once_what_was_appended_here(log: NatsLog) -> None:
    """A cached answer never lags behind an append that this process has seen acknowledged."""
    for number in range(5):
        [appended] = await log.append([draft(f"n-{number}")])
        assert (await log.heads())[appended.position.stream] == appended.position.sequence


async def test_follow_yields_everything_after_the_given_place_and_then_what_comes(log: NatsLog) -> None:
    """The reader catches up and then waits for more."""
    appended = await log.append(drafts("old", 250))
    after = {appended[0].position.stream: appended[99].position.sequence}
    reading = asyncio.create_task(everything(log, count=160, after=after))
    await log.append(drafts("new", 10))

    found = await reading

    assert bodies(found) == [f"old-{number}" for number in range(100, 250)] + [f"new-{number}" for number in range(10)]
    assert [message.position for message in found[:150]] == [one.position for one in appended[100:]]
    assert found[0].headers == {"traceparent": "00-old-100"}


async def test_follow_yields_an_empty_batch_when_there_is_nothing() -> None:
    """The caller can look up now and then."""
    async with fresh_bus(replace(SMALL, idle=0.1)) as bus:
        reader = bus.log.follow(after={}, limit=10)
        async with asyncio.timeout(10):
            assert await anext(reader) == []
            assert await anext(reader) == []
            await bus.log.append([draft("one")])
            while not (batch := await anext(reader)):
                pass
        await reader.aclose()

        assert bodies(batch) == ["one"]


async def test_partitions_share_the_memories_and_are_read_together() -> None:
    """With more streams, each memory is in one of them, and following and consuming sees all."""
    scopes = [Scope(Tenant("acme"), MemoryName(f"m{number}")) for number in range(20)]
    async with fresh_bus(replace(SMALL, partitions=4, events_bytes=16 << 20)) as bus:
        appended = [(await bus.log.append(drafts(scope.memory, 5, scope=scope))) for scope in scopes]

        assert all(len({one.position.stream for one in some}) == 1 for some in appended)
        assert len({one.position.stream for some in appended for one in some}) == 4
        assert len(await everything(bus.log, count=100)) == 100
        consumer = await bus.log.consumer("all")
        seen: set[Position] = set()
        async with asyncio.timeout(20):
            while len(seen) < 100:
                deliveries = await consumer.fetch(limit=30, wait=1)
                assert len(deliveries) <= 30
                seen |= {delivery.message.position for delivery in deliveries}
                await consumer.ack_all(deliveries)
        assert all((state.pending, state.in_flight) == (0, 0) for state in await consumer.states())


async def test_bytes_stored_grow_with_the_log(log: NatsLog) -> None:
    """The size is that of the streams, not of the disk."""
    before = await log.bytes_stored()
    await log.append([draft("big", body=b"x" * 10_000)])

    assert await log.bytes_stored() >= before + 10_000


@ALONE
async def test_a_broker_killed_amid_appends_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """Writers whose commit was cut off repeat it with the same ids; every message is in the log once, where its outcome says."""
    options = replace(SMALL, append_timeout=30, attempt_timeout=2)
    async with watched_server(tmp_path) as server, own_bus(server, options) as bus:
        stop = asyncio.Event()
        written: dict[str, Appended] = {}

        async def write(name: str) -> None:
            turn = 0
            while not stop.is_set():
                batch = drafts(f"{name}-{turn}", 1 + turn % 40)
                outcomes = await bus.log.append(batch)
                written.update({one.message_id: outcome for one, outcome in zip(batch, outcomes, strict=True)})
                turn += 1

        async def kill() -> None:
            for _ in range(4):
                enough = len(written) + 500
                await until(partial(lambda enough: len(written) >= enough, enough))
                pid = server.pid
                assert pid is not None
                os.kill(pid, signal.SIGKILL)
                await until(partial(lambda old: server.pid not in {old, None}, pid))
            stop.set()

        async with asyncio.timeout(60):
            await asyncio.gather(kill(), *(write(f"w{number}") for number in range(8)))
        found = await everything(bus.log, count=len(written))

        assert sorted(message.body.decode() for message in found) == sorted(written)
        assert not [name for name, outcome in written.items() if outcome.duplicate]
        assert {message.body.decode(): message.position for message in found} == {
            name: outcome.position for name, outcome in written.items()
        }


@ALONE
async def test_follow_and_consumers_go_on_after_a_restart_of_the_broker(tmp_path: Path) -> None:
    """Nothing is skipped and nothing comes twice to a follower; a consumer gets all that is new and comes to the end."""
    options = replace(SMALL, idle=0.2)
    async with watched_server(tmp_path) as server, own_bus(server, options) as bus:
        reader = bus.log.follow(after={}, limit=50)
        found: list[Message] = []

        async def read_until(count: int) -> None:
            async with asyncio.timeout(20):
                while len(found) < count:
                    found.extend(await anext(reader))

        await bus.log.append(drafts("before", 120))
        consumer = await bus.log.consumer("c")
        await consumer.ack_all(await consumer.fetch(limit=120, wait=5))
        await read_until(120)
        pid = server.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await bus.log.append(drafts("after", 80))
        await read_until(200)
        await reader.aclose()
        seen: set[str] = set()
        async with asyncio.timeout(20):
            while not seen.issuperset(f"after-{number}" for number in range(80)):
                deliveries = await consumer.fetch(limit=100, wait=5)
                seen.update(delivery.message.body.decode() for delivery in deliveries)
                await consumer.ack_all(deliveries)

        expected = [f"before-{number}" for number in range(120)] + [f"after-{number}" for number in range(80)]
        assert bodies(found) == expected
        # A killed broker may have forgotten the last acks; it never forgets the messages.
        assert seen <= set(expected)
        [state] = await consumer.states()
        assert (state.floor, state.pending, state.in_flight) == (200, 0, 0)
        assert bus.state.status == "up"


@ALONE
async def test_a_broker_that_stays_away_is_said_and_not_waited_for(tmp_path: Path) -> None:
    """Every operation ends within its deadline with an error that names the broker."""
    options = replace(SMALL, append_timeout=0.5, attempt_timeout=0.2, request_timeout=0.3)
    async with watched_server(tmp_path) as server, own_bus(server, options) as bus:
        [appended] = await bus.log.append([draft("one")])
        consumer = await bus.log.consumer("c")
        await server.stop()
        for operation in (
            bus.log.append([draft("two")]),
            bus.log.read([appended.position]),
            bus.log.bytes_stored(),
            bus.log.heads(whole=True),
            bus.log.consumers(),
            bus.log.drop_consumer("d"),
            consumer.fetch(limit=1, wait=0.2),
            consumer.states(),
            bus.records.get("kind", "owner", "name"),
            bus.keys.get(SCOPE, ["0" * 32]),
        ):
            with pytest.raises((Unavailable, DeadlineExceeded)) as caught:
                await operation
            assert caught.value.dependency == "nats"
        assert bus.state.status == "down"


async def test_a_cancelled_caller_does_not_hold_up_the_others(log: NatsLog) -> None:
    """Whoever goes away leaves the commit to those who stay."""
    leaving = asyncio.create_task(log.append(drafts("gone", 50)))
    staying = asyncio.create_task(log.append(drafts("here", 50)))
    asyncio.get_running_loop().call_soon(leaving.cancel)

    assert len(await staying) == 50
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert len(await log.append(drafts("gone", 50))) == 50


@pytest.mark.parametrize("count", [1, 30])
async def test_an_append_whose_answer_was_lost_is_no_duplicate_of_itself(count: int) -> None:
    """It was stored, nobody heard so, it was repeated; to the caller it is new, and it is in the log once."""
    async with relayed_bus() as (relay, bus):
        relay.lose(b'"count"')

        appended = await bus.log.append(drafts("a", count))

        assert relay.lost == 1
        assert not any(one.duplicate for one in appended)
        assert (await bus.log.heads()) == {"EVENTS_0": count}
        assert bodies(await bus.log.read([one.position for one in appended])) == [f"a-{number}" for number in range(count)]


async def test_an_older_message_stays_a_duplicate_when_an_answer_is_lost() -> None:
    """In a batch that was split and then repeated, only what an earlier call stored is a duplicate."""
    async with relayed_bus() as (relay, bus):
        await bus.log.append([draft("a-2")])
        relay.lose(b'"seq":2', b'"seq":3')

        appended = await bus.log.append(drafts("a", 6))

        assert relay.lost == 2
        assert [one.duplicate for one in appended] == [False, False, True, False, False, False]
        assert (await bus.log.heads()) == {"EVENTS_0": 6}


@asynccontextmanager
async def relayed_bus() -> AsyncIterator[tuple[Relay, NatsBus]]:
    """A bus that reaches the shared broker through a relay."""
    async with fresh_bus():
        pass
    async with relay(shared_broker().url.partition(",")[0]) as line, another_bus(url=line.url) as bus:
        yield line, bus
