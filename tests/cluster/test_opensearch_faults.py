"""An OpenSearch that is killed, loses a shard, fills its disk, hangs or is too busy: nothing acknowledged is lost, and no outage lies.

Belongs here: one node of the tests' own, and the lines to it. Does not belong here: several nodes (``test_opensearch_cluster``). A newcomer
would get wrong: the node is started once for all tests here, so every test leaves it running and healthy.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from typing import Any

import msgspec
import pytest
from tests.contracts.projections import OTHER, SCOPE, entry, key_of, swept, tombstone
from tests.support.files import files_with
from tests.support.lines import Lines
from tests.support.opensearch.nodes import Node
from tests.support.opensearch.stores import made, settings_of
from tests.support.proxy import relay
from tests.support.records import MemoryRecords
from tests.support.waiting import until

from kalends.adapters.opensearch import OpenSearchClient, OpenSearchGenerations, OpenSearchLexicon, open_generations, scanning
from kalends.adapters.opensearch.schema import FORMAT
from kalends.domain.errors import DeadlineExceeded, Invalid, KalendsError, Misconfigured, Unavailable
from kalends.domain.queries import Criteria
from kalends.domain.scope import MemoryName, Scope
from kalends.settings import OpensearchSettings
from kalends.wire.generations import CurrentGeneration, SharedGenerations

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

ALL = Criteria()
OUTAGE = (Unavailable, DeadlineExceeded)
PATIENCE_S = 180.0
THIRD = Scope(SCOPE.tenant, MemoryName("third"))
SMALL_QUEUE = {"node.processors": "1", "thread_pool.write.queue_size": "2"}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node that the tests here may do anything to; it takes two bulks at a time beside the running one."""
    with Node(tmp_path_factory.mktemp("node") / "n1", settings=SMALL_QUEUE) as started:
        yield started.start()


@pytest.fixture
async def settings(node: Node) -> AsyncIterator[OpensearchSettings]:
    """Settings for a place of the test's own on the node."""
    known = settings_of(node)
    yield known
    await asyncio.to_thread(node.ask, "DELETE", f"/{known.prefix}-*")


@asynccontextmanager
async def serving(settings: OpensearchSettings) -> AsyncIterator[OpenSearchLexicon]:
    """The serving index of a store with one generation."""
    async with open_generations(settings) as store:
        yield (await made(store)).serving


async def keys_held(lexicon: OpenSearchLexicon) -> set[str]:
    """Everything that is held of the scope."""
    return {one.key for one in await lexicon.inventory(SCOPE.key, after=None, limit=100_000)}


async def writes_again(lexicon: OpenSearchLexicon) -> bool:
    """Whether the probe says that writing works."""
    try:
        await lexicon.put([], [])
    except OUTAGE:
        return False
    return True


async def test_killing_the_node_during_writes_loses_nothing_that_was_acknowledged(node: Node, settings: OpensearchSettings) -> None:
    """The writers are told, the same client goes on after the restart, and what failed can be written again."""
    acknowledged: set[str] = set()
    failed: list[KalendsError] = []

    async def keep_writing(lexicon: OpenSearchLexicon, writer: int) -> None:
        for number in range(10_000):
            names = [f"{writer}-{number}-{place}" for place in range(20)]
            try:
                await lexicon.put([entry(name, f"a note of {name}") for name in names])
            except OUTAGE as error:
                failed.append(error)
                return
            acknowledged.update(names)

    async with serving(settings) as lexicon:
        async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
            for writer in range(3):
                group.create_task(keep_writing(lexicon, writer))
            await until(lambda: len(acknowledged) > 300, deadline=PATIENCE_S)
            await asyncio.to_thread(node.kill)
        assert len(failed) == 3
        with pytest.raises(OUTAGE):
            await lexicon.search(SCOPE, "note", criteria=ALL, limit=1)
        await asyncio.to_thread(node.start)
        await until(lambda: writes_again(lexicon), deadline=PATIENCE_S)

        assert {key_of(name) for name in acknowledged} <= await keys_held(lexicon)
        await lexicon.put([entry("later", "written after the crash")])
        assert [hit.key for hit in await lexicon.search(SCOPE, "crash", criteria=ALL, limit=5)] == [key_of("later")]


async def test_a_lost_shard_is_an_outage_and_not_an_empty_memory(node: Node, settings: OpensearchSettings) -> None:
    """The health is red: reads, writes and the probe all say so, until the index is made anew."""
    known = msgspec.structs.replace(settings, shards=1)
    # a write waits for the shard until its deadline
    hasty = msgspec.structs.replace(known, bulk_deadline_s=5.0)
    async with open_generations(known) as store, open_generations(hasty) as impatient:
        await (await made(store)).serving.put([entry("a", "billing")])
        lexicon = impatient.serving
        told = await asyncio.to_thread(node.ask, "GET", f"/{settings.prefix}-lexical-g1/_settings")
        uuid = told[f"{settings.prefix}-lexical-g1"]["settings"]["index"]["uuid"]
        await asyncio.to_thread(node.stop)
        for path in (node.folder / "data").rglob(f"indices/{uuid}/0/index"):
            shutil.rmtree(path)
            path.mkdir()
        await asyncio.to_thread(node.spawn)
        await asyncio.to_thread(node.ready, status="red")

        for attempt in (
            lexicon.put([], []),
            lexicon.search(SCOPE, "billing", criteria=ALL, limit=5),
            lexicon.count(SCOPE),
            lexicon.digest(),
            lexicon.scopes(),
            lexicon.inventory(SCOPE.key, after=None, limit=5),
            swept(lexicon),
            lexicon.put([entry("b", "billing")]),
        ):
            with pytest.raises(OUTAGE):
                await attempt
        await store.drop("g1")
        lexicon = (await made(store, "g2")).serving
        await lexicon.put([entry("a", "billing")])
        assert await lexicon.count(SCOPE) == 1


async def test_a_sweep_whose_generation_is_dropped_is_an_outage(settings: OpensearchSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no end: whoever compares must not take what was not read for missing."""
    monkeypatch.setattr(scanning, "PAGE", 2)
    async with open_generations(settings) as store:
        await (await made(store)).serving.put([entry(f"n{number}", "billing") for number in range(9)])
        await store.make("g2")

        async def drop() -> None:
            await store.point("g2")
            await store.drop("g1")

        with pytest.raises(Unavailable, match="lost its place"):
            await swept(store.index("g1"), between=drop)


async def test_a_full_disk_stops_writes_and_not_reads_and_they_go_on_by_themselves(node: Node, settings: OpensearchSettings) -> None:
    """At the flood stage OpenSearch makes indexes read-only; the probe sees it, and sees when it is over."""
    levels = ("low", "high", "flood_stage")
    marks = {f"cluster.routing.allocation.disk.watermark.{level}": "1000000gb" for level in levels}
    watched = {"cluster.routing.allocation.disk.threshold_enabled": "true", "cluster.info.update.interval": "10s"}
    async with serving(settings) as lexicon:
        await lexicon.put([entry("a", "billing")])
        try:
            await asyncio.to_thread(node.ask, "PUT", "/_cluster/settings", {"transient": {**marks, **watched}})
            await until(lambda: _refuses(lexicon), deadline=PATIENCE_S)
            with pytest.raises(Unavailable):
                await lexicon.put([entry("b", "billing")])
            assert [hit.key for hit in await lexicon.search(SCOPE, "billing", criteria=ALL, limit=5)] == [key_of("a")]
        finally:
            room = dict.fromkeys(marks, "1b")
            await asyncio.to_thread(node.ask, "PUT", "/_cluster/settings", {"transient": {**room, **watched}})
        await until(lambda: writes_again(lexicon), deadline=PATIENCE_S)
        # where every node is full, it also forbids new indexes
        forgotten = dict.fromkeys({**marks, **watched, "cluster.blocks.create_index": ""})
        await asyncio.to_thread(node.ask, "PUT", "/_cluster/settings", {"transient": forgotten, "persistent": forgotten})

        await lexicon.put([entry("b", "billing")])
        assert await lexicon.count(SCOPE) == 2


async def _refuses(lexicon: OpenSearchLexicon) -> bool:
    return not await writes_again(lexicon)


async def test_a_late_older_write_is_refused_however_soon_deletes_are_forgotten(node: Node, settings: OpensearchSettings) -> None:
    """A retraction is a document with a version, which ``gc_deletes`` cannot forget."""
    async with serving(settings) as lexicon:
        body = {"index": {"gc_deletes": "1s"}}
        await asyncio.to_thread(node.ask, "PUT", f"/{settings.prefix}-lexical-g1/_settings", body)
        await lexicon.put([entry("a", "billing", version=3)])
        await lexicon.put([], [tombstone("a", version=5), tombstone("b", version=6)])
        # a real delete beside it shows when it is forgotten: then a lower version is taken
        probe = f"/{settings.prefix}-lexical-g1/_doc/probe?routing=x&version_type=external&version="
        document = {"scope": "x", "key": "f" * 32, "version": 1, "dead": True}
        await asyncio.to_thread(node.ask, "PUT", f"{probe}8", document)
        await asyncio.to_thread(node.ask, "DELETE", f"{probe}9")

        async def forgotten() -> bool:
            try:
                await asyncio.to_thread(node.ask, "PUT", f"{probe}1", document)
            except OSError:
                return False
            return True

        await until(forgotten, deadline=PATIENCE_S)
        await lexicon.put([entry("a", "billing", version=3), entry("b", "billing", version=2)])

        assert await lexicon.count(SCOPE) == 0
        assert await lexicon.search(SCOPE, "billing", criteria=ALL, limit=5) == []


async def test_a_node_with_too_much_to_do_is_given_time(node: Node, settings: OpensearchSettings) -> None:
    """Bulks that it refuses (429) are sent again in smaller pieces, and all of them arrive."""
    known = msgspec.structs.replace(settings, bulk_bytes=20_000, bulk_deadline_s=PATIENCE_S, connections=64)
    async with serving(known) as lexicon, asyncio.timeout(PATIENCE_S):
        batches = [[entry(f"{batch}-{place}", "billing " * 20) for place in range(40)] for batch in range(40)]
        await asyncio.gather(*(lexicon.put(batch) for batch in batches))

        assert await lexicon.count(SCOPE) == 1600
    told = await asyncio.to_thread(node.ask, "GET", "/_nodes/stats/thread_pool")
    (stats,) = told["nodes"].values()
    assert stats["thread_pool"]["write"]["rejected"] > 0


async def test_a_document_that_is_refused_is_told_after_the_good_ones_are_in(settings: OpensearchSettings) -> None:
    """So that whoever writes can find it and put it aside; a term of 40 kB is more than Lucene takes."""
    broken = replace(entry("broken", "billing"), tags=("x" * 40_000,))
    async with serving(settings) as lexicon:
        with pytest.raises(Invalid) as caught:
            await lexicon.put([entry("a", "billing"), broken, entry("c", "billing")])
        assert "xxx" not in str(caught.value)
        await lexicon.put([entry("d", "billing")])

        assert await keys_held(lexicon) == {key_of(name) for name in "acd"}


async def test_an_index_that_lacks_a_field_gives_up_no_document(node: Node, settings: OpensearchSettings) -> None:
    """An earlier version made it: every document is refused alike, so it is the store that cannot, and what comes next waits too."""
    name = f"{settings.prefix}-lexical-g1"
    mappings = {"dynamic": "strict", "_meta": {"format": FORMAT}, "properties": {"scope": {"type": "keyword"}}}
    await asyncio.to_thread(node.ask, "PUT", f"/{name}", {"mappings": mappings, "aliases": {f"{name}.writes": {}}})
    async with open_generations(settings) as store:
        with pytest.raises(Unavailable, match="strict_dynamic_mapping_exception"):
            await _of(store).put([entry("a", "billing")])


async def test_a_lost_answer_to_a_bulk_changes_nothing(node: Node, settings: OpensearchSettings) -> None:
    """The write is sent again over another connection, finds itself there, and counts as done."""
    async with serving(settings) as direct, relay(node.url) as between:
        known = msgspec.structs.replace(settings, urls=between.url.replace("nats://", "http://"))
        async with open_generations(known) as store:
            between.lose(b'"items"')
            await store.serving.put([entry("a", "billing", version=4)])
            assert between.lost == 1
        assert [one.version for one in await direct.held(SCOPE.key, [key_of("a")])] == [4]


async def test_a_line_that_hangs_ends_by_the_deadline_and_heals_without_hands(node: Node, settings: OpensearchSettings) -> None:
    """Searches by theirs, writes by theirs; the same client goes on afterwards."""
    with Lines() as lines:
        port = lines.add((0, 0), target=node.port)
        slow = msgspec.structs.replace(settings, urls=f"http://127.0.0.1:{port}", search_deadline_s=1.0, bulk_deadline_s=2.0)
        async with serving(settings), open_generations(slow) as store:
            lexicon = store.serving
            lines.cut(lambda _: True, how="hold")
            for attempt in (lexicon.search(SCOPE, "billing", criteria=ALL, limit=5), lexicon.put([entry("a", "billing")]), lexicon.put([])):
                with pytest.raises(DeadlineExceeded):
                    await attempt
            lines.cut(lambda _: True, how="refuse")
            for attempt in (lexicon.search(SCOPE, "billing", criteria=ALL, limit=5), lexicon.put([entry("a", "billing")]), lexicon.put([])):
                with pytest.raises(OUTAGE):
                    await attempt
            lines.heal()
            await until(lambda: writes_again(lexicon), deadline=PATIENCE_S)


async def test_of_several_nodes_one_that_does_not_answer_is_passed_over(node: Node, settings: OpensearchSettings) -> None:
    """Be it that nobody listens there or that it hangs."""
    with Lines() as lines:
        port = lines.add((0, 0), target=node.port)
        lines.cut(lambda _: True, how="hold")
        for dead in ("http://127.0.0.1:1", f"http://127.0.0.1:{port}"):
            several = msgspec.structs.replace(settings, urls=f"{dead},{node.url},{dead}", search_deadline_s=8.0, bulk_deadline_s=16.0)
            async with serving(several) as lexicon:
                for number in range(3):
                    await lexicon.put([entry(f"n{number}", "billing")])
                    assert await lexicon.count(SCOPE) == number + 1
                await asyncio.to_thread(node.ask, "DELETE", f"/{settings.prefix}-*")


async def test_what_was_deleted_is_gone_from_the_disk_in_the_end(node: Node, settings: OpensearchSettings) -> None:
    """Not at once, because OpenSearch keeps it until every copy has seen it; the answer says how much is left, so one can ask again."""
    versions = count(2)
    async with serving(msgspec.structs.replace(settings, shards=1)) as lexicon:
        await lexicon.put([entry("kept", "billing"), entry("gone", "xyzzycanary")])
        await lexicon.purge()
        told = await asyncio.to_thread(node.ask, "GET", f"/{settings.prefix}-lexical-g1/_settings")
        uuid = told[f"{settings.prefix}-lexical-g1"]["settings"]["index"]["uuid"]
        (files,) = (node.folder / "data").rglob(f"indices/{uuid}/0")
        assert files_with(files, b"xyzzycanar")
        await lexicon.remove(SCOPE.key, await lexicon.held(SCOPE.key, [key_of("gone")]))

        async def expunged() -> bool:
            # what is kept for the copies moves on with the writes
            await lexicon.put([entry("kept", "billing", version=next(versions))])
            return await lexicon.purge() == 0 and not files_with(files, b"xyzzycanar")

        await until(expunged, deadline=PATIENCE_S)
        assert await lexicon.count(SCOPE) == 1


async def test_a_store_of_another_make_is_refused(node: Node, settings: OpensearchSettings) -> None:
    """An index of our name that has other fields was not made by us, and one cannot write to it by its name."""
    await asyncio.to_thread(node.ask, "PUT", f"/{settings.prefix}-lexical-g1")
    async with open_generations(settings) as store:
        with pytest.raises(KalendsError, match="format"):
            await store.make("g1")
        with pytest.raises(Unavailable):
            await _of(store).put([entry("a", "billing")])
        with pytest.raises(Misconfigured, match="format"):
            await store.point("g1")
        assert await store.pointed() is None


async def test_an_index_of_another_format_is_found_by_who_begins_to_serve(node: Node, settings: OpensearchSettings) -> None:
    """Also where the alias names it and the record says that it was made: another version may have made it."""
    records = MemoryRecords()
    async with open_generations(settings) as store:
        before = SharedGenerations(store, CurrentGeneration(records, projection="lexical"), dependency="lexical")
        await before.ensure()
        changed = {"_meta": {"format": "another"}}
        await asyncio.to_thread(node.ask, "PUT", f"/{settings.prefix}-lexical-{before.current}/_mapping", changed)
        after = SharedGenerations(store, CurrentGeneration(records, projection="lexical"), dependency="lexical")
        with pytest.raises(Misconfigured, match="another"):
            await after.ensure()


async def test_a_merge_that_was_lost_is_no_purge(settings: OpensearchSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node that did it has left, and OpenSearch knows nothing of it; a receipt must not say that its bytes are gone."""
    ask, forgotten = OpenSearchClient.call, 0

    async def call(client: OpenSearchClient, method: str, path: str, **more: Any) -> Any:
        nonlocal forgotten
        told = await ask(client, method, path, **more)
        if not path.endswith("/_forcemerge"):
            return told
        forgotten += 1
        return {"task": f"{told['task'].partition(':')[0]}:{10**15}"}

    monkeypatch.setattr(OpenSearchClient, "call", call)
    async with open_generations(settings, dedicated=SCOPE.key.__eq__) as store:
        lexicon = (await made(store)).serving
        assert await lexicon.purge(SCOPE.key) == 0
        await lexicon.put([entry("a", "billing")])
        for attempt in (lexicon.purge(SCOPE.key), lexicon.purge(), lexicon.compact()):
            with pytest.raises(Unavailable, match="merge was lost"):
                await attempt
        assert forgotten == 3
        monkeypatch.undo()
        assert await lexicon.purge(SCOPE.key) == 0
        index = store.index("g1")
        await store.drop("g1")
        with pytest.raises(Unavailable):
            await index.purge(SCOPE.key)


async def test_a_dedicated_memory_without_room_for_its_index_keeps_nobody_else_waiting(node: Node, settings: OpensearchSettings) -> None:
    """The cluster has all the shards that it may have: what others wrote beside it is visible, and the index is named."""
    async with open_generations(settings, dedicated={OTHER.key, THIRD.key}.__contains__) as store:
        lexicon = (await made(store)).serving
        await lexicon.put([entry("a", "billing", scope=THIRD)])
        batch = [entry("b", "billing", scope=scope) for scope in (SCOPE, OTHER, THIRD)]
        full = {"transient": {"cluster.max_shards_per_node": 1}}
        await asyncio.to_thread(node.ask, "PUT", "/_cluster/settings", full)
        try:
            with pytest.raises(Unavailable, match=f"lexical-g1-m-{OTHER.key} of a dedicated memory cannot be made.*validation_exception"):
                await lexicon.put(batch)
            assert [await lexicon.count(scope) for scope in (SCOPE, OTHER, THIRD)] == [1, 0, 2]
        finally:
            await asyncio.to_thread(node.ask, "PUT", "/_cluster/settings", {"transient": {"cluster.max_shards_per_node": None}})
        await lexicon.put(batch)
        assert [await lexicon.count(scope) for scope in (SCOPE, OTHER, THIRD)] == [1, 1, 2]


def _of(store: OpenSearchGenerations) -> OpenSearchLexicon:
    return store.index("g1")
