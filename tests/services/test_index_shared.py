"""Projections of several processes over one store: who switches, who notices, and what becomes of an index that the store loses.

Belongs here: two processes as two objects over a real log. Does not belong here: real stores and real processes (``tests/cluster``), or
which generation serves (``unit/wire/test_generations``). A newcomer would get wrong: what one part of a process has noticed, another part
may not know yet, though both ask the same object.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import msgspec
import pytest
from tests.support.engines import QUICK, Ledger, event, ledger
from tests.support.faulty import Faulty
from tests.support.generation_stores import MemoryGenerationStore
from tests.support.waiting import until

from kalends.domain.errors import NotFound
from kalends.domain.queries import Entry, Tombstone
from kalends.index import rebuilds, usecases
from kalends.index.rebuilds import Rebuilds
from kalends.index.usecases import Projection
from kalends.kit.traffic import Traffic
from kalends.wire.generations import CurrentGeneration, SharedGenerations
from kalends.wire.leases import Lease
from kalends.wire.operations import OperationStore


@dataclass
class Shelf:
    """What writes into one generation; an index that does not exist takes nothing."""

    name: str
    store: MemoryGenerationStore
    held: dict[str, set[str]]

    async def put(self, entries: Sequence[Entry], tombstones: Sequence[Tombstone]) -> None:
        if self.name not in self.store.made:
            raise NotFound("no such index")
        self.held.setdefault(self.name, set()).update(entry.key for entry in entries)

    async def probe(self) -> None:
        await self.put([], [])


@dataclass
class World:
    """One log and one store; ``held`` is what was written, by generation."""

    books: Ledger
    store: MemoryGenerationStore = field(default_factory=MemoryGenerationStore)
    held: dict[str, set[str]] = field(default_factory=dict)
    workers: int = 1

    async def consumers(self) -> list[str]:
        """Those of the projection; whoever follows the log has one too, for as long as it does."""
        return [name for name in await self.books.bus.log.consumers() if name.startswith("lexical-")]

    def process(self) -> Projection:
        """The projection as one process has it."""
        current = CurrentGeneration(self.books.bus.records, projection="lexical")
        return Projection(
            name="lexical",
            log=self.books.bus.log,
            generations=SharedGenerations(self.store, current, dependency="lexical"),
            sink_of=lambda index: Shelf(str(index).removeprefix("index of "), self.store, self.held),
            index_of=self.store.index,
            reader=self.books.reader,
            batch=10,
            settings=msgspec.structs.replace(QUICK, rebuild_workers=self.workers),
            moved=lambda: None,
            traffic=Traffic(),
            shared=True,
        )

    def rebuilds(self, projection: Projection, holder: str) -> Rebuilds:
        """Its rebuilds."""
        clock, records = self.books.clock, self.books.bus.records
        lease = Lease(records, name="reindex", holder=holder, lease_s=2.0, clock=clock)
        return Rebuilds(
            projections={"lexical": projection}, store=OperationStore(records=records, clock=clock), lease=lease, clock=clock, place=""
        )


@pytest.fixture
async def world(tmp_path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """Some events, and processes that look often."""
    monkeypatch.setattr(usecases, "_REFRESH_S", 0.05)
    monkeypatch.setattr(rebuilds, "_LOOK_S", 0.05)
    async with ledger(tmp_path) as books:
        await books.record(*(event(number, minute=number) for number in range(20)))
        yield World(books)


@asynccontextmanager
async def at_work(*loops) -> AsyncIterator[None]:
    """The loops run for as long as the block does; none of them ends by itself."""
    running = [asyncio.create_task(loop.run()) for loop in loops]
    try:
        yield
        assert not any(one.done() for one in running)
    finally:
        for one in running:
            one.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def test_a_switch_moves_the_feed_of_every_process_whoever_noticed_it_first(world: World) -> None:
    """A question for floors may have, a moment before; then what is written goes where it serves all the same."""
    here, there = world.process(), world.process()
    async with at_work(here, there):
        await until(lambda: len(world.held.get(there.generation, ())) == 20)
        # whatever looks first, from now on nothing that is asked anew is news to it
        refresh = there._generations.refresh
        asking = asyncio.create_task(_again_and_again(refresh))
        await here.rebuild("g2", report=lambda _done, _total: None)
        await until(lambda: there._fed == "g2")
        asking.cancel()
        await world.books.record(event("late", minute=99))

        await until(lambda: len(world.held["g2"]) == 21)
    assert await world.consumers() == ["lexical-g2"]


async def _again_and_again(ask) -> None:
    while True:
        await ask()


async def test_an_index_that_is_lost_while_nobody_writes_is_noticed_and_built_anew_once(world: World) -> None:
    """By every process, and the rebuild is asked for by one."""
    pair = [world.process() for _ in range(2)]
    both = [world.rebuilds(one, holder) for one, holder in zip(pair, "ab", strict=True)]
    async with at_work(*pair):
        await until(lambda: all(one.generation for one in pair) and len(world.held.get(pair[0].generation, ())) == 20)
        lost = pair[0].generation
        world.store.lose()
        await until(lambda: all(one.failure is not None and one.failure.dependency == "lexical" for one in pair))

        await asyncio.gather(*(asker.heal(one) for asker, one in zip(both, pair, strict=True)))
        asked = [one for one in await both[0].all() if not one.has_ended]
        assert len(asked) == 1
        async with at_work(*both):
            await until(lambda: all(one.failure is None for one in pair))

        assert {one.generation for one in pair} == {rebuilds.generation_of(asked[0])} != {lost}
        assert not any([await one.is_lost() for one in pair])
    assert len(world.held[pair[0].generation]) == 20
    assert await world.consumers() == [f"lexical-{pair[0].generation}"]


async def test_helpers_outlive_a_generation_that_is_dropped_under_several_of_their_writers(world: World) -> None:
    """Each of them fails, and the process goes on; no consumer is left behind."""
    world = replace(world, workers=3)
    here, there = world.process(), world.process()
    leads, helps = world.rebuilds(here, "a"), world.rebuilds(there, "b")
    reader = Faulty(world.books.reader, dependency="log")
    gate = reader.hold("open", after=0)
    async with at_work(here, there):
        await until(lambda: len(world.held.get(there.generation, ())) == 20)
        for one in (here, there):
            one._reader = reader  # type: ignore[assignment]
        async with at_work(leads):
            asked = await leads.ask("lexical")
            await until(lambda: reader.waiting["open"] >= 1)
            async with at_work(helps):
                await until(lambda: bool(helps._runner.underway))
                await leads.cancel(asked.operation_id)
                reader.let_pass()
                gate.set()

                await until(lambda: len(world.store.made) == 1)
                await until(lambda: not helps._runner.underway)

    async def only_the_serving_one() -> bool:
        return await world.consumers() == [f"lexical-{here.generation}"]

    await until(only_the_serving_one)
