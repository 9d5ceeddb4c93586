"""Which generation of a shared projection serves: one for all processes, never an old name for a new index."""

import asyncio

import pytest
from tests.support.faulty import Faulty
from tests.support.generation_stores import MemoryGenerationStore
from tests.support.records import MemoryRecords
from tests.support.waiting import until

from kalends.domain.errors import Conflict, Damaged, Invalid, Misconfigured, Unavailable
from kalends.wire.generations import KIND, CurrentGeneration, SharedGenerations


class World:
    """A store and records that several processes share."""

    def __init__(self):
        self.records = MemoryRecords()
        self.store = MemoryGenerationStore()

    def process(self):
        """The generations as one process sees them."""
        return SharedGenerations(self.store, CurrentGeneration(self.records, projection="lexical"), dependency="lexical")


@pytest.fixture
def world():
    """Nothing made yet."""
    return World()


async def test_the_first_process_makes_a_generation_and_all_serve_it(world: World):
    """However many begin at once."""
    processes = [world.process() for _ in range(5)]
    await asyncio.gather(*(one.ensure() for one in processes))

    assert {one.current for one in processes} == {world.store.alias}
    assert world.store.made == {world.store.alias}
    assert not await processes[0].is_lost()


async def test_who_only_asks_makes_nothing(world: World):
    """Nothing serves until it has been made, and then it does everywhere."""
    reader, writer = world.process(), world.process()
    assert await reader.refresh() == ""
    with pytest.raises(Unavailable):
        reader.index(reader.current)

    await writer.ensure()

    assert await reader.refresh() == writer.current
    assert reader.index(reader.current) == f"index of {writer.current}"


async def test_a_switch_is_seen_by_every_process(world: World):
    """By the alias at once and by its name when it is asked for."""
    here, there = world.process(), world.process()
    await here.ensure()
    await there.ensure()
    old = there.current
    assert await here.begin("g2") == "index of g2"
    assert await there.resume("g2") == "index of g2"
    assert await there.resume("g3") is None
    await here.switch("g2")

    assert (world.store.alias, here.current, there.current) == ("g2", "g2", old)
    assert await there.refresh() == "g2"
    assert await there.resume("g2") is None
    assert await here.leftovers() == [old]
    await here.drop(old)
    assert world.store.made == {"g2"}


async def test_a_switch_that_was_cut_short_is_completed_by_whoever_sees_it(world: World):
    """The record decides; the alias follows."""
    here, there = world.process(), world.process()
    await here.ensure()
    await there.ensure()
    await here.begin("g2")
    await CurrentGeneration(world.records, projection="lexical").switch("g2")

    assert await there.refresh() == "g2"
    assert world.store.alias == "g2"


async def test_an_alias_that_is_turned_back_by_a_race_is_put_right(world: World):
    """One process had asked what serves, and points only after another has switched."""
    here = world.process()
    await here.ensure()
    await here.begin("g2")
    slow = Faulty(world.store, dependency="lexical")
    there = SharedGenerations(slow, CurrentGeneration(world.records, projection="lexical"), dependency="lexical")
    gate = slow.hold("pointed")
    ensuring = asyncio.create_task(there.ensure())
    await until(lambda: slow.waiting["pointed"] == 1)
    await here.switch("g2")
    slow.let_pass()
    gate.set()
    await ensuring

    assert (world.store.alias, here.current, there.current) == ("g2", "g2", "g2")


async def test_a_look_puts_a_wrong_alias_right_and_says_what_is_lost(world: World):
    """Whoever looks: also one that only reads."""
    writer, reader = world.process(), world.process()
    await writer.ensure()
    await writer.begin("g2")
    await writer.switch("g2")
    await reader.look()
    world.store.alias = next(name for name in world.store.made if name != "g2")
    await reader.look()
    assert world.store.alias == "g2"

    world.store.lose()

    with pytest.raises(Unavailable) as told:
        await reader.look()
    assert told.value.dependency == "lexical"


async def test_what_another_process_replaced_and_dropped_is_not_lost(world: World):
    """Whoever still takes the old one for current looks before it says so."""
    here, there = world.process(), world.process()
    await here.ensure()
    await there.ensure()
    old = there.current
    await here.begin("g2")
    await here.switch("g2")
    await here.drop(old)

    assert not await there.is_lost()


async def test_a_process_that_begins_after_a_loss_makes_a_new_generation(world: World):
    """It has never seen the old one; until it makes the new one it says that the index is gone."""
    await world.process().ensure()
    lost = world.store.alias
    world.store.lose()
    late = world.process()
    with pytest.raises(Unavailable):
        await late.refresh()

    await late.ensure()

    assert late.current == world.store.alias != lost


async def test_a_generation_serves_only_once_the_alias_names_it(world: World):
    """Two that ask at once both wait for that: what they find next, they find in it."""
    here = world.process()
    await here.ensure()
    await here.begin("g2")
    await CurrentGeneration(world.records, projection="lexical").switch("g2")
    slow = Faulty(world.store, dependency="lexical")
    there = SharedGenerations(slow, CurrentGeneration(world.records, projection="lexical"), dependency="lexical")
    gate = slow.hold("point")
    asking = [asyncio.create_task(there.refresh()) for _ in range(2)]
    await until(lambda: slow.waiting["point"] == 2)
    assert not any(one.done() for one in asking)
    gate.set()

    assert await asyncio.gather(*asking) == ["g2", "g2"]
    assert world.store.alias == "g2"


async def test_whoever_begins_to_serve_points_though_the_alias_is_right(world: World):
    """Once: pointing is where a store sees whether this version can use what is there, which another version may have made."""
    await world.process().ensure()
    watched = Faulty(world.store, dependency="lexical")
    late = SharedGenerations(watched, CurrentGeneration(world.records, projection="lexical"), dependency="lexical")
    watched.leave("point", error=Misconfigured("of another format"))
    with pytest.raises(Misconfigured):
        await late.ensure()
    watched.come_back()
    await late.ensure()
    watched.leave("point")
    await late.ensure()

    assert late.current == world.store.alias


async def test_a_lost_index_is_never_made_again_under_its_name(world: World):
    """Its consumer would think that the new one has what only the old one had."""
    processes = [world.process() for _ in range(3)]
    await processes[0].ensure()
    lost = processes[0].current
    world.store.lose()
    assert await processes[0].is_lost()

    await asyncio.gather(*(one.ensure() for one in processes))

    assert {one.current for one in processes} == {world.store.alias}
    assert world.store.alias != lost


async def test_a_making_that_was_cut_short_is_completed(world: World):
    """The name was taken and nothing was made; it was never written to, so it can be used."""
    first, second = world.process(), world.process()
    world.store.away = True
    with pytest.raises(Unavailable):
        await first.ensure()
    assert first.current == ""
    world.store.away = False

    await second.ensure()
    await first.ensure()

    assert first.current == second.current == world.store.alias


async def test_the_current_generation_is_neither_begun_nor_dropped(world: World):
    """Also where only another process knows that it is current."""
    here, there = world.process(), world.process()
    await here.ensure()
    await there.ensure()
    await here.begin("g2")
    await here.switch("g2")

    with pytest.raises(Conflict):
        await there.begin("g2")
    with pytest.raises(Conflict):
        await there.drop("g2")
    with pytest.raises(Conflict):
        await there.switch("g9")
    with pytest.raises(Invalid):
        await there.begin("No Name")


async def test_a_record_that_cannot_be_read_is_damage(world: World):
    """And not a reason to begin anew."""
    await world.records.put(KIND, "instance", "lexical", b"\xff\xff")

    with pytest.raises(Damaged):
        await world.process().ensure()
