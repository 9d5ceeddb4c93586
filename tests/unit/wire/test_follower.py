"""The timeline's follower: it applies the log in order, once, and goes on after every failure."""

import asyncio
from contextlib import asynccontextmanager

from tests.support.edge import FixedClock
from tests.support.keys import MemoryKeys, vault_over
from tests.support.waiting import until
from tests.unit.wire.test_envelopes import EVENT, RETRACTION
from tests.unit.wire.test_reader import body_of, message

from kalends.domain.errors import Unavailable
from kalends.kit.traffic import Traffic
from kalends.ports.timeline import Retracted, TimelineEntry
from kalends.wire.follower import TimelineFollower
from kalends.wire.reader import Reader


class Stream:
    """A log of one stream that grows; ``failures`` are raised one by one before it goes on."""

    def __init__(self) -> None:
        self.messages = []
        self.erased_behind: int | None = None
        """Of what comes after this sequence nothing is left."""
        self.failures: list[Exception] = []
        self.asked_after: list[int] = []

    def add(self, body: bytes) -> None:
        self.messages.append(message(body, len(self.messages) + 1))

    async def heads(self):
        return {"EVENTS_0": len(self.messages)}

    async def has_none(self, *, after, upto):
        return not self.messages[after.get("EVENTS_0", 0) : min(upto["EVENTS_0"], self.left)]

    @property
    def left(self) -> int:
        """The last sequence that still has a message."""
        return len(self.messages) if self.erased_behind is None else self.erased_behind

    async def follow(self, *, after, limit):
        at = after.get("EVENTS_0", 0)
        self.asked_after.append(at)
        while True:
            if self.failures:
                raise self.failures.pop(0)
            taken = self.messages[at : min(at + limit, self.left)]
            at += len(taken)
            yield taken
            await asyncio.sleep(0)


class Rows:
    """A timeline that keeps what it was given."""

    def __init__(self) -> None:
        self.changes = []
        self.floor: dict[str, int] = {}

    async def floors(self):
        return dict(self.floor)

    async def put(self, changes, *, floors):
        self.changes += changes
        self.floor = dict(floors)


@asynccontextmanager
async def following(stream: Stream, rows: Rows, keys: MemoryKeys, clock: FixedClock, *, batch: int = 10):
    """A follower that runs for as long as the block does."""
    moves = []
    follower = TimelineFollower(
        source=stream,
        timeline=rows,
        reader=Reader(vault_over(keys)),
        clock=clock,
        batch=batch,
        moved=lambda: moves.append(1),
        traffic=Traffic(),
    )
    task = asyncio.create_task(follower.run())
    try:
        yield follower, moves
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_events_and_retractions_are_applied_in_order_and_what_is_unreadable_is_passed_over():
    """A damaged message must not stop those behind it."""
    keys, stream, rows = MemoryKeys(), Stream(), Rows()
    for body in (await body_of(keys, EVENT), b"garbage", await body_of(keys, RETRACTION)):
        stream.add(body)

    async with following(stream, rows, keys, FixedClock()) as (_, moves):
        await until(lambda: rows.floor == {"EVENTS_0": 3})

        assert [type(change) for change in rows.changes] == [TimelineEntry, Retracted]
        assert moves


async def test_it_starts_where_the_timeline_is():
    """Nothing is applied twice, and nothing is left out."""
    keys, stream, rows = MemoryKeys(), Stream(), Rows()
    for _ in range(4):
        stream.add(await body_of(keys, EVENT))
    rows.floor = {"EVENTS_0": 3}

    async with following(stream, rows, keys, FixedClock()):
        await until(lambda: rows.floor == {"EVENTS_0": 4})

    assert stream.asked_after == [3]
    assert len(rows.changes) == 1


async def test_after_a_failure_it_goes_on_from_the_stored_floor():
    """And says meanwhile what is wrong."""
    keys, stream, rows = MemoryKeys(), Stream(), Rows()
    stream.failures = [Unavailable("the log is away")]
    stream.add(await body_of(keys, EVENT))

    async with following(stream, rows, keys, FixedClock()) as (follower, _):
        await until(lambda: follower.failure is not None)
        assert follower.failure == "the log is away"
        await until(lambda: rows.floor == {"EVENTS_0": 1})
        await until(lambda: follower.failure is None)

    assert stream.asked_after[-1] == 0


async def test_what_was_erased_at_the_end_is_not_waited_for():
    """A new timeline would never have caught up: ingest would refuse every write, and an erasure would never be over."""
    keys, stream, rows, clock = MemoryKeys(), Stream(), Rows(), FixedClock()
    for _ in range(4):
        stream.add(await body_of(keys, EVENT))
    stream.erased_behind = 2

    async with following(stream, rows, keys, clock) as (follower, moves):
        await until(lambda: follower.behind_s == 0.0)

    assert rows.floor == {"EVENTS_0": 4}
    assert len(rows.changes) == 2
    assert len(moves) == 2


async def test_it_is_infinitely_behind_until_it_has_caught_up_once():
    """Ingest must not trust a lookup before that."""
    keys, stream, rows, clock = MemoryKeys(), Stream(), Rows(), FixedClock()
    stream.failures = [Unavailable("away")]

    async with following(stream, rows, keys, clock) as (follower, _):
        assert follower.behind_s == float("inf")
        await until(lambda: follower.behind_s == 0.0)


async def test_while_it_does_not_follow_it_falls_behind():
    """By the clock."""
    keys, stream, rows, clock = MemoryKeys(), Stream(), Rows(), FixedClock()
    async with following(stream, rows, keys, clock) as (follower, _):
        await until(lambda: follower.behind_s == 0.0)

    clock.advance(seconds=50)

    assert follower.behind_s == 50.0


async def test_a_timeline_is_new_until_it_has_caught_up():
    """Nobody is told what it does not know yet."""
    keys, stream, rows = MemoryKeys(), Stream(), Rows()
    stream.failures = [Unavailable("away")] * 2
    stream.add(await body_of(keys, EVENT))

    async with following(stream, rows, keys, FixedClock()) as (follower, _):
        await until(lambda: follower.failure is not None)
        assert follower.is_new
        async with asyncio.timeout(20):
            await follower.known()

        assert not follower.is_new
        assert rows.floor == {"EVENTS_0": 1}


async def test_one_that_has_some_and_cannot_be_followed_tells_what_it_has():
    """A full disk must not keep from being read what was written before."""
    keys, stream, rows = MemoryKeys(), Stream(), Rows()
    for _ in range(2):
        stream.add(await body_of(keys, EVENT))
    rows.floor = {"EVENTS_0": 1}
    stream.failures = [Unavailable("full")] * 1000

    async with following(stream, rows, keys, FixedClock()) as (follower, _):
        async with asyncio.timeout(20):
            await follower.known()

        assert not follower.is_new
        assert follower.failure == "full"
