"""Generations and dedicated memories of vectors, as collections and an alias, over Qdrant's wire.

Belongs here: what is true of Qdrant's collections only; what every store of generations promises has a suite of its own
(``tests/cluster/test_generation_stores``). A newcomer would get wrong: a dedicated memory's collection is made by its first write, so a
generation is more than one collection, and fewer than one might think.
"""

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest
from tests.contracts.projections import DIMENSION, OTHER, SCOPE, direction, entry, key_of, tombstone, vectors, window
from tests.support.qdrant_wire.running import fresh_settings
from tests.support.records import MemoryRecords

from kalends.adapters.qdrant.collections import Collections
from kalends.adapters.qdrant.connection import connect
from kalends.adapters.qdrant.generations import QdrantGenerations, open_generations
from kalends.adapters.qdrant.vectors import QdrantVectors
from kalends.domain.errors import Damaged, Invalid, Misconfigured, NotFound, Unavailable
from kalends.domain.queries import Criteria, Held
from kalends.domain.scope import Scope
from kalends.settings import QdrantSettings
from kalends.wire.generations import CurrentGeneration, SharedGenerations

pytestmark = pytest.mark.cluster

ALL = Criteria()


@pytest.fixture
async def settings() -> AsyncIterator[QdrantSettings]:
    """Settings with a prefix of this test's own."""
    async with fresh_settings() as found:
        yield found


@pytest.fixture
async def store(settings: QdrantSettings) -> AsyncIterator[QdrantGenerations]:
    """A store in which nothing has happened yet; OTHER, and its calendar, has a collection of its own."""
    async with open_generations(settings, identity="test", dimension=DIMENSION, dedicated=OTHER.key.__eq__) as opened:
        yield opened
        for name in await opened.names():
            await opened.drop(name)


async def put(index: QdrantVectors, name: str, *, scope: Scope = SCOPE, version: int = 1) -> None:
    """Write one event."""
    await index.put([vectors(entry(name, scope=scope, version=version), window(name))])


async def near(index: QdrantVectors, name: str, *, scope: Scope = SCOPE) -> list[str]:
    """The keys that answer."""
    return [hit.key for hit in await index.nearest(scope, direction(name), criteria=ALL, limit=5)]


async def names_on(settings: QdrantSettings) -> list[str]:
    """Every collection of this test, without its prefix."""
    connection = connect(settings)
    answer = await connection.client.get_collections()
    await connection.close()
    return sorted(one.name.removeprefix(f"{settings.prefix}-") for one in answer.collections if one.name.startswith(settings.prefix))


async def test_a_generation_is_made_pointed_to_and_dropped(store: QdrantGenerations, settings: QdrantSettings) -> None:
    """By names that say what they are; making it again changes nothing."""
    assert (await store.names(), await store.pointed()) == ([], None)
    await store.make("g1")
    await put(store.index("g1"), "a")
    await asyncio.gather(*(store.make("g1") for _ in range(4)))
    assert await near(store.index("g1"), "a") == [key_of("a")]
    await store.point("g1")
    assert (await store.names(), await store.pointed(), await names_on(settings)) == (["g1"], "g1", ["vector-test-g1"])
    await store.make("g2")
    await store.point("g2")
    await store.point("g2")
    assert (await store.names(), await store.pointed()) == (["g1", "g2"], "g2")
    assert await near(store.serving, "a") == []
    await store.drop("g1")
    await store.drop("g1")
    await store.drop("Not a name")
    assert await store.names() == ["g2"]


async def test_pointing_at_nothing_leaves_the_alias(store: QdrantGenerations) -> None:
    """And what is behind it goes on answering."""
    await store.make("g1")
    await store.point("g1")
    await put(store.index("g1"), "a")
    with pytest.raises(NotFound):
        await store.point("g2")
    assert await store.pointed() == "g1"
    assert await near(store.serving, "a") == [key_of("a")]


async def test_names_that_could_be_taken_for_another_are_refused(store: QdrantGenerations) -> None:
    """A generation must not look like a dedicated memory's collection."""
    for name in ("", "G1", "a/b", "x" * 41, f"g1-m-{OTHER.key}"):
        with pytest.raises(Invalid):
            await store.make(name)
        with pytest.raises(Invalid):
            store.index(name)


async def test_a_question_that_a_model_made_nothing_of_is_no_fault_of_whoever_asks(store: QdrantGenerations) -> None:
    """So it is an arm that fails; a server would take the vector and answer with anything."""
    await store.make("g1")
    broken = np.full(DIMENSION, np.nan, dtype=np.float32)
    for call in (
        store.index("g1").nearest(SCOPE, broken, criteria=ALL, limit=5),
        store.index("g1").late(SCOPE, broken[None, :], [key_of("a")]),
    ):
        with pytest.raises(Damaged):
            await call


async def test_the_generations_of_another_model_are_not_ours(store: QdrantGenerations, settings: QdrantSettings) -> None:
    """Also where its name begins like ours."""
    await store.make("g1")
    for identity in ("test-g2", "tes", "test_", "te/st"):
        async with open_generations(settings, identity=identity, dimension=DIMENSION) as other:
            assert await other.names() == []
            await other.make("g9")
            assert await other.names() == ["g9"]
            await other.drop("g9")
    assert await store.names() == ["g1"]


async def test_a_collection_of_another_length_is_a_wrong_setting(store: QdrantGenerations, settings: QdrantSettings) -> None:
    """Found when it is made, not when the first vector is refused."""
    await store.make("g1")
    async with open_generations(settings, identity="test", dimension=DIMENSION + 1) as other:
        with pytest.raises(Misconfigured, match="rebuild"):
            await other.make("g1")


async def test_a_crash_between_a_collection_and_its_indexes_is_mended(store: QdrantGenerations, settings: QdrantSettings) -> None:
    """Whoever makes it next finishes it."""
    connection = connect(settings)
    collections = Collections(connection, identity="test", dimension=DIMENSION)
    await collections._create(collections.name("g1"))
    await connection.close()
    with pytest.raises(Misconfigured):
        await put(store.index("g1"), "a")

    await store.make("g1")

    await put(store.index("g1"), "a")
    assert await near(store.index("g1"), "a") == [key_of("a")]


async def test_reads_go_on_while_the_alias_moves(store: QdrantGenerations) -> None:
    """Each is answered by one of the generations, none fails; with windows behind the first, which take a second look."""
    for name in ("g1", "g2", "g3", "g4"):
        await store.make(name)
        await store.index(name).put([vectors(entry("a", version=1), window("first"), window(name)), vectors(entry(name), window(name))])
    await store.point("g1")
    stop = asyncio.Event()
    seen: list[frozenset[str]] = []

    async def keep_asking() -> None:
        while not stop.is_set():
            seen.append(frozenset(await near(store.serving, "first")))

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(keep_asking())
        for name in ("g2", "g3", "g4", "g1", "g3"):
            await store.point(name)
            before = len(seen)
            while len(seen) < before + 12:
                await store.serving.count(SCOPE)
        stop.set()

    assert set(seen) <= {frozenset({key_of("a"), key_of(name)}) for name in ("g1", "g2", "g3", "g4")}
    assert len(set(seen)) > 1


async def test_late_writes_to_a_dropped_generation_fail(store: QdrantGenerations, settings: QdrantSettings) -> None:
    """And make nothing again, neither shared nor dedicated, whether the writer had written there before or not."""
    await store.make("g1")
    late = store.index("g1")
    await put(late, "a")
    await put(late, "a", scope=OTHER)
    await store.drop("g1")

    for scope in (SCOPE, OTHER):
        with pytest.raises(NotFound):
            await put(late, "b", scope=scope)
        with pytest.raises(Unavailable):
            await near(late, "b", scope=scope)
    with pytest.raises(NotFound):
        await late.put([], [])
    async with open_generations(settings, identity="test", dimension=DIMENSION, dedicated=OTHER.key.__eq__) as elsewhere:
        with pytest.raises(NotFound):
            await put(elsewhere.index("g1"), "b", scope=OTHER)
    assert await names_on(settings) == []


async def test_a_dedicated_memory_has_a_collection_of_its_own(store: QdrantGenerations, settings: QdrantSettings) -> None:
    """Made by its first write; its calendar lies in it too, and nobody else."""
    await store.make("g1")
    index = store.index("g1")
    assert await near(index, "a", scope=OTHER) == []
    assert await index.count(OTHER) == 0
    assert await index.late(OTHER, direction("a")[None, :], [key_of("a", scope=OTHER)]) == {}
    assert await index.held(OTHER.key, [key_of("a", scope=OTHER)]) == []
    assert await index.inventory(OTHER.key, after=None, limit=5) == []
    assert await names_on(settings) == ["vector-test-g1"]
    for scope in (SCOPE, OTHER, OTHER.calendar):
        await put(index, "a", scope=scope)

    assert await names_on(settings) == ["vector-test-g1", f"vector-test-g1-m-{OTHER.key}"]
    for scope in (SCOPE, OTHER, OTHER.calendar):
        assert await near(index, "a", scope=scope) == [key_of("a", scope=scope)]
        assert await index.count(scope) == 1
        assert await index.inventory(scope.key, after=None, limit=5) == [Held(key=key_of("a", scope=scope), version=1, live=True)]
    assert await index.scopes() == sorted([SCOPE.key, OTHER.key, OTHER.calendar.key])
    assert await store.names() == ["g1"]


async def test_the_digest_does_not_tell_where_a_memory_lies(store: QdrantGenerations, settings: QdrantSettings) -> None:
    """So a memory that is moved to a collection of its own can be compared with what it was."""
    await store.make("g1")
    async with open_generations(settings, identity="test", dimension=DIMENSION) as plain:
        await plain.make("g2")
        for index in (store.index("g1"), plain.index("g2")):
            await index.put([vectors(entry("a", version=3), window("a"), window("b"))], [tombstone("c", version=4, scope=OTHER)])
            await put(index, "d", scope=OTHER, version=5)
        assert await store.index("g1").digest() == await plain.index("g2").digest()


async def test_a_dedicated_memory_follows_the_alias(store: QdrantGenerations) -> None:
    """Also where the new generation holds nothing of it yet, and the old one is dropped meanwhile."""
    for name in ("g1", "g2"):
        await store.make(name)
    await store.point("g1")
    await put(store.index("g1"), "a", scope=OTHER)
    assert await near(store.serving, "a", scope=OTHER) == [key_of("a", scope=OTHER)]
    await store.point("g2")
    assert await near(store.serving, "a", scope=OTHER) == []
    await store.drop("g1")
    assert await near(store.serving, "a", scope=OTHER) == []
    await put(store.index("g2"), "b", scope=OTHER)
    assert await near(store.serving, "b", scope=OTHER) == [key_of("b", scope=OTHER)]
    assert (await store.serving.digest()).events == 1


async def test_removing_reaches_a_dedicated_memory(store: QdrantGenerations) -> None:
    """Its last event leaves an empty collection, which answers with nothing."""
    await store.make("g1")
    index = store.index("g1")
    await put(index, "a", scope=OTHER)
    held = await index.held(OTHER.key, [key_of("a", scope=OTHER)])
    assert await index.remove(SCOPE.key, held) == 0
    assert await index.remove(OTHER.key, held) == 1
    assert (await near(index, "a", scope=OTHER), await index.scopes()) == ([], [])


async def test_a_deletion_that_was_cut_short_is_finished(store: QdrantGenerations, settings: QdrantSettings) -> None:
    """What is left of a generation is none, is not in one that is made under its name, and goes with the next that is dropped."""
    await store.make("g1")
    await put(store.index("g1"), "a", scope=OTHER)
    await lose(settings, "g1")

    assert await store.names() == []
    await store.make("g1")
    assert await near(store.index("g1"), "a", scope=OTHER) == []
    await put(store.index("g1"), "a", scope=OTHER)
    await lose(settings, "g1")
    await store.make("g2")
    await put(store.index("g2"), "a", scope=OTHER)
    await store.drop("g3")
    assert await names_on(settings) == ["vector-test-g2", f"vector-test-g2-m-{OTHER.key}"]


async def lose(settings: QdrantSettings, name: str) -> None:
    """Delete the collection that memories share, and nothing beside it."""
    connection = connect(settings)
    await connection.client.delete_collection(f"{settings.prefix}-vector-test-{name}")
    await connection.close()


async def test_a_serving_generation_whose_shared_collection_is_gone_is_lost(store: QdrantGenerations, settings: QdrantSettings) -> None:
    """Also where a dedicated memory still has its own: the others have nothing, so it is built anew under another name."""
    generations = SharedGenerations(store, CurrentGeneration(MemoryRecords(), projection="vector"), dependency="vector")
    await generations.ensure()
    before = generations.current
    await put(store.serving, "a")
    await put(store.index(before), "a", scope=OTHER)
    assert not await generations.is_lost()
    await lose(settings, before)

    assert await generations.is_lost()
    for scope in (SCOPE, OTHER):
        with pytest.raises(Unavailable):
            await near(store.serving, "a", scope=scope)
    for call in (store.serving.digest(), store.serving.scopes(), store.serving.compact(), store.serving.purge()):
        with pytest.raises(Unavailable):
            await call
    await generations.ensure()
    assert generations.current != before
    assert await near(store.serving, "a") == []


async def test_quantization_is_turned_on_once_a_collection_has_grown(settings: QdrantSettings) -> None:
    """By the compaction, for the sentences' vectors only; answers stay."""
    import msgspec

    small = msgspec.structs.replace(settings, quantize_above=10)
    async with open_generations(small, identity="test", dimension=DIMENSION) as store:
        await store.make("g1")
        index = store.index("g1")
        connection = connect(small)
        collections = Collections(connection, identity="test", dimension=DIMENSION)
        for count, expected in ((5, False), (20, True)):
            await index.put([vectors(entry(f"n{number}"), window(f"n{number}")) for number in range(count)])
            before = await near(index, "n3")
            assert await index.compact() == 0
            params = (await connection.client.get_collection(collections.name("g1"))).config.params.vectors
            assert (params["dense"].quantization_config is not None, params["tokens"].quantization_config) == (expected, None)
            assert await near(index, "n3") == before
        assert await collections.quantize(collections.name("g1")) is False
        await connection.close()
        await store.drop("g1")


async def test_every_scope_is_listed_however_many_there_are(store: QdrantGenerations, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server lists so many values at a time."""
    monkeypatch.setattr("kalends.adapters.qdrant.vectors.MOST_FETCHED", 3)
    await store.make("g1")
    index = store.index("g1")
    scopes = [Scope(SCOPE.tenant, type(SCOPE.memory)(f"m{number}")) for number in range(10)]
    await index.put([vectors(entry("a", scope=scope), window("a")) for scope in scopes])

    assert await index.scopes() == sorted(scope.key for scope in scopes)
