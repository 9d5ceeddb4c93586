"""The registry of memories, over records."""

import asyncio
from dataclasses import replace

import pytest
from tests.support.records import MemoryRecords
from tests.support.waiting import until

from kalends.domain.errors import Conflict, Damaged, Misconfigured, NotFound, Throttled, Unavailable
from kalends.domain.redaction import Policy
from kalends.domain.retention import Retention, Rule
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.wire.isolations import DEDICATED, SHARED, Isolations
from kalends.wire.memories import KIND, Memory, MemoryRegistry

SCOPE = Scope(Tenant("acme"), MemoryName("notes"))
OTHERS = Scope(Tenant("globex"), MemoryName("notes"))
MEMORY = Memory(scope=SCOPE, isolation="shared", description="what ada said 😀", created_us=1_700, quota_events=5, quota_bytes=None)


async def test_a_memory_comes_back_as_it_was():
    """In every process."""
    records = MemoryRecords()

    assert await MemoryRegistry(records).create(MEMORY) == (MEMORY, True)
    assert await MemoryRegistry(records).find(SCOPE) == MEMORY


async def test_creating_again_gives_what_is_there():
    """Also to a registry that did not know it."""
    records = MemoryRecords()
    await MemoryRegistry(records).create(MEMORY)
    again = Memory(scope=SCOPE, isolation="shared", description="other", created_us=9)

    assert await MemoryRegistry(records).create(again) == (MEMORY, False)


async def test_a_memory_of_another_tenant_is_not_found():
    """Though it has the same name."""
    records = MemoryRecords()
    await MemoryRegistry(records).create(MEMORY)

    with pytest.raises(NotFound):
        await MemoryRegistry(records).find(OTHERS)
    assert await MemoryRegistry(records).of_tenant(OTHERS.tenant) == []


async def test_a_change_is_stored_and_keeps_the_rest():
    """A quota can be taken away."""
    records = MemoryRecords()
    registry = MemoryRegistry(records)
    await registry.create(MEMORY)

    changed = await registry.change(SCOPE, quota_events=None)

    assert (changed.description, changed.quota_events) == (MEMORY.description, None)
    assert await MemoryRegistry(records).find(SCOPE) == changed == await registry.find(SCOPE)
    with pytest.raises(NotFound):
        await registry.change(OTHERS, description="x")


async def test_one_of_two_changes_at_the_same_time_is_refused():
    """It would undo the other."""
    records = MemoryRecords()
    registry = MemoryRegistry(records)
    await registry.create(MEMORY)
    original = records.put

    async def overtaken(*arguments, **named):
        records.put = original
        await MemoryRegistry(records).change(SCOPE, description="first")
        return await original(*arguments, **named)

    records.put = overtaken
    with pytest.raises(Conflict):
        await registry.change(SCOPE, description="second")


async def test_a_tenants_memories_are_listed_by_name():
    """From the store, not from what happens to be known."""
    records = MemoryRecords()
    for name in ("b", "a", "c"):
        scope = Scope(SCOPE.tenant, MemoryName(name))
        await MemoryRegistry(records).create(Memory(scope=scope, isolation="shared", description="", created_us=1))

    assert [memory.scope.memory for memory in await MemoryRegistry(records).of_tenant(SCOPE.tenant)] == ["a", "b", "c"]


async def test_all_scopes_are_known_also_of_a_record_that_cannot_be_read():
    """Maintenance must not take its memory for one that nobody has."""
    records = MemoryRecords()
    await MemoryRegistry(records).create(MEMORY)
    await records.put(KIND, OTHERS.tenant, OTHERS.memory, b"\xff")

    assert set(await MemoryRegistry(records).scopes()) == {SCOPE, OTHERS}


async def test_a_follower_learns_of_changes_and_deletions_and_survives_an_outage():
    """Another process made them."""
    records = MemoryRecords()
    registry, elsewhere = MemoryRegistry(records), MemoryRegistry(records)
    await elsewhere.create(MEMORY)
    following = asyncio.create_task(registry.follow())
    try:
        await registry.find(SCOPE)
        await until(lambda: bool(records._watchers))
        records.interrupt()
        await elsewhere.change(SCOPE, description="new")

        async def learnt() -> bool:
            return (await registry.find(SCOPE)).description == "new"

        await until(learnt)
        await records.delete(KIND, SCOPE.tenant, SCOPE.memory)

        async def gone() -> bool:
            try:
                await registry.find(SCOPE)
            except NotFound:
                return True
            return False

        await until(gone)
    finally:
        following.cancel()


async def test_a_damaged_record_is_said_to_be_damaged():
    """And not taken for a memory that does not exist."""
    records = MemoryRecords()
    await records.put(KIND, SCOPE.tenant, SCOPE.memory, b"\xff\xff")

    with pytest.raises(Damaged):
        await MemoryRegistry(records).find(SCOPE)


async def test_a_follower_goes_on_past_a_damaged_record():
    """It is an error for whoever asks for that memory, and for nobody else."""
    records = MemoryRecords()
    registry = MemoryRegistry(records)
    await records.put(KIND, SCOPE.tenant, "a-damaged-one", b"\xff\xff")
    await MemoryRegistry(records).create(MEMORY)
    following = asyncio.create_task(registry.follow())
    try:
        await until(lambda: SCOPE in registry._known)
    finally:
        following.cancel()


async def test_the_policy_of_redaction_comes_back_as_it_was():
    """Also the actions for kinds of events; a memory that was stored before there were any has the default."""
    records = MemoryRecords()
    policy = Policy(actions={"card": "refuse"}, kinds={"note": {"email": "mask"}, "chunk": {}})
    await MemoryRegistry(records).create(replace(MEMORY, redaction=policy))

    assert (await MemoryRegistry(records).find(SCOPE)).redaction == policy
    assert MEMORY.redaction == Policy()


OWN = replace(MEMORY, isolation="dedicated")


class Streams:
    """Takes note of which streams were made; *failure* is raised instead, while there is one."""

    def __init__(self, records, *, failure=None):
        self.records = records
        self.failure = failure
        self.made = []

    async def __call__(self, scope):
        assert await self.records.get(KIND, scope.tenant, scope.memory) is None
        assert await Isolations(self.records).settled(scope) == DEDICATED
        if self.failure is not None:
            raise self.failure
        self.made.append(scope)


async def test_a_dedicated_memory_has_its_stream_before_it_is_there():
    """Nobody can append to a memory that is not recorded; and what was made once is not made again."""
    records = MemoryRecords()
    streams = Streams(records)
    registry = MemoryRegistry(records, dedicate=streams)

    assert await registry.create(OWN) == (OWN, True)
    assert await registry.create(OWN) == (OWN, False)
    assert (await registry.create(MEMORY))[0].isolation == "dedicated"

    assert streams.made == [SCOPE]


async def test_who_cannot_make_streams_makes_no_dedicated_memory():
    """It would be one in name only."""
    with pytest.raises(Misconfigured):
        await MemoryRegistry(MemoryRecords()).create(OWN)


async def test_a_name_that_was_erased_is_used_again_only_as_it_was():
    """What other processes remember of it, and where indexes keep it, never changes."""
    records = MemoryRecords()
    registry = MemoryRegistry(records, dedicate=Streams(records))
    await registry.create(MEMORY)
    await registry.remove(SCOPE)

    with pytest.raises(Conflict, match="shared"):
        await registry.create(OWN)
    assert await registry.create(MEMORY) == (MEMORY, True)


async def test_a_memory_of_an_earlier_version_stays_shared_when_it_is_erased():
    """It never said what it was."""
    records = MemoryRecords()
    registry = MemoryRegistry(records, dedicate=Streams(records))
    await registry.create(MEMORY)
    await records.delete("isolation", SCOPE.tenant, SCOPE.memory)

    await registry.remove(SCOPE)

    with pytest.raises(Conflict):
        await registry.create(OWN)


async def test_without_room_for_a_stream_there_is_no_memory_and_the_name_is_free():
    """It may be made shared then."""
    records = MemoryRecords()
    registry = MemoryRegistry(records, dedicate=Streams(records, failure=Throttled("no room")))

    with pytest.raises(Throttled):
        await registry.create(OWN)
    with pytest.raises(NotFound):
        await registry.find(SCOPE)

    assert await registry.create(MEMORY) == (MEMORY, True)


async def test_a_memory_whose_making_was_cut_off_is_made_by_the_next_try():
    """The stream may be there or not; the name stays dedicated, so that nothing is ever in two places."""
    records = MemoryRecords()
    with pytest.raises(Unavailable):
        await MemoryRegistry(records, dedicate=Streams(records, failure=Unavailable("away"))).create(OWN)

    with pytest.raises(Conflict):
        await MemoryRegistry(records).create(MEMORY)
    assert await MemoryRegistry(records, dedicate=Streams(records)).create(OWN) == (OWN, True)
    assert (await Isolations(records).claim(SCOPE, SHARED)).says == DEDICATED


@pytest.mark.parametrize(
    "said",
    [
        None,
        Retention(),
        Retention(
            rule=Rule(max_age_days=365, max_events=10**6),
            kinds={"episode": Rule(max_age_days=90), "note": Rule(max_events=7)},
            pinned_kinds=frozenset({"preference"}),
            session_only=True,
        ),
    ],
)
async def test_a_memorys_retention_comes_back_as_it_was(said):
    """To say that everything is kept is not the same as to say nothing."""
    records = MemoryRecords()
    await MemoryRegistry(records).create(replace(MEMORY, retention=said))

    assert (await MemoryRegistry(records).find(SCOPE)).retention == said
