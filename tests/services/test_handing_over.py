"""Handing over, on a real broker: who owns what at which moment, and the wrapping of keys."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.support.broker import fresh_bus
from tests.support.waiting import until

from kalends.adapters.embedded.clock import SystemClock
from kalends.adapters.embedded.kek import FileWrapper, add_successor
from kalends.adapters.nats import NatsBus
from kalends.domain.errors import NotFound
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.domain.wrapped_keys import kek_of
from kalends.ingest import handing_over
from kalends.ingest.handing_over import HandOvers, RewrapKeys
from kalends.ingest.rotating import RotateKeys
from kalends.kit import failpoints
from kalends.kit.traffic import Traffic
from kalends.wire.erasures import sealing_scope
from kalends.wire.leases import Lease
from kalends.wire.memories import Memory, MemoryRegistry
from kalends.wire.operations import OperationStore
from kalends.wire.owners import Owners
from kalends.wire.vault import Vault

NOTES, DIARY = (Scope(Tenant("acme"), MemoryName(name)) for name in ("notes", "diary"))
KEYS = 30


def reference(number: int) -> str:
    """The name of a key."""
    return f"{number:032x}"


@dataclass(kw_only=True)
class Process:
    """One process that may hand over."""

    owners: Owners
    hand_overs: HandOvers


@dataclass(kw_only=True)
class Place:
    """A log with two memories that have keys."""

    bus: NatsBus
    wrapper: FileWrapper
    key: Path
    reported: list[int] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def process(self, name: str = "one") -> AsyncIterator[Process]:
        """One that follows the owners and works off hand-overs."""
        clock = SystemClock()
        owners = Owners(self.bus.records, clock=clock)
        hand_overs = HandOvers(
            rewrap=RewrapKeys(keys=self.bus.keys, wrapper=self.wrapper, traffic=Traffic()),
            memories=MemoryRegistry(self.bus.records),
            owners=owners,
            store=OperationStore(records=self.bus.records, clock=clock),
            lease=Lease(self.bus.records, name="hand-over", holder=name, lease_s=5, clock=clock),
            clock=clock,
        )
        async with asyncio.TaskGroup() as group:
            loops = [group.create_task(loop()) for loop in (owners.run, hand_overs.run, hand_overs.watch)]
            await owners.wait_ready()
            yield Process(owners=owners, hand_overs=hand_overs)
            for loop in loops:
                loop.cancel()

    async def wrapped(self, scope: Scope) -> dict[str, bytes]:
        """Every wrapped key as it is stored."""
        return {one: key async for piece in self.bus.keys.references(scope, limit=100) for one, key in piece.items()}

    async def digests(self, scope: Scope) -> dict[str, bytes]:
        """The data keys themselves, as digests, for a process that has nothing at hand."""
        found = await Vault(keys=self.bus.keys, wrapper=self.wrapper).boxes(scope, [reference(number) for number in range(KEYS)])
        return {one: box.digest(b"same") for one, box in found.items()}

    async def memory(self) -> Memory:
        """The memory as it is stored."""
        return await MemoryRegistry(self.bus.records).find(NOTES)

    async def done(self) -> None:
        """Wait until every key is wrapped anew."""

        async def rewrapped() -> bool:
            memory = await self.memory()
            return memory.rewrapped_us == memory.handed_over_us > 0

        await until(rewrapped)


@pytest.fixture
async def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    """With thirty keys in each memory, and one of an erasure's selector; nobody is waited for."""
    monkeypatch.setattr(handing_over, "SETTLE_S", 0.0)
    monkeypatch.setattr(handing_over, "PIECE", 7)
    async with fresh_bus() as bus:
        made = Place(bus=bus, wrapper=FileWrapper.open(tmp_path / "kek"), key=tmp_path / "kek")
        for scope in (NOTES, DIARY):
            await MemoryRegistry(bus.records).create(Memory(scope=scope, isolation="shared", description="", created_us=1))
            vault = Vault(keys=bus.keys, wrapper=made.wrapper)
            await vault.boxes_for_writing(scope, [reference(number) for number in range(KEYS)])
        await vault.boxes_for_writing(sealing_scope(NOTES), [reference(0)])
        yield made


async def test_every_key_of_the_memory_is_wrapped_anew_and_is_what_it_was(place: Place) -> None:
    """Also those that selectors of erasures are sealed with; those of another memory stay."""
    before, selector, other = [await place.wrapped(scope) for scope in (NOTES, sealing_scope(NOTES), DIARY)]
    digests = await place.digests(NOTES)
    async with place.process() as process:
        done = await process.hand_overs.hand_over(NOTES, "agent:new", reason="departure")
        assert (done.memory.owner, process.owners.due()) == ("agent:new", [NOTES])
        await place.done()
        found = await process.hand_overs.find(done.operation_id)
    after = await place.wrapped(NOTES)

    assert len(before) == len(after) == KEYS
    assert set(before.values()) & set(after.values()) == set()
    assert set(selector.values()) & set((await place.wrapped(sealing_scope(NOTES))).values()) == set()
    assert await place.digests(NOTES) == digests
    assert await place.wrapped(DIARY) == other
    assert found is not None


async def test_the_same_owner_again_wraps_nothing(place: Place) -> None:
    """And asks for nothing; another one does both again."""
    async with place.process() as process:
        first = await process.hand_overs.hand_over(NOTES, "agent:new", reason="request")
        await place.done()
        before = await place.wrapped(NOTES)
        again = await process.hand_overs.hand_over(NOTES, "agent:new", reason="request")
        assert (again.operation_id, again.memory.handed_over_us) == ("", first.memory.handed_over_us)
        assert await place.wrapped(NOTES) == before

        await process.hand_overs.hand_over(NOTES, "agent:next", reason="request")
        await place.done()
        assert set((await place.wrapped(NOTES)).values()) & set(before.values()) == set()


async def test_what_came_after_a_decision_is_not_undone_by_it(place: Place) -> None:
    """An act that two processes take up must not bring an owner back."""
    async with place.process() as process:
        first = await process.hand_overs.hand_over(NOTES, "agent:new", reason="request")
        decided_us = first.memory.handed_over_us
        await process.hand_overs.hand_over(NOTES, "agent:next", reason="request")

        late = await process.hand_overs.hand_over(NOTES, "agent:new", reason="request", unless_since_us=decided_us)

        assert (late.memory.owner, late.operation_id) == ("agent:next", "")


async def test_of_many_hand_overs_at_once_one_is_the_last_and_everybody_knows_it(place: Place) -> None:
    """Two processes, many owners: the record says whose it is, and both views follow it."""
    async with place.process("one") as one, place.process("two") as two:
        wishes = [process.hand_overs.hand_over(NOTES, f"agent:{number}", reason="request") for number, process in enumerate([one, two] * 4)]
        await asyncio.gather(*wishes)
        memory = await place.memory()
        for process in (one, two):
            await until(lambda process=process: process.owners._owners[NOTES.tenant].get(NOTES.memory) == memory.owner)  # type: ignore[misc]
        await place.done()


async def test_a_hand_over_whose_process_died_before_it_asked_is_found(place: Place) -> None:
    """The record is enough: whoever starts next wraps the keys."""
    before = await place.wrapped(NOTES)
    async with place.process() as process:
        failpoints.arm({"hand-over.after-record": "error"})
        with pytest.raises(failpoints.FailpointError):
            await process.hand_overs.hand_over(NOTES, "agent:new", reason="request")
        failpoints.arm({})
    async with place.process():
        await place.done()

    assert set(before.values()) & set((await place.wrapped(NOTES)).values()) == set()


async def test_a_rotation_at_the_same_time_misses_nothing(place: Place) -> None:
    """Both exchange the same keys; in the end all are under the newest, and none is as it was."""
    before = await place.wrapped(NOTES)
    digests = await place.digests(NOTES)
    add_successor(place.key)
    rotate = RotateKeys(
        keys=place.bus.keys,
        wrapper=place.wrapper,
        records=place.bus.records,
        memories=MemoryRegistry(place.bus.records),
        traffic=Traffic(),
        clock=SystemClock(),
    )
    async with place.process() as process:
        rotating = asyncio.create_task(rotate._walk(await place.wrapper.newest(), lambda _done, _total: None, dry_run=False))
        await process.hand_overs.hand_over(NOTES, "agent:new", reason="request")
        await asyncio.gather(rotating, place.done())
        await rotate._walk(await place.wrapper.newest(), lambda _done, _total: None, dry_run=False)
    after = await place.wrapped(NOTES)

    assert {kek_of(key) for key in after.values()} == {await place.wrapper.newest()}
    assert set(before.values()) & set(after.values()) == set()
    assert await place.digests(NOTES) == digests


async def test_keys_that_are_destroyed_meanwhile_stay_away(place: Place) -> None:
    """An erasure wins over a hand-over."""
    async with place.process() as process:
        await process.hand_overs.hand_over(NOTES, "agent:new", reason="request")
        for number in range(KEYS):
            await place.bus.keys.destroy(NOTES, [reference(number)])
        await place.done()

    assert await place.wrapped(NOTES) == {}


async def test_a_memory_that_is_gone_cannot_be_handed_over_and_ends_the_work(place: Place) -> None:
    """404 before; afterwards the operation says why nothing was left."""
    async with place.process() as process:
        with pytest.raises(NotFound):
            await process.hand_overs.hand_over(Scope(Tenant("acme"), MemoryName("none")), "agent:new", reason="request")
        begun = await process.hand_overs.ask("keys", tenant="acme", memory="none")

        async def ended() -> bool:
            found = await process.hand_overs.find(begun.operation_id)
            return found is not None and (found.state, found.result) == ("succeeded", "the memory is gone")

        await until(ended)
