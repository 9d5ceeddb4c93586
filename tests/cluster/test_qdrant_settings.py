"""What our collections are made of, as a server tells it back, and that what changes there comes back to it.

Belongs here: settings of a collection that no answer shows, because without them it is only slower, dearer or less safe. Does not belong
here: which collections there are (``test_qdrant_generations``). A newcomer would get wrong: our server keeps most of these settings and
does not act on them; what they do, only a real one shows.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from qdrant_client import models
from tests.contracts.projections import DIMENSION, OTHER, SCOPE, direction, entry, key_of, vectors, window
from tests.support.qdrant_wire.running import fresh_settings, shared_server

from kalends.adapters.qdrant.connection import connect
from kalends.adapters.qdrant.generations import QdrantGenerations, open_generations
from kalends.domain.queries import Criteria
from kalends.settings import QdrantSettings

pytestmark = pytest.mark.cluster

SHARED, OWN = "vector-test-g1", f"vector-test-g1-m-{OTHER.key}"
USUAL = (0.2, 1000)


@pytest.fixture
async def settings() -> AsyncIterator[QdrantSettings]:
    """Settings with a prefix of this test's own."""
    async with fresh_settings() as found:
        yield found


@asynccontextmanager
async def opened(settings: QdrantSettings, **changes: Any) -> AsyncIterator[QdrantGenerations]:
    """A store on that server; OTHER has a collection of its own."""
    known = msgspec.structs.replace(settings, **changes)
    async with open_generations(known, identity="test", dimension=DIMENSION, dedicated=OTHER.key.__eq__) as store:
        yield store


@pytest.fixture
async def store(settings: QdrantSettings) -> AsyncIterator[QdrantGenerations]:
    """A store with one generation, which serves, and an event of each memory."""
    async with opened(settings) as made:
        await made.make("g1")
        await made.point("g1")
        await put(made)
        yield made
        await made.drop("g1")


async def put(store: QdrantGenerations) -> None:
    """Write an event of each memory."""
    await store.index("g1").put([vectors(entry("a", scope=scope), window("a")) for scope in (SCOPE, OTHER)])


async def near(store: QdrantGenerations) -> list[list[str]]:
    """The keys that answer, of each memory."""
    return [
        [hit.key for hit in await store.serving.nearest(scope, direction("a"), criteria=Criteria(), limit=5)] for scope in (SCOPE, OTHER)
    ]


FOUND = [[key_of("a", scope=scope)] for scope in (SCOPE, OTHER)]


async def told(settings: QdrantSettings, name: str) -> models.CollectionInfo:
    """What the server says of a collection."""
    connection = connect(settings)
    info: models.CollectionInfo = await connection.client.get_collection(f"{settings.prefix}-{name}")
    await connection.close()
    return info


async def optimizing(settings: QdrantSettings, name: str) -> tuple[float | None, int | None]:
    """From which share of deleted points on, and from how many points on, the server rewrites a segment."""
    config = (await told(settings, name)).config.optimizer_config
    return config.deleted_threshold, config.vacuum_min_vector_number


@pytest.mark.parametrize("name", [SHARED, OWN])
async def test_a_collection_has_one_graph_for_each_scope_and_none_over_all(
    store: QdrantGenerations, settings: QdrantSettings, name: str
) -> None:
    """Only the scope is a tenant, and no other field has graphs; token vectors are asked for by key and have none."""
    info = await told(settings, name)
    assert (info.config.hnsw_config.m, info.config.hnsw_config.payload_m) == (0, 16)
    params: Any = info.config.params.vectors
    assert (params["dense"].distance, params["dense"].on_disk, params["dense"].size) == (models.Distance.COSINE, True, DIMENSION)
    tokens = params["tokens"]
    assert (tokens.distance, tokens.datatype, tokens.on_disk) == (models.Distance.DOT, models.Datatype.FLOAT16, True)
    assert (tokens.hnsw_config.m, tokens.hnsw_config.payload_m) == (0, 0)
    assert tokens.multivector_config.comparator == models.MultiVectorComparator.MAX_SIM

    fields: dict[str, Any] = {field: one.params for field, one in info.payload_schema.items()}
    assert set(fields) == {"scope", "key", "lead", "grave", "tags", "at", "version"}
    assert fields["scope"].is_tenant is True
    assert [field for field, one in fields.items() if field != "scope" and (getattr(one, "is_tenant", None) or one.enable_hnsw)] == []
    assert [(fields[name].lookup, fields[name].range) for name in ("at", "version")] == [(False, True)] * 2


@pytest.mark.parametrize("name", [SHARED, OWN])
async def test_a_collection_refuses_what_this_program_never_does(store: QdrantGenerations, settings: QdrantSettings, name: str) -> None:
    """A filter by a field without an index would read everybody's points."""
    strict = (await told(settings, name)).config.strict_mode_config

    assert strict is not None
    assert (strict.enabled, strict.max_query_limit, strict.max_timeout, strict.upsert_max_batchsize) == (True, 8192, 30, 1000)
    assert (strict.unindexed_filtering_retrieve, strict.unindexed_filtering_update) == (False, False)
    assert (strict.search_allow_exact, strict.search_max_oversampling) == (False, 2.0)


async def test_a_write_counts_when_most_replicas_have_it() -> None:
    """Unless a setting says how many; of our own server only: a real one that is alone has no replicas."""
    cases: list[tuple[dict[str, int], int]] = [({}, 2), ({"write_consistency": 3}, 3), ({"write_consistency": 7}, 3), ({"replicas": 1}, 1)]
    for number, (changes, expected) in enumerate(cases):
        settings = shared_server().settings(**{"replicas": 3, "shards": 2, **changes})
        async with opened(settings) as store:
            await store.make(f"g{number}")
            params = (await told(settings, f"vector-test-g{number}")).config.params
            assert (params.shard_number, params.replication_factor, params.write_consistency_factor) == (2, settings.replicas, expected)
            assert params.on_disk_payload is True


async def test_a_server_is_as_eager_as_before_after_a_purge(store: QdrantGenerations, settings: QdrantSettings) -> None:
    """Also after two at once, and after one that was killed in the middle."""
    assert [await optimizing(settings, name) for name in (SHARED, OWN)] == [USUAL] * 2
    await asyncio.gather(store.serving.purge(), store.serving.purge(), store.serving.purge(OTHER.key))
    assert [await optimizing(settings, name) for name in (SHARED, OWN)] == [USUAL] * 2

    connection = connect(settings)
    left = models.OptimizersConfigDiff(deleted_threshold=0.0, vacuum_min_vector_number=100)
    await connection.client.update_collection(f"{settings.prefix}-{OWN}", optimizers_config=left)
    await connection.close()
    assert await optimizing(settings, OWN) == (0.0, 100)
    await store.serving.purge(OTHER.key)

    assert await optimizing(settings, OWN) == USUAL
    assert await near(store) == FOUND


async def test_reads_may_take_longer_than_writes(settings: QdrantSettings) -> None:
    """A collection lets the longest of our deadlines pass."""
    async with opened(settings, deadline_s=44.5, write_deadline_s=10.0) as store:
        await store.make("g1")
        await store.point("g1")
        await put(store)
        assert await near(store) == FOUND
        assert (await store.serving.digest()).events == 2
        await store.drop("g1")


async def test_a_longer_deadline_reaches_collections_that_are_there(store: QdrantGenerations, settings: QdrantSettings) -> None:
    """The shared one when it is pointed to, a dedicated one with the next write; a shorter one takes nothing back."""
    async with opened(settings, deadline_s=44.5) as patient:
        await patient.point("g1")
        await put(patient)
        assert await near(patient) == FOUND
    async with opened(settings, deadline_s=1.0, write_deadline_s=2.0) as hasty:
        await hasty.point("g1")
    for name in (SHARED, OWN):
        strict = (await told(settings, name)).config.strict_mode_config
        assert strict is not None
        assert (strict.max_timeout, strict.max_query_limit, strict.search_allow_exact) == (45, 8192, False)
