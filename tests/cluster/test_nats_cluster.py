"""Processes of Kalends over a NATS cluster of three, whose nodes die while people write and search.

Belongs here: what clients of those processes see, and what the log holds then. Does not belong here: faults as the adapters see them
(``test_nats_faults``). A newcomer would get wrong: whoever reads the log here joins it, and a reader that joins must want as many replicas
as there are.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.cluster.load import bus_of
from tests.faults.conftest import NewFolder
from tests.support import verdicts
from tests.support.api import Api, Away
from tests.support.instance import Instance, wait_until
from tests.support.load import AGAIN, Ledger, writing
from tests.support.nats_cluster import NatsCluster

from kalends.adapters.nats import NatsOptions
from kalends.wire import envelopes

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

MEMORY = "cluster"
QUIET_S = 240.0
ROLES = (["ingest"], ["index", "search"], ["summarize", "scheduler"])
STREAMS = {"EVENTS_0", "RECORDS_0", "KEYS", "DEAD", "LEDGER", "AUDIT"}
AS_SET = NatsOptions(replicas=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Apart:
    """Three processes over one cluster."""

    cluster: NatsCluster
    ingest: Instance
    index: Instance
    upkeep: Instance


@pytest.fixture
def apart(tmp_path: Path, cluster: NatsCluster, prepared: NewFolder) -> Iterator[Apart]:
    """Three processes, started together on a cluster that has no streams yet, with one key and one token."""
    settings = {
        **cluster.settings,
        "KALENDS_AUTH__KEY_FILE": str(tmp_path / "common" / "kek"),
        "KALENDS_AUTH__TOKEN_FILE": str(tmp_path / "common" / "token"),
    }
    (tmp_path / "common").mkdir(mode=0o700)
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(Instance(prepared(tmp_path / roles[0]), roles=roles, settings=settings)) for roles in ROLES]
        for instance in made:
            instance.spawn()
        with ThreadPoolExecutor(len(made)) as waiting:
            list(waiting.map(Instance.ready, made))
        ingest, index, upkeep = made
        yield Apart(cluster=cluster, ingest=ingest, index=index, upkeep=upkeep)
        assert [instance.terminate() for instance in made] == [0, 0, 0]


def test_a_node_that_dies_is_at_most_a_repeated_request(apart: Apart) -> None:
    """Events are written and searched before, while and after the leader of the log dies and comes back."""
    cluster = apart.cluster
    with verdicts.api_of(apart.ingest) as api:
        api.make_memory(MEMORY)
    with writing(lambda: verdicts.api_of(apart.ingest), memory=MEMORY, writers=4) as ledger:
        more(ledger)
        found(apart, ledger)
        leader = cluster.leads("EVENTS_0")
        cluster.kill(leader)
        more(ledger)
        found(apart, ledger)
        cluster.restart(leader)
        cluster.settled()
        cluster.stop((leader + 1) % 3)
        more(ledger)
        cluster.restart((leader + 1) % 3)
        cluster.settled()
        more(ledger)
    found(apart, ledger)

    assert replicas(cluster) == dict.fromkeys(STREAMS, 3)
    with verdicts.api_of(apart.ingest) as ingest, verdicts.api_of(apart.index) as index:
        ingest.quiet(["timeline"], seconds=QUIET_S)
        index.quiet(seconds=QUIET_S)
        verdicts.check_once(logged(cluster), ledger)
        verdicts.nothing_lost(apart.index, ledger, memory=MEMORY, by_id=False)
        verdicts.projections_agree(index, events=len(ledger.acked))
        assert index.good("GET", "/dead-letters")["items"] == []


def test_a_process_that_knows_of_no_replicas_takes_none_away(cluster: NatsCluster) -> None:
    """One process with the setting of a single broker must not thin out what all the others rely on."""

    async def join(options: NatsOptions) -> None:
        async with bus_of(cluster, options):
            return

    for options in (AS_SET, NatsOptions()):
        asyncio.run(join(options))

    assert replicas(cluster) == dict.fromkeys(STREAMS, 3)


def more(ledger: Ledger, count: int = 60) -> None:
    """Return once so many more events are acked."""
    enough = len(ledger.acked) + count
    assert wait_until(lambda: len(ledger.acked) >= enough, seconds=QUIET_S), (ledger.counts, ledger.refusals)


def found(apart: Apart, ledger: Ledger) -> None:
    """Search finds the newest acked event by its words, at once or when asked again."""
    text, _ = list(ledger.acked.values())[-1]
    with verdicts.api_of(apart.index) as api:
        assert wait_until(lambda: text in hits(api, text), seconds=QUIET_S, every=0.1), text


def hits(api: Api, text: str) -> list[str]:
    """What a search for *text* finds; nothing where the answer is that one may ask again."""
    try:
        reply = api.ask("POST", f"/memories/{MEMORY}/search", {"query": text})
    except Away:
        return []
    assert reply.status == 200 or reply.status in AGAIN, reply
    return [hit["text"] for hit in reply.body["hits"]] if reply.status == 200 else []


def replicas(cluster: NatsCluster) -> Mapping[str, int]:
    """How many replicas each stream has."""

    async def ask() -> dict[str, int]:
        async with bus_of(cluster, AS_SET) as bus:
            infos = await bus.connection.jetstream().streams_info()
            return {str(info.config.name): int(info.config.num_replicas or 0) for info in infos}

    return asyncio.run(ask())


def logged(cluster: NatsCluster) -> Counter[str]:
    """How often each event id is in the log."""

    async def read() -> Counter[str]:
        ids = Counter[str]()
        async with bus_of(cluster, AS_SET) as bus, asyncio.timeout(QUIET_S):
            heads = await bus.log.heads()
            at = dict.fromkeys(heads, 0)
            reader = bus.log.follow(after={}, limit=1000)
            while any(at[stream] < head for stream, head in heads.items()):
                for message in await anext(reader):
                    at[message.position.stream] = message.position.sequence
                    event_id = envelopes.parse(message.body).event_id
                    ids.update([] if event_id is None else [event_id])
            await reader.aclose()
        return ids

    return asyncio.run(read())
