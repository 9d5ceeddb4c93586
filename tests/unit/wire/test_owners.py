"""The view of owners: what one process knows of hand-overs, and what it does while it does not know."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from tests.support.clocks import SimulatedClock
from tests.support.records import MemoryRecords
from tests.support.waiting import until

from kalends.domain.credentials import RIGHTS, Principal
from kalends.domain.errors import Unavailable
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.wire import memories
from kalends.wire.memories import Memory, MemoryRegistry
from kalends.wire.owners import Owners

NOTES = Scope(Tenant("acme"), MemoryName("notes"))
MEMORY = Memory(scope=NOTES, isolation="shared", description="", created_us=1)
FORMER = Principal(token_id="f", tenant=NOTES.tenant, memories=frozenset({"notes"}), rights=frozenset(RIGHTS), name="token:f")
OWNER = Principal(token_id="o", tenant=NOTES.tenant, memories=frozenset({"diary"}), rights=frozenset({"search"}), name="agent:o")
STRANGER = replace(OWNER, tenant=Tenant("globex"))


@contextlib.asynccontextmanager
async def following(records: MemoryRecords) -> AsyncIterator[Owners]:
    """A process that follows the records."""
    owners = Owners(records, clock=SimulatedClock())
    async with asyncio.TaskGroup() as group:
        task = group.create_task(owners.run())
        await owners.wait_ready()
        yield owners
        task.cancel()


async def test_nobody_is_let_in_before_the_owners_are_known():
    """A former owner could be among them."""
    with pytest.raises(Unavailable):
        Owners(MemoryRecords(), clock=SimulatedClock()).settled(FORMER)


async def test_a_hand_over_elsewhere_is_heard_of():
    """By who loses the memory, by who gets it, and by no other tenant."""
    records = MemoryRecords()
    await MemoryRegistry(records).create(MEMORY)
    async with following(records) as owners:
        assert owners.settled(FORMER) == FORMER
        await MemoryRegistry(records).change(NOTES, owner="agent:o", handed_over_us=5)
        await until(lambda: not owners.settled(FORMER).reaches("notes"))

        assert owners.settled(OWNER).memories == {"notes", "diary"}
        assert owners.settled(STRANGER) == STRANGER
        assert owners.due() == [NOTES]
        await MemoryRegistry(records).change(NOTES, rewrapped_us=5)
        await until(lambda: owners.due() == [])


async def test_whoever_looks_knows_at_once_and_is_not_led_back_by_older_news():
    """What the watch tells of an older version comes late and is passed over."""
    records = MemoryRecords()
    registry = MemoryRegistry(records)
    await registry.create(MEMORY)
    older = await records.get(memories.KIND, NOTES.tenant, NOTES.memory)
    assert older is not None
    async with following(records) as owners:
        await registry.change(NOTES, owner="agent:o", handed_over_us=5)
        await owners.look(NOTES)
        assert not owners.settled(FORMER).reaches("notes")
        owners._apply(older)
        assert not owners.settled(FORMER).reaches("notes")


async def test_a_memory_that_is_gone_is_nobodys_also_if_nobody_told():
    """Its name may be used again: the watch was away when it was deleted."""
    records = MemoryRecords()
    registry = MemoryRegistry(records)
    await registry.create(replace(MEMORY, owner="agent:o", handed_over_us=5))
    async with following(records) as owners:
        assert not owners.settled(FORMER).reaches("notes")
        await registry.remove(NOTES)
        await until(lambda: owners.settled(FORMER).reaches("notes"))
        await registry.create(replace(MEMORY, owner="agent:o", handed_over_us=6))
        await until(lambda: not owners.settled(FORMER).reaches("notes"))
        del records._records[memories.KIND, NOTES.tenant, NOTES.memory]
        records.interrupt()
        await until(lambda: owners.settled(FORMER).reaches("notes"))


async def test_a_memory_whose_record_is_damaged_is_reached_by_admins_of_all_alone():
    """Damage opens nothing."""
    records = MemoryRecords()
    await records.put(memories.KIND, NOTES.tenant, NOTES.memory, b"\xff\xff\xff", revision=0)
    async with following(records) as owners:
        assert not owners.settled(FORMER).reaches("notes")
        assert owners.settled(replace(FORMER, memories=None)).reaches("notes")


async def test_a_view_that_is_cut_off_goes_on_and_says_so():
    """And is up again once it has seen everything anew."""
    records = MemoryRecords()
    await MemoryRegistry(records).create(replace(MEMORY, owner="agent:o", handed_over_us=5))
    async with following(records) as owners:
        assert owners.state == "up"
        records.interrupt()
        await until(lambda: owners.state == "degraded")
        assert not owners.settled(FORMER).reaches("notes")
        await until(lambda: owners.state == "up")


async def test_what_is_remembered_of_principals_is_bounded(monkeypatch):
    """Sessions come and go; each is a principal of its own."""
    monkeypatch.setattr("kalends.wire.owners._REMEMBERED", 3)
    records = MemoryRecords()
    await MemoryRegistry(records).create(replace(MEMORY, owner="agent:o", handed_over_us=5))
    async with following(records) as owners:
        for number in range(10):
            assert not owners.settled(replace(FORMER, token_id=str(number))).reaches("notes")
        assert len(owners._settled) <= 3
