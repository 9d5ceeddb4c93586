"""Dedicated memories on servers: a stream on three NATS nodes, an OpenSearch index and a Qdrant collection of their own.

Belongs here: where things lie, and that a rebuild, an erasure and a new process keep them there. Does not belong here: the adapters by
themselves (``test_generation_stores``, ``test_qdrant_generations``), or the log (``tests/contracts/dedicated``). A newcomer would
get wrong: index and search are processes of their own and hear of a memory that ingest has made only by its stream.
"""

import asyncio
import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.deployment import Deployment, deployed
from tests.support.instance import wait_until

from kalends.adapters.qdrant.connection import connect
from kalends.domain.positions import stream_of_own, visibility_floors
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.settings import QdrantSettings

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(420)]
OWN, SHARED = (Scope(Tenant("local"), MemoryName(name)) for name in ("own", "beside"))
LONG_AGO = "2022-02-02T12:00:00Z"
EVENTS = 8
PROCESSES = ("ingest", "index", "search", "summarize", "scheduler")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """One process of each role, and a memory of each kind with a calendar."""
    settings = {"KALENDS_SUMMARIZE__SETTLE_S": "0", "KALENDS_ERASURE__FENCE_S": "0.5", "KALENDS_LOG__REPLICAS": "3"}
    with deployed(tmp_path_factory.mktemp("dedicated") / "cluster", *PROCESSES, nodes=3, settings=settings) as made:
        for scope in (OWN, SHARED):
            tell(made, scope)
        with made.api("index") as api:
            assert wait_until(lambda: api.digests()["toc"] == api_of_nodes(made), seconds=90)
            api.quiet()
        yield made


def api_of_nodes(made: Deployment) -> str:
    """The calendar as whoever keeps it has it, once it has a year for both memories."""
    with made.api("summarize") as keeper, made.api("search") as api:
        years = [api.ask("GET", f"/memories/{scope.memory}/toc/toc:year:2022").status for scope in (OWN, SHARED)]
        return keeper.digests()["toc"] if years == [200, 200] else "not yet"


def tell(made: Deployment, scope: Scope) -> None:
    """Make a memory and write to it at once."""
    with made.api("ingest") as api:
        api.make_memory(scope.memory, isolation="dedicated" if scope is OWN else "shared")
        items = [
            {"session_id": f"s-{number % 2}", "kind": "message", "text": f"the {scope.memory} curlew {number}", "occurred_at": LONG_AGO}
            for number in range(EVENTS)
        ]
        reply = api.append(scope.memory, items)
    assert reply.status == 202, reply
    seen = found(made, scope, visibility=reply.body["visibility"])
    assert {f"the {scope.memory} curlew {number}" for number in range(EVENTS)} == set(seen)
    assert set(visibility_floors(reply.body["visibility"])) == ({stream_of_own(OWN)} if scope is OWN else {"EVENTS_0"})


def found(made: Deployment, scope: Scope, *, mode: str = "hybrid", visibility: str | None = None) -> list[str]:
    """The texts that a search finds."""
    more = {} if visibility is None else {"min_visibility": visibility, "timeout_ms": 30_000}
    with made.api("search") as api:
        body = {"query": "curlew", "mode": mode, "limit": 50, **more}
        return [hit["text"] for hit in api.good("POST", f"/memories/{scope.memory}/search", body)["hits"]]


def scopes_in(made: Deployment) -> dict[str, set[str]]:
    """The OpenSearch indexes, without the prefix, and the keys of the scopes that have entries there."""
    made.opensearch.ask("POST", f"/{made.prefix}-*/_refresh")
    body = {"size": 1000, "_source": ["scope"]}
    told: Any = made.opensearch.ask("POST", f"/{made.prefix}-lexical-*/_search", body)
    indexes: Any = made.opensearch.ask("GET", f"/{made.prefix}-lexical-*")
    kept: dict[str, set[str]] = {name: set() for name in indexes}
    for hit in told["hits"]["hits"]:
        kept[hit["_index"]].add(hit["_source"]["scope"])
    return kept


def collections(made: Deployment) -> set[str]:
    """The Qdrant collections."""

    async def ask() -> set[str]:
        connection = connect(QdrantSettings(url=made.settings["KALENDS_QDRANT__URL"], prefix=made.prefix))
        try:
            return {one.name for one in (await connection.client.get_collections()).collections}
        finally:
            await connection.client.close()

    return asyncio.run(ask())


def apart(made: Deployment) -> bool:
    """Whether the dedicated memory, its calendar included, is in indexes of its own, and nothing else is there."""
    kept = scopes_in(made)
    own = {name for name in kept if name.endswith(f"-m-{OWN.key}")}
    keys_of_own = {key for name in own for key in kept[name]}
    keys_of_others = {key for name in kept.keys() - own for key in kept[name]}
    mine, theirs = ({scope.key, scope.calendar.key} for scope in (OWN, SHARED))
    in_qdrant = [name for name in collections(made) if name.endswith(f"-m-{OWN.key}")]
    return keys_of_own == mine and keys_of_others == theirs and len(own) == len(in_qdrant) == 1


def test_it_has_a_stream_an_index_and_a_collection_of_its_own(cluster: Deployment) -> None:
    """On three replicas; of the calendar, too; and its neighbour is in none of them."""
    assert wait_until(lambda: apart(cluster), seconds=30), (scopes_in(cluster), collections(cluster))
    for scope in (OWN, SHARED):
        for mode in ("lexical", "vector"):
            texts = found(cluster, scope, mode=mode)
            assert len(texts) == EVENTS
            assert all(scope.memory in text for text in texts)


def test_a_rebuild_keeps_it_apart(cluster: Deployment) -> None:
    """The new generation has indexes of its own for it, and those of the old one are gone."""
    before = scopes_in(cluster).keys()
    with cluster.api("index") as api:
        api.rebuild()
        api.quiet()

    assert wait_until(lambda: apart(cluster), seconds=60, every=0.5), (scopes_in(cluster), collections(cluster))
    assert not before & scopes_in(cluster).keys()
    assert len(found(cluster, OWN)) == EVENTS


def test_a_comparison_finds_nothing_to_mend(cluster: Deployment) -> None:
    """What is in indexes of their own is looked at like the rest."""
    with cluster.api("scheduler") as jobs:
        jobs.run_job("reconcile")
        said = json.dumps(jobs.job("reconcile"))
    assert '"failed"' not in said, said
    assert apart(cluster), said


def test_a_search_that_starts_anew_knows_it(cluster: Deployment) -> None:
    """From the log; with a data folder that was emptied meanwhile."""
    cluster.stop(["search"])
    shutil.rmtree(cluster.folder / "search")
    cluster.again("search")

    assert wait_until(lambda: len(found(cluster, OWN)) == EVENTS, seconds=60)


def test_an_erasure_reaches_its_stream_and_its_indexes(cluster: Deployment) -> None:
    """One session first, then everything; the neighbour stays whole."""
    for selector, left in (({"session_id": "s-0"}, EVENTS // 2), ({"everything": True}, 0)):
        with cluster.api("ingest") as api:
            begun = api.good("POST", f"/memories/{OWN.memory}/erasures", selector)
            told: dict[str, Any] = {}

            def over(erasure: str = begun["erasure_id"], told: dict[str, Any] = told) -> bool:
                with cluster.api("ingest") as asked:
                    told.update(asked.good("GET", f"/memories/{OWN.memory}/erasures/{erasure}"))
                return bool(told["state"] == "erased")

            assert wait_until(over, seconds=180, every=0.5), (told, cluster.processes["index"].last_words[-3000:])
            assert told["counts"]["timeline"] >= EVENTS // 2
        assert len(found(cluster, OWN)) == left
    assert len(found(cluster, SHARED)) == EVENTS
    live = [name for name, keys in scopes_in(cluster).items() if SHARED.key in keys]
    assert len(live) == 1
