"""Rotation of the key-encryption key over a real key store, while others write, read and destroy."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.broker import fresh_bus
from tests.support.waiting import until

from kalends.adapters.embedded.clock import SystemClock
from kalends.adapters.embedded.kek import FileWrapper, add_successor
from kalends.adapters.nats import NatsBus
from kalends.domain.errors import Misconfigured
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.domain.wrapped_keys import kek_of
from kalends.ingest import rotating
from kalends.ingest.rotating import KeyRotations, RotateKeys
from kalends.kit import aead
from kalends.kit.traffic import Traffic
from kalends.wire.leases import Lease
from kalends.wire.memories import Memory, MemoryRegistry
from kalends.wire.operations import OperationStore
from kalends.wire.seal import check_seal, seal_kek
from kalends.wire.vault import Vault

SCOPES = [Scope(Tenant("acme"), MemoryName(name)) for name in ("notes", "diary")]


@dataclass(kw_only=True)
class Place:
    """A log with two memories, the key file and the rotation over them."""

    bus: NatsBus
    key: Path
    wrapper: FileWrapper

    @property
    def rotate(self) -> RotateKeys:
        """As a process has it that starts now."""
        return RotateKeys(
            keys=self.bus.keys,
            wrapper=self.wrapper,
            records=self.bus.records,
            memories=MemoryRegistry(self.bus.records),
            traffic=Traffic(),
            clock=SystemClock(),
        )

    def vault(self) -> Vault:
        """A vault of a process that has nothing at hand, on key files of its own reading."""
        return Vault(keys=self.bus.keys, wrapper=FileWrapper.open(self.key))

    async def keks(self) -> set[str | None]:
        """Which key-encryption keys the stored keys and the seal need."""
        found = {await seal_kek(self.bus.records)}
        for scope in SCOPES:
            async for piece in self.bus.keys.references(scope, limit=100):
                found |= {kek_of(key) for key in piece.values()}
        return found


def reference(number: int) -> str:
    """The name of a key."""
    return f"{number:032x}"


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    """With forty keys in each memory."""
    async with fresh_bus() as bus:
        made = Place(bus=bus, key=tmp_path / "kek", wrapper=FileWrapper.open(tmp_path / "kek"))
        await check_seal(bus.records, made.wrapper)
        memories = MemoryRegistry(bus.records)
        for scope in SCOPES:
            await memories.create(Memory(scope=scope, isolation="shared", description="", created_us=1))
            await made.vault().boxes_for_writing(scope, [reference(number) for number in range(40)])
        yield made


def digest(box: aead.Box) -> bytes:
    """Equal for equal keys."""
    return box.digest(b"same")


async def test_afterwards_nothing_needs_the_old_key_and_every_data_key_is_what_it_was(place: Place, monkeypatch) -> None:
    """In pieces of whatever size; the old file may be taken away, and a second rotation finds nothing to do."""
    monkeypatch.setattr(rotating, "PIECE", 7)
    before = {number: digest(box) for number, box in (await place.vault().boxes(SCOPES[0], [reference(7), reference(8)])).items()}
    old = await place.wrapper.newest()
    add_successor(place.key)

    told: list[tuple[int, int]] = []
    report = await place.rotate(report=lambda done, total: told.append((done, total)))

    new = await place.wrapper.newest()
    assert new != old
    assert report.counts == {new: 80}
    assert report.text == f"80 keys under version 2 ({new[:8]}); no older key-encryption key is needed"
    assert told[-1] == (80, 80)
    assert await place.keks() == {new}
    remove(place.key)
    assert {one: digest(box) for one, box in (await place.vault().boxes(SCOPES[0], list(before))).items()} == before
    assert (await place.rotate()).counts == {new: 80}


async def test_a_dry_run_counts_and_changes_nothing(place: Place) -> None:
    """By the key-encryption key that is needed, in words."""
    old = await place.wrapper.newest()
    add_successor(place.key)

    report = await place.rotate(dry_run=True)

    assert await place.keks() == {old}
    assert report.text.endswith(f"80 under version 1 ({old[:8]})")
    assert report.text.startswith("0 keys under version 2")


async def test_keys_from_before_there_were_names_get_one(place: Place) -> None:
    """So that whoever looks sees what is needed."""
    box = aead.Box(content(place.key))
    plain = aead.new_key()
    nonce, sealed = box.seal(plain, context=rotating.context(SCOPES[0], reference(99)))
    await place.bus.keys.create(SCOPES[0], {reference(99): nonce + sealed})
    assert "" in await place.keks()

    await place.rotate()

    assert await place.keks() == {await place.wrapper.newest()}
    found = await place.vault().boxes(SCOPES[0], [reference(99)])
    assert digest(found[reference(99)]) == digest(aead.Box(plain))


async def test_under_load_nothing_fails_and_nothing_that_was_destroyed_comes_back(place: Place, monkeypatch) -> None:
    """Writers make keys, readers open them, somebody destroys some, and the rotation is killed twice; then it goes on."""
    monkeypatch.setattr(rotating, "PIECE", 5)
    stop = asyncio.Event()
    written: dict[str, bytes] = {}

    async def write(scope: Scope, first: int) -> None:
        vault = place.vault()  # a process of its own, which has not heard of the newer key
        for number in range(first, first + 200):
            made = await vault.boxes_for_writing(scope, [reference(number)])
            written[f"{scope.key}{reference(number)}"] = digest(made[reference(number)])
        stop.set()

    async def read(scope: Scope) -> None:
        while not stop.is_set():
            assert len(await place.vault().boxes(scope, [reference(number) for number in range(20, 40)])) == 20

    async def destroy(scope: Scope) -> None:
        for number in range(20):
            await place.bus.keys.destroy(scope, [reference(number)])

    async def rotate() -> None:
        for pieces in (2, 4):
            seen: list[int] = []
            running = asyncio.create_task(place.rotate(report=lambda done, _total, seen=seen: seen.append(done)))  # type: ignore[misc]
            await until(lambda seen=seen, pieces=pieces, running=running: len(seen) >= pieces or running.done())  # type: ignore[misc]
            running.cancel()
            await asyncio.wait([running])

    add_successor(place.key)
    async with asyncio.TaskGroup() as group:
        group.create_task(write(SCOPES[0], 1000))
        group.create_task(write(SCOPES[1], 2000))
        group.create_task(read(SCOPES[0]))
        group.create_task(destroy(SCOPES[0]))
        group.create_task(rotate())
    report = await place.rotate()

    assert await place.keks() == {await place.wrapper.newest()}
    assert report.counts == {await place.wrapper.newest(): 20 + 40 + 400}
    assert await place.vault().boxes(SCOPES[0], [reference(number) for number in range(20)]) == {}
    for scope, first in zip(SCOPES, (1000, 2000), strict=True):
        found = await place.vault().boxes(scope, [reference(number) for number in range(first, first + 200)])
        assert {f"{scope.key}{one}": digest(box) for one, box in found.items()}.items() <= written.items()
        assert len(found) == 200


async def test_a_key_that_needs_a_file_that_is_gone_is_told_and_the_others_are_wrapped(place: Place) -> None:
    """Putting the file back and beginning again mends it."""
    other = FileWrapper(bytes(32))
    await Vault(keys=place.bus.keys, wrapper=other).boxes_for_writing(SCOPES[1], [reference(500)])
    add_successor(place.key)

    with pytest.raises(Misconfigured, match="1 keys need a key-encryption key that is not here"):
        await place.rotate()

    assert await place.keks() >= {await place.wrapper.newest(), await other.newest()}
    assert len(await place.keks()) == 3  # the seal is wrapped last


async def test_the_health_says_what_waits_for_a_rotation_and_what_the_last_one_found(place: Place) -> None:
    """Doctor and status show it."""
    clock = SystemClock()
    rotations = KeyRotations(
        rotate=place.rotate,
        wrapper=place.wrapper,
        records=place.bus.records,
        store=OperationStore(records=place.bus.records, clock=clock),
        lease=Lease(place.bus.records, name="key-rotation", holder="test", lease_s=5, clock=clock, alone=True),
        clock=clock,
        every_s=0.05,
    )
    async with asyncio.TaskGroup() as group:
        loops = [group.create_task(rotations.run()), group.create_task(rotations.watch())]
        await until(lambda: [one.state for one in rotations.health()] == ["up"])
        add_successor(place.key)
        await until(lambda: [one.state for one in rotations.health()] == ["degraded"])
        assert "rotate-keys" in rotations.health()[0].next_step

        begun = await rotations.ask("all")
        await until(lambda: [one.state for one in rotations.health()] == ["up"])

        async def told() -> bool:
            return "80 keys under version 2" in rotations.health()[0].detail

        await until(told)
        found = await rotations.find(begun.operation_id)
        assert found is not None
        assert found.state == "succeeded"
        for loop in loops:
            loop.cancel()


def content(path: Path) -> bytes:
    """The bytes of a file."""
    return path.read_bytes()


def remove(path: Path) -> None:
    """Take a file away."""
    path.unlink()
