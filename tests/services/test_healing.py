"""Healing over real engines: a projection whose store stays broken is built anew beside it, and nobody has to ask."""

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from tests.support.engines import QUICK, SCOPE, Engines, engines, event, ledger, rebuilds_of
from tests.support.waiting import until

from kalends.adapters.embedded import vector_checking
from kalends.adapters.embedded.edge_points import point_id
from kalends.adapters.embedded.shards import DENSE
from kalends.domain.errors import Unavailable
from kalends.domain.queries import Held
from kalends.index import healing
from kalends.index.healing import Healer
from kalends.kit import failpoints

SAID = ["the red fox sleeps", "a heron eats fish", "rain over the harbour"]
AFTER_S = 30.0


@pytest.fixture
async def made(tmp_path):
    """Both projections, up to date and running."""
    async with ledger(tmp_path) as books, engines(books, tmp_path) as opened:
        opened.start()
        await opened.index(*(event(number, text, minute=number) for number, text in enumerate(SAID)))
        yield opened


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """A healer looks a hundred times as often; no test leaves a failpoint behind."""
    monkeypatch.setattr(healing, "_LOOK_S", 0.01)
    yield
    failpoints.arm({})


def healer(made: Engines, *, after_s: float = AFTER_S) -> Healer:
    """A healer of both projections."""
    return Healer(projections=made.projections, rebuild=rebuilds_of(made).heal, clock=made.ledger.clock, after_s=after_s)


@asynccontextmanager
async def at_work(healing: Healer):
    """The healer runs for as long as the block does."""
    running = asyncio.create_task(healing.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait([running])
        assert running.cancelled()


async def broken(made: Engines, name: str, *, dependency: str = "") -> None:
    """The serving index of the projection refuses every write, in the name of *dependency*, and the projection has seen it."""
    store = {"lexical": made.lexicon, "vector": made.vectors}[name]
    store.leave("put", error=Unavailable("broken", dependency=dependency or name))
    await made.ledger.record(event(f"after {name} broke", "a crane over the marsh"))
    await until(lambda: made.projections[name].failure is not None)


async def spoil(made: Engines, point: Held) -> None:
    """Another dense vector stands where that of *point* was written."""
    from qdrant_edge import PointVectors, UpdateOperation

    async with made.generations["vector"].serving() as index:
        (lead,) = index._shard.retrieve([point_id(point.key, 0)], False, True)
        other = {**lead.vector, DENSE: lead.vector[DENSE][::-1]}
        index._shard.update(UpdateOperation.update_vectors([PointVectors(lead.id, other)]))


def generations(made: Engines) -> dict[str, str]:
    """The serving generations."""
    return {name: projection.generation for name, projection in made.projections.items()}


async def test_a_projection_that_works_is_left_alone(made):
    """However long it has worked."""
    made.ledger.clock.ahead += timedelta(days=1)

    assert not any(healer(made).is_due(projection) for projection in made.projections.values())


async def test_a_short_outage_is_waited_out(made):
    """Most of them end by themselves, and a rebuild reads the whole log."""
    await broken(made, "lexical")
    lexical = made.projections["lexical"]

    assert not healer(made).is_due(lexical)
    made.ledger.clock.ahead += timedelta(seconds=AFTER_S - 10)
    assert not healer(made).is_due(lexical)
    made.ledger.clock.ahead += timedelta(seconds=10)
    assert healer(made).is_due(lexical)


async def test_an_outage_that_ended_is_forgotten(made):
    """Two short ones are not a long one."""
    await broken(made, "lexical")
    made.lexicon.come_back()
    await made.caught_up("lexical")
    made.ledger.clock.ahead += timedelta(days=1)

    assert not healer(made).is_due(made.projections["lexical"])


@pytest.mark.parametrize("dependency", ["model", "keys", "nats"])
async def test_what_a_new_index_would_lack_too_is_no_reason(made, dependency):
    """It would need the same model and the same keys."""
    await broken(made, "vector", dependency=dependency)
    made.ledger.clock.ahead += timedelta(days=1)

    assert not healer(made).is_due(made.projections["vector"])


@pytest.mark.parametrize("name", ["lexical", "vector"])
async def test_a_store_that_stays_broken_is_replaced_with_everything_that_the_log_holds(made, name):
    """Also with what was written while it was broken; the other projection is left alone."""
    before = generations(made)
    await broken(made, name)
    made.ledger.clock.ahead += timedelta(seconds=AFTER_S)

    async with at_work(healer(made)):
        await until(lambda: made.projections[name].generation != before[name])
        {"lexical": made.lexicon, "vector": made.vectors}[name].come_back()  # the stand-in is before the new index too
        await made.caught_up()

    digests = await made.digests()
    assert digests["lexical"] == digests["vector"]
    assert digests[name][0] == len(SAID) + 1
    assert {one for one in before if generations(made)[one] != before[one]} == {name}
    assert made.projections[name].failure is made.projections[name].failing_since is None


@pytest.mark.parametrize("name", ["lexical", "vector"])
async def test_a_projection_that_is_whole_is_not_replaced(made, name):
    """Both engines are asked."""
    projection = made.projections[name]

    assert list(await projection.examine()) == []
    assert projection.failure is None


async def test_examining_gives_way_between_its_pieces(made, monkeypatch):
    """It reads all that is stored, and nobody waits for it."""
    waited = []

    async def give_way(*, at_most: float) -> None:
        waited.append(at_most)

    monkeypatch.setattr(vector_checking, "PAGE", 1)
    monkeypatch.setattr(made.projections["vector"]._traffic, "give_way", give_way)

    await made.projections["vector"].examine()
    assert len(waited) == len(SAID) - 1
    assert all(waited)


async def test_a_damaged_projection_is_replaced(made):
    """As soon as it has waited as long as for any other outage."""
    before = generations(made)
    point = (await made.vectors.inventory(SCOPE.key, after=None, limit=1))[0]
    await spoil(made, point)

    (named,) = await made.projections["vector"].examine()
    assert named.endswith("/dense")
    assert named in str(made.projections["vector"].failure)

    made.ledger.clock.ahead += timedelta(seconds=AFTER_S)
    async with at_work(healer(made)):
        await until(lambda: made.projections["vector"].generation != before["vector"])
        await made.caught_up()
    assert list(await made.projections["vector"].examine()) == []
    assert made.projections["vector"].failure is None


async def test_damage_of_a_generation_that_no_longer_serves_is_no_reason(made):
    """Examining takes long, and another may have taken its place meanwhile."""
    projection = made.projections["vector"]

    class Slow:
        async def damaged(self, *, between):
            await projection.rebuild("gnew", report=lambda _done, _total: None)
            await between()
            return ["shard/point/dense"]

    projection._index_of = lambda _: Slow()

    assert list(await projection.examine()) == []
    assert projection.failure is None


async def test_a_rebuild_that_fails_is_tried_again_later(made):
    """The old index goes on serving until then, and no half-built one stays behind."""
    before = generations(made)
    await broken(made, "lexical")
    made.ledger.clock.ahead += timedelta(seconds=QUICK.heal_after_s)
    lexical = made.generations["lexical"]
    begin, tried = lexical.begin, []

    async def begin_second(name: str):
        tried.append(name)
        if len(tried) == 1:
            raise Unavailable("the disk is full", dependency="disk")
        return await begin(name)

    async def tidied() -> bool:
        return await lexical.leftovers() == []

    lexical.begin = begin_second

    async with at_work(healer(made, after_s=0.05)):
        await until(lambda: made.projections["lexical"].generation != before["lexical"])
        await until(tidied)

    assert len(tried) == 2
    assert tried[0] != tried[1] == made.projections["lexical"].generation


async def test_a_projection_that_is_being_rebuilt_already_is_not_rebuilt_twice(made):
    """Somebody asked for it, and that is enough."""
    await broken(made, "vector")
    made.ledger.clock.ahead += timedelta(seconds=AFTER_S)
    gate = made.embedder.hold("embed")
    asked = asyncio.create_task(made.projections["vector"].rebuild("gasked", report=lambda _done, _total: None))
    await until(lambda: made.embedder.waiting["embed"] > 0)

    async with at_work(healer(made)):
        made.embedder.let_pass()
        gate.set()
        await asked
        made.vectors.come_back()
        await made.caught_up()

    assert made.projections["vector"].generation == "gasked"


async def test_a_rebuild_that_waits_holds_up_no_other(made):
    """The vectors need the model again; the words do not."""
    before = generations(made)
    await broken(made, "vector")
    made.ledger.clock.ahead += timedelta(seconds=AFTER_S)
    made.embedder.hold("embed")

    async with at_work(healer(made)):
        await until(lambda: made.embedder.waiting["embed"] > 0)
        await broken(made, "lexical")
        made.ledger.clock.ahead += timedelta(seconds=AFTER_S)
        await until(lambda: made.projections["lexical"].generation != before["lexical"])

    assert made.projections["vector"].generation == before["vector"]
