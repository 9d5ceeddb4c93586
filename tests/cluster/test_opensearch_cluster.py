"""Three nodes of OpenSearch with a copy of each shard: one is killed and comes back, under writes and reads.

Belongs here: what only several nodes can show. Does not belong here: one node (``test_opensearch_faults``). A newcomer would get wrong: a
call that was under way on the killed node may fail; what must hold is that it can be repeated, and that nothing acknowledged is lost.
"""

import asyncio
from collections.abc import Iterator

import msgspec
import pytest
from tests.contracts.projections import SCOPE, entry, key_of
from tests.support.opensearch.nodes import Cluster
from tests.support.opensearch.stores import SMALL, made
from tests.support.waiting import until

from kalends.adapters.opensearch import OpenSearchLexicon, open_generations
from kalends.domain.errors import DeadlineExceeded, Unavailable
from kalends.domain.queries import Criteria

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

OUTAGE = (Unavailable, DeadlineExceeded)
PATIENCE_S = 300.0


@pytest.fixture
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes that are one cluster; all of it has ended after the test."""
    with Cluster(tmp_path_factory.mktemp("cluster")) as started:
        yield started.start()


class Load:
    """Writers and readers that repeat what fails, and what they know."""

    def __init__(self, lexicon: OpenSearchLexicon) -> None:
        self._lexicon = lexicon
        self.stopped = False
        self.acknowledged: set[str] = set()
        self.answered = 0
        self.lies: list[str] = []

    async def write(self, writer: int) -> None:
        """Batch after batch, each until it is acknowledged."""
        number = 0
        while not self.stopped:
            names = [f"{writer}-{number}-{place}" for place in range(10)]
            if await self._done(self._lexicon.put([entry(name, f"a note of {name}") for name in names])):
                self.acknowledged.update(names)
                number += 1

    async def read(self) -> None:
        """One question again and again: what was there before everything else must always be found."""
        while not self.stopped:
            try:
                hits = await self._lexicon.search(SCOPE, "anchorage", criteria=Criteria(), limit=5)
            except OUTAGE:
                await asyncio.sleep(0)
                continue
            self.answered += 1
            if [hit.key for hit in hits] != [key_of("first")]:
                self.lies.append(f"{hits}")

    async def more(self, *, events: int = 60, answers: int = 5) -> None:
        """Wait until so much more is written and answered."""
        wanted = len(self.acknowledged) + events, self.answered + answers
        await until(lambda: len(self.acknowledged) >= wanted[0] and self.answered >= wanted[1], deadline=PATIENCE_S)

    async def _done(self, attempt) -> bool:
        try:
            await attempt
        except OUTAGE:
            return False
        return True


async def test_one_of_three_nodes_is_killed_and_nothing_stops_for_long_or_is_lost(nodes: Cluster) -> None:
    """Be it the cluster's manager or another; when it is back it has everything, and no answer was ever wrong."""
    settings = msgspec.structs.replace(SMALL, urls=nodes.urls, prefix="three", replicas=1, search_deadline_s=10.0, bulk_deadline_s=30.0)
    async with open_generations(settings) as store:
        lexicon = (await made(store)).serving
        await lexicon.put([entry("first", "anchorage")])
        assert await asyncio.to_thread(nodes.wait_for_nodes, 3, status="green")
        load = Load(lexicon)
        async with asyncio.timeout(2 * PATIENCE_S), asyncio.TaskGroup() as group:
            for writer in range(2):
                group.create_task(load.write(writer))
            group.create_task(load.read())
            await load.more()
            manager = await asyncio.to_thread(nodes.nodes[0].ask, "GET", "/_cluster/state/cluster_manager_node,nodes")
            name = manager["nodes"][manager["cluster_manager_node"]]["name"]
            victim = next(node for node in nodes.nodes if node.name == name)
            await asyncio.to_thread(victim.kill)
            await load.more()
            await asyncio.to_thread(victim.spawn)
            assert await asyncio.to_thread(nodes.wait_for_nodes, 3, status="green")
            await load.more()
            load.stopped = True

        held = {one.key for one in await lexicon.inventory(SCOPE.key, after=None, limit=1_000_000)}
        assert {key_of(name) for name in load.acknowledged} <= held
        assert load.lies == []
        for node in nodes.nodes:
            # each node by itself says the same
            alone = msgspec.structs.replace(settings, urls=node.url)
            async with open_generations(alone) as seen:
                assert (await seen.serving.digest()).events == len(held)
