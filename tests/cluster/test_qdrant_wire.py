"""What a Qdrant 1.19 server was seen to answer: each row is asked of our test server, and of a real one where there is one.

Belongs here: the client's own calls, without the adapter. Does not belong here: what Kalends makes of the answers. A newcomer would get
wrong: a row that fails on a real server and holds on ours means that ours is to be mended, and the adapter with it.
"""

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from qdrant_client import models
from tests.support.qdrant_wire.running import WireServer, fresh_prefix, real_settings, with_real

from kalends.adapters.qdrant.connection import Connection, connect

pytestmark = pytest.mark.cluster

LENGTH = 4
UP, RIGHT = [1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]
ONE, TWO, THREE = (str(uuid.UUID(int=number)) for number in (1, 2, 3))


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WireServer]:
    """Our server."""
    with WireServer(tmp_path_factory.mktemp("wire")) as server:
        yield server


@pytest.fixture(params=with_real("wire"))
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """Each server's client in turn."""
    settings = real_settings() if request.param == "qdrant" else request.getfixturevalue("wire").settings()
    assert settings is not None
    connection = connect(settings)
    yield connection.client
    await connection.close()


@pytest.fixture
async def collection(client: Any) -> AsyncIterator[str]:
    """A collection as Kalends makes them, with fields ``memory`` and ``version`` to filter by."""
    name = fresh_prefix()
    await create(client, name)
    yield name
    await client.delete_collection(name)


async def create(client: Any, name: str, **strict: Any) -> None:
    """Make a collection."""
    await client.create_collection(
        name,
        vectors_config={
            "dense": models.VectorParams(size=LENGTH, distance=models.Distance.COSINE, on_disk=True),
            "tokens": models.VectorParams(
                size=LENGTH,
                distance=models.Distance.DOT,
                datatype=models.Datatype.FLOAT16,
                on_disk=True,
                hnsw_config=models.HnswConfigDiff(m=0),
                multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM),
            ),
        },
        hnsw_config=models.HnswConfigDiff(m=0, payload_m=16),
        strict_mode_config=models.StrictModeConfig(
            enabled=True, max_query_limit=200, unindexed_filtering_retrieve=False, unindexed_filtering_update=False, **strict
        ),
    )
    keyword = models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True)
    await client.create_payload_index(name, "memory", field_schema=keyword, wait=True)
    await client.create_payload_index(name, "version", field_schema=models.PayloadSchemaType.INTEGER, wait=True)


def point(name: str = ONE, *, version: int = 1, memory: str = "m", **vectors: Any) -> models.PointStruct:
    """A point."""
    return models.PointStruct(id=name, vector=vectors or {"dense": UP}, payload={"memory": memory, "version": version})


def older(version: int) -> models.Filter:
    """The guard of a write."""
    return models.Filter(must=[models.FieldCondition(key="version", range=models.Range(lt=version))])


def of(memory: str) -> models.Filter:
    """Everything of one memory."""
    return models.Filter(must=[models.FieldCondition(key="memory", match=models.MatchValue(value=memory))])


def alias_of(collection: str, alias: str) -> models.CreateAliasOperation:
    """The action that makes an alias."""
    return models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name=collection, alias_name=alias))


async def held(client: Any, collection: str, *ids: str) -> dict[str, int]:
    """The versions that are held, by id."""
    records = await client.retrieve(collection, list(ids), with_payload=True)
    return {record.id: record.payload["version"] for record in records}


async def refusal(call: Any) -> grpc.StatusCode:
    """The status with which *call* is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    code: grpc.StatusCode = caught.value.code()
    return code


async def test_asking_a_missing_collection_is_not_found(client: Any) -> None:
    """Also writing to it: a server makes no collection by itself."""
    name = fresh_prefix()
    assert await refusal(client.query_points(name, query=UP, using="dense")) is grpc.StatusCode.NOT_FOUND
    assert await refusal(client.upsert(name, [point()])) is grpc.StatusCode.NOT_FOUND
    assert await client.collection_exists(name) is False
    assert await client.delete_collection(name) is False


async def test_what_does_not_fit_the_vectors_is_an_invalid_argument(client: Any, collection: str) -> None:
    """Another length, another name, an id that is neither a UUID nor a number."""
    calls = [
        client.upsert(collection, [point(dense=[1.0])]),
        client.upsert(collection, [point(tokens=[[1.0]])]),
        client.upsert(collection, [point(other=UP)]),
        client.upsert(collection, [point("no-id")]),
        client.query_points(collection, query=[1.0], using="dense"),
        client.query_points(collection, query=UP, using="other"),
    ]
    assert [await refusal(call) for call in calls] == [grpc.StatusCode.INVALID_ARGUMENT] * 6


async def test_strict_mode_refuses_as_an_invalid_argument(client: Any, collection: str) -> None:
    """A limit that is too large, and a filter by a field without an index, in reading and in writing."""
    unindexed = models.Filter(must=[models.FieldCondition(key="other", match=models.MatchValue(value="x"))])
    calls = [
        client.query_points(collection, query=UP, using="dense", limit=201),
        client.scroll(collection, limit=201),
        client.query_points(collection, query=UP, using="dense", query_filter=unindexed),
        client.count(collection, unindexed),
        client.delete(collection, models.FilterSelector(filter=unindexed)),
        client.upsert(collection, [point()], update_filter=unindexed),
    ]
    assert [await refusal(call) for call in calls] == [grpc.StatusCode.INVALID_ARGUMENT] * 6
    await client.query_points(collection, query=UP, using="dense", limit=200, query_filter=of("m"))


async def test_a_batch_may_be_large_unless_strict_mode_says_how_large(client: Any, collection: str) -> None:
    """1,500 points in one call."""
    many = [point(str(uuid.UUID(int=number + 1))) for number in range(1500)]
    await client.upsert(collection, many, wait=True)
    assert (await client.count(collection, exact=True)).count == 1500

    strict = fresh_prefix()
    await create(client, strict, upsert_max_batchsize=10)
    assert await refusal(client.upsert(strict, many[:11])) is grpc.StatusCode.INVALID_ARGUMENT
    await client.upsert(strict, many[:10])
    await client.delete_collection(strict)


async def test_a_call_may_not_ask_for_more_time_than_strict_mode_allows(client: Any) -> None:
    """Whatever it reads; as much as is allowed is taken."""
    name = fresh_prefix()
    await create(client, name, max_timeout=5)
    calls = [
        client.query_points(name, query=UP, using="dense", timeout=6),
        client.scroll(name, timeout=6),
        client.count(name, timeout=6),
        client.facet(name, "memory", timeout=6),
    ]
    assert [await refusal(call) for call in calls] == [grpc.StatusCode.INVALID_ARGUMENT] * 4
    assert (await client.count(name, timeout=5)).count == 0

    await client.update_collection(name, strict_mode_config=models.StrictModeConfig(enabled=True, max_timeout=6, max_query_limit=200))
    assert (await client.count(name, timeout=6)).count == 0
    await client.delete_collection(name)


async def test_no_key_and_a_wrong_one_are_unauthenticated(tmp_path: Path) -> None:
    """Of our own server only: a real one's key is not ours to change."""
    key = tmp_path / "key"
    key.write_text("right", encoding="utf-8")
    wrong = tmp_path / "wrong"
    wrong.write_text("left", encoding="utf-8")
    with WireServer(tmp_path / "data", "--api-key-file", str(key)) as server:
        for path, fits in ((key, True), (wrong, False), (None, False)):
            connection = connect(server.settings(api_key_file=str(path) if path else ""))
            if fits:
                assert (await connection.client.get_collections()).collections == []
            else:
                assert await refusal(connection.client.get_collections()) is grpc.StatusCode.UNAUTHENTICATED
            await connection.close()


async def test_a_name_is_taken_once(client: Any, collection: str) -> None:
    """By a collection, or by an alias of the same name."""
    assert await refusal(create(client, collection)) is grpc.StatusCode.ALREADY_EXISTS
    assert await refusal(client.update_collection_aliases([alias_of(collection, collection)])) is grpc.StatusCode.ALREADY_EXISTS


async def test_what_is_not_there_is_not_in_the_answer(client: Any, collection: str) -> None:
    """Neither read nor deleted, and no error."""
    assert await client.retrieve(collection, [ONE]) == []
    deleted = await client.delete(collection, models.PointIdsList(points=[ONE]), wait=True)
    assert deleted.status == models.UpdateStatus.COMPLETED


async def test_a_nan_is_taken(client: Any, collection: str) -> None:
    """So whoever writes has to look for it."""
    result = await client.upsert(collection, [point(dense=[float("nan"), 0.0, 0.0, 0.0])], wait=True)
    assert result.status == models.UpdateStatus.COMPLETED
    assert await held(client, collection, ONE) == {ONE: 1}


async def test_a_vector_of_zeros_is_taken(client: Any, collection: str) -> None:
    """Though it has no direction."""
    result = await client.upsert(collection, [point(dense=[0.0] * LENGTH)], wait=True)
    assert result.status == models.UpdateStatus.COMPLETED


async def test_an_alias_is_moved_in_one_call(client: Any, collection: str) -> None:
    """Deleted and made; it can be read and written through like its collection."""
    other, alias = fresh_prefix(), fresh_prefix()
    await create(client, other)
    await client.upsert(other, [point(TWO)], wait=True)
    make = {
        name: models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name=name, alias_name=alias))
        for name in (collection, other)
    }
    assert await client.update_collection_aliases([make[collection]]) is True
    await client.upsert(alias, [point(ONE)], wait=True)
    assert await held(client, alias, ONE, TWO) == {ONE: 1}

    delete = models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias))
    assert await client.update_collection_aliases([delete, make[other]]) is True
    assert await held(client, alias, ONE, TWO) == {TWO: 1}
    assert {one.alias_name: one.collection_name for one in (await client.get_aliases()).aliases}[alias] == other
    assert [one.name for one in (await client.get_collections()).collections if one.name == alias] == []
    # a collection takes its aliases with it
    await client.delete_collection(other)
    assert alias not in {one.alias_name for one in (await client.get_aliases()).aliases}


async def test_the_guard_lets_only_the_newer_pass(client: Any, collection: str) -> None:
    """What is held and newer stays, and the call is a success; what is not held yet is written whatever the filter says."""
    for version, expected in ((5, 5), (4, 5), (5, 5), (6, 6)):
        result = await client.upsert(collection, [point(version=version)], wait=True, update_filter=older(version))
        assert (result.status, await held(client, collection, ONE)) == (models.UpdateStatus.COMPLETED, {ONE: expected})
    await client.upsert(collection, [point(version=5), point(TWO, version=5)], wait=True, update_filter=older(5))
    assert await held(client, collection, ONE, TWO) == {ONE: 6, TWO: 5}


async def test_a_guard_may_be_another_for_each_point(client: Any, collection: str) -> None:
    """One filter with a clause for each; what no clause is about stays."""
    await client.upsert(collection, [point(ONE, version=3, memory="a"), point(TWO, version=3, memory="b")], wait=True)
    clauses = [models.Filter(must=[*(of(memory).must or []), *(older(version).must or [])]) for memory, version in (("a", 2), ("b", 9))]
    batch = [point(ONE, version=2, memory="a"), point(TWO, version=9, memory="b"), point(THREE, version=1, memory="c")]
    await client.upsert(collection, batch, wait=True, update_filter=models.Filter(should=clauses))
    assert await held(client, collection, ONE, TWO, THREE) == {ONE: 3, TWO: 9, THREE: 1}

    await client.delete(collection, models.FilterSelector(filter=models.Filter(should=clauses)), wait=True)
    assert await held(client, collection, ONE, TWO, THREE) == {ONE: 3, TWO: 9, THREE: 1}
    await client.delete(collection, models.FilterSelector(filter=older(4)), wait=True)
    assert await held(client, collection, ONE, TWO, THREE) == {TWO: 9}


async def test_insert_only_changes_nothing_that_is_there(client: Any, collection: str) -> None:
    """And reports success."""
    await client.upsert(collection, [point(version=1)], wait=True)
    result = await client.upsert(collection, [point(version=9)], wait=True, update_mode=models.UpdateMode.INSERT_ONLY)
    assert (result.status, await held(client, collection, ONE)) == (models.UpdateStatus.COMPLETED, {ONE: 1})


async def test_an_upsert_replaces_the_whole_point(client: Any, collection: str) -> None:
    """A vector that it leaves out is gone."""
    await client.upsert(collection, [point(dense=UP, tokens=[UP])], wait=True)
    await client.upsert(collection, [point(dense=RIGHT)], wait=True)
    assert (await client.query_points(collection, query=[UP], using="tokens", query_filter=of("m"))).points == []


async def test_late_interaction_leaves_out_what_has_no_tokens(client: Any, collection: str) -> None:
    """Whoever asks has to keep its other score."""
    await client.upsert(collection, [point(ONE, dense=UP, tokens=[UP, RIGHT]), point(TWO, dense=UP)], wait=True)
    hits = (await client.query_points(collection, query=[UP, RIGHT], using="tokens", query_filter=of("m"))).points
    assert [(hit.id, pytest.approx(hit.score, abs=1e-2)) for hit in hits] == [(ONE, 2.0)]


async def test_scrolling_is_by_id_from_the_offset_on(client: Any, collection: str) -> None:
    """The offset included, whether it is there or not; relied on by every inventory."""
    await client.upsert(collection, [point(one) for one in (THREE, ONE)], wait=True)
    records, following = await client.scroll(collection, limit=1)
    assert ([record.id for record in records], following) == ([ONE], THREE)
    assert [record.id for record in (await client.scroll(collection, offset=TWO, limit=5))[0]] == [THREE]
    assert [record.id for record in (await client.scroll(collection, offset=THREE, limit=5))[0]] == [THREE]


async def test_facets_say_what_values_a_field_has(client: Any, collection: str) -> None:
    """Of what a filter lets through; of what was deleted nothing is left."""
    await client.upsert(collection, [point(ONE, memory="a"), point(TWO, memory="b"), point(THREE, memory="b")], wait=True)
    await client.delete(collection, models.PointIdsList(points=[TWO]), wait=True)
    hits = (await client.facet(collection, "memory", limit=10, exact=True)).hits
    assert {hit.value: hit.count for hit in hits} == {"a": 1, "b": 1}
    others = models.Filter(must_not=of("a").must)
    assert [hit.value for hit in (await client.facet(collection, "memory", facet_filter=others, limit=10, exact=True)).hits] == ["b"]


async def test_the_settings_of_a_collection_can_be_read_back(client: Any, collection: str) -> None:
    """And quantization be turned on later, for one of its vectors."""
    before = (await client.get_collection(collection)).config.params
    assert {name: params.size for name, params in before.vectors.items()} == {"dense": LENGTH, "tokens": LENGTH}
    assert before.vectors["dense"].quantization_config is None
    scalar = models.ScalarQuantization(scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8))
    await client.update_collection(collection, vectors_config={"dense": models.VectorParamsDiff(quantization_config=scalar)})
    after = (await client.get_collection(collection)).config.params
    assert after.vectors["dense"].quantization_config is not None
    assert after.vectors["tokens"].quantization_config is None
    eager = models.OptimizersConfigDiff(deleted_threshold=0.0, vacuum_min_vector_number=100)
    await client.update_collection(collection, optimizers_config=eager)
    told = (await client.get_collection(collection)).config.optimizer_config
    assert (told.deleted_threshold, told.vacuum_min_vector_number) == (0.0, 100)


async def test_a_call_that_is_not_known_says_so(wire: WireServer) -> None:
    """Ours does a fraction of what a real one does; the rest is refused and not pretended."""
    connection: Connection = connect(wire.settings())
    assert await refusal(connection.client.list_snapshots(fresh_prefix())) is grpc.StatusCode.UNIMPLEMENTED
    await connection.close()


async def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    """Points, indexes, strict mode and aliases; of our own server only."""
    with WireServer(tmp_path / "data") as server:
        connection = connect(server.settings())
        client, name, alias = connection.client, fresh_prefix(), fresh_prefix()
        await create(client, name)
        await client.update_collection_aliases([alias_of(name, alias)])
        for number in range(20):
            await client.upsert(alias, [point(str(uuid.UUID(int=number)), version=number)], wait=True)
        server.kill()
        server.start()
        await connection.close()
        connection = connect(server.settings())
        client = connection.client
        assert await held(client, alias, *(str(uuid.UUID(int=number)) for number in range(20))) == {
            str(uuid.UUID(int=number)): number for number in range(20)
        }
        assert (await client.count(alias, older(5), exact=True)).count == 5
        assert await refusal(client.scroll(alias, limit=201)) is grpc.StatusCode.INVALID_ARGUMENT
        await connection.close()
