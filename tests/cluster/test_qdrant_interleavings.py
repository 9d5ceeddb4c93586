"""Writers of several versions of one event, over Qdrant's wire, step by step in every order that hypothesis thinks of.

Belongs here: the argument of docs/decisions/0016 as a test. Does not belong here: faults of the network. A newcomer would get wrong: a step
is one call to the server; between any two of one writer's calls another writer may do all of its own, or die, and a reader may ask.
"""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contracts.projections import DIMENSION, SCOPE, direction, entry, key_of, tombstone, vectors, window
from tests.support.qdrant_wire.running import shared_server
from tests.support.waiting import until

from kalends.adapters.qdrant import points
from kalends.adapters.qdrant.collections import Collections
from kalends.adapters.qdrant.connection import Connection, connect
from kalends.adapters.qdrant.vectors import QdrantVectors
from kalends.domain.queries import Criteria, Held

pytestmark = pytest.mark.cluster

T = TypeVar("T")
EVENT = "a"
WINDOWS = {1: 3, 2: 1, 3: 4, 4: 0, 5: 2}
"""Windows of each version; none: it is a tombstone."""


class Stepped(Connection):
    """A connection that waits before each call until it is let go."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection.client, settings=connection.settings)
        self.waiting = False
        self._turn = asyncio.Semaphore(0)

    async def read(self, call: Awaitable[T]) -> T:
        return await self._stepped(call)

    async def write(self, call: Awaitable[T]) -> T:
        return await self._stepped(call)

    def go(self) -> None:
        """Let one call go."""
        self.waiting = False
        self._turn.release()

    async def _stepped(self, call: Awaitable[T]) -> T:
        pending = asyncio.ensure_future(_deferred(call, self._turn))
        self.waiting = True
        return await pending


async def _deferred(call: Awaitable[T], turn: asyncio.Semaphore) -> T:
    try:
        await turn.acquire()
    except asyncio.CancelledError:
        # it was never sent; closed, so that nobody warns of a coroutine that was not awaited
        if asyncio.iscoroutine(call):
            call.close()
        raise
    return await call


@dataclass(frozen=True, kw_only=True)
class Writer:
    """One writer of one version, and the steps that it still has."""

    version: int
    connection: Stepped
    task: "asyncio.Task[None]" = field(compare=False)

    async def step(self) -> None:
        """Let it make one call, and wait until it wants the next or is done."""
        if self.task.done():
            return
        self.connection.go()
        await until(lambda: self.task.done() or self.connection.waiting)

    async def die(self) -> None:
        """End it before its next call."""
        self.task.cancel()
        await asyncio.wait([self.task])


def index_over(connection: Connection) -> QdrantVectors:
    """An index of the generation g1."""
    collections = Collections(connection, identity="test", dimension=DIMENSION)
    return QdrantVectors(connection, collections, base=collections.name("g1"), dimension=DIMENSION, dedicated=lambda _: False)


async def put(index: QdrantVectors, version: int) -> None:
    """Write one version of the event."""
    if WINDOWS[version]:
        windows = [window(f"v{version}w{number}") for number in range(WINDOWS[version])]
        await index.put([vectors(entry(EVENT, version=version), *windows)])
    else:
        await index.put([], [tombstone(EVENT, version=version)])


async def begin(connection: Connection, version: int) -> Writer:
    """A writer that waits before its first call."""
    stepped = Stepped(connection)
    writer = Writer(version=version, connection=stepped, task=asyncio.create_task(put(index_over(stepped), version)))
    await until(lambda: writer.task.done() or stepped.waiting)
    return writer


async def check(index: QdrantVectors) -> int:
    """The version that answers, having seen that all of it answers and nothing else."""
    held = await index.held(SCOPE.key, [key_of(EVENT)])
    version = held[0].version if held else 0
    for other, count in WINDOWS.items():
        for number in range(count):
            asked = direction(f"v{other}w{number}")
            scores = [hit.score for hit in await index.nearest(SCOPE, asked, criteria=Criteria(), limit=3)]
            late = await index.late(SCOPE, asked[None, :], [key_of(EVENT)])
            best = (
                [max(float(asked @ direction(f"v{version}w{n}")) for n in range(WINDOWS.get(version, 0)))] if WINDOWS.get(version) else []
            )
            assert scores == [pytest.approx(score, abs=2e-3) for score in best]
            assert list(late.values()) == [pytest.approx(score, abs=2e-3) for score in best]
    return version


async def left_over(connection: Connection) -> set[int]:
    """The versions of which any point is there, whether it counts or not."""
    collections = Collections(connection, identity="test", dimension=DIMENSION)
    records, _ = await connection.client.scroll(collections.name("g1"), limit=1000, with_payload=points.GUARD_FIELDS)
    return {record.payload["version"] for record in records}


async def interleaved(versions: list[int], moves: list[tuple[int, bool]]) -> None:
    """Begin a writer of each version, make the *moves* (which one, and whether it dies), let the rest run, and redeliver what died."""
    connection = connect(shared_server().settings(write_deadline_s=60.0, deadline_s=60.0))
    collections = Collections(connection, identity="test", dimension=DIMENSION)
    await collections.make(collections.name("g1"))
    reader = index_over(connection)
    writers = [await begin(connection, version) for version in versions]
    seen = 0
    for chosen, dies in moves:
        writer = writers[chosen % len(writers)]
        await (writer.die() if dies else writer.step())
        answered = await check(reader)
        assert answered >= seen
        seen = answered
    for writer in writers:
        while not writer.task.done():
            await writer.step()
        if writer.task.cancelled():
            await put(reader, writer.version)

    newest = max(versions)
    assert await check(reader) == newest
    assert await reader.held(SCOPE.key, [key_of(EVENT)]) == [Held(key=key_of(EVENT), version=newest, live=bool(WINDOWS[newest]))]
    assert await left_over(connection) == {newest}
    assert await reader.remove(SCOPE.key, await reader.held(SCOPE.key, [key_of(EVENT)])) == 1
    assert await left_over(connection) == set()
    await collections.delete(collections.name("g1"))
    await connection.close()


MOVES = st.lists(st.tuples(st.integers(0, 3), st.sampled_from([False] * 9 + [True])), max_size=24)


@settings(max_examples=15)
@given(versions=st.lists(st.sampled_from(sorted(WINDOWS)), min_size=2, max_size=4), moves=MOVES)
def test_whatever_the_order_one_version_answers_and_the_newest_stays(versions: list[int], moves: list[tuple[int, bool]]) -> None:
    """At every moment the answer is all of one version, it never goes back, and in the end no point of another is left."""
    asyncio.run(interleaved(versions, moves))


def test_an_older_writer_that_goes_on_after_a_newer_one_leaves_nothing() -> None:
    """Its windows come after the newer one has deleted what was older; it deletes them itself."""
    asyncio.run(interleaved([3, 5], [(1, False)] * 8 + [(0, False)] * 8))


def test_an_older_writer_that_dies_after_a_newer_one_is_not_heard() -> None:
    """Its windows lie there until it is delivered again, and no read counts them."""
    asyncio.run(interleaved([3, 5], [(1, False)] * 8 + [(0, False), (0, True)]))


def test_a_version_that_was_overtaken_between_two_calls_leaves_nothing() -> None:
    """The older one had said that it is done before the newer one looked."""
    asyncio.run(interleaved([1, 4], [(1, False), (0, False), (0, False), (0, False), (0, False), (1, False), (1, False)]))
