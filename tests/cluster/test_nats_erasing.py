"""What is left of erased messages on three real nats-servers: in their streams, and in their own logs of what they agreed on.

Belongs here: scans of all files of all nodes. Does not belong here: what erasing is (``contracts/erasing``). A newcomer would get wrong:
those logs hold every body until they are written anew, so a delete that was agreed on proves nothing yet.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.contracts.drafts import SCOPE, bodies, draft, drafts
from tests.support.broker import SMALL
from tests.support.nats_cluster import NatsCluster
from tests.support.waiting import until

from kalends.adapters.nats import NatsBus, open_nats
from kalends.domain.errors import DeadlineExceeded, Unavailable
from kalends.domain.positions import Position

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

OPTIONS = replace(SMALL, replicas=3)
IDLE_S = 300.0
"""After so long without writes the servers have written their logs anew by themselves; 170 s were measured."""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[NatsCluster]:
    """Three nodes of the test's own."""
    with NatsCluster(tmp_path) as nodes:
        yield nodes.start()


@pytest.fixture
async def bus(cluster: NatsCluster) -> AsyncIterator[NatsBus]:
    """A bus on them."""
    async with open_nats(url=cluster.url, user=cluster.user, password=cluster.password, options=OPTIONS) as opened:
        yield opened


async def erased(bus: NatsBus, cluster: NatsCluster) -> tuple[list[bytes], list[Position]]:
    """Canaries in a message and in a key that were erased, found before; and the places of the messages that stay."""
    body, key, reference = secrets.token_hex(20).encode(), secrets.token_bytes(40), secrets.token_hex(16)
    first = await bus.log.append(drafts("a", 100))
    [doomed] = await bus.log.append([draft("doomed", body=body)])
    # as in the protocol, where messages that say what is erased come before any is
    await bus.log.append(drafts("z", 3))
    await bus.keys.create(SCOPE, {reference: key, secrets.token_hex(16): b"another"})
    assert await found(cluster, body)
    assert await found(cluster, key)
    assert await bus.log.erase([doomed.position]) == 1
    await bus.keys.destroy(SCOPE, [reference])
    return [body, key], [one.position for one in first]


async def found(cluster: NatsCluster, needle: bytes) -> list[Path]:
    """The files of all nodes that hold *needle*."""
    return await asyncio.to_thread(cluster.bytes_found, needle)


async def gone(cluster: NatsCluster, needles: list[bytes]) -> bool:
    """Whether no file of any node holds any of *needles*."""
    return not any([await found(cluster, needle) for needle in needles])


async def only_in_logs(cluster: NatsCluster, needles: list[bytes]) -> bool:
    """Whether no file of any node holds any of *needles* but the servers' own logs."""
    places = [await found(cluster, needle) for needle in needles]
    return all("_js_" in path.parts for where in places for path in where)


async def test_after_washing_no_node_holds_anything_of_what_was_erased(bus: NatsBus, cluster: NatsCluster) -> None:
    """The streams are clean as soon as each node has done as the first, and the servers' own logs are not; washing writes those anew.

    It changes nothing else.
    """
    needles, kept = await erased(bus, cluster)
    await until(lambda: only_in_logs(cluster, needles), deadline=60)
    for needle in needles:
        assert await found(cluster, needle), "the servers' logs hold nothing: washing is not needed any more"
    heads = await bus.log.heads()

    await bus.log.wash({kept[0].stream})
    await bus.keys.wash()

    await until(lambda: gone(cluster, needles), deadline=60)
    assert await bus.log.heads() == heads
    assert bodies(await bus.log.read(kept)) == [f"a-{number}" for number in range(100)]


async def test_a_node_that_is_away_is_waited_for(bus: NatsBus, cluster: NatsCluster) -> None:
    """Without it nothing is erased or washed, because it would keep what the others forgot; when it is back all is done everywhere.

    It follows in both streams: one that led, and was killed before its log was written anew, may keep the bytes (docs/decisions/0020).
    """
    [kept_first] = await bus.log.append([draft("first")])
    leader = await asyncio.to_thread(cluster.gather, [kept_first.position.stream, "KEYS"])
    needles, kept = await erased(bus, cluster)
    away = (leader + 1) % len(cluster.nodes)
    await asyncio.to_thread(cluster.kill, away)

    for refused in (bus.log.wash({kept[0].stream}), bus.keys.wash(), bus.log.erase(kept[:1])):
        with pytest.raises((Unavailable, DeadlineExceeded)):
            await refused

    assert not await gone(cluster, needles)
    await asyncio.to_thread(cluster.restart, away)
    await asyncio.to_thread(cluster.settled)
    await bus.log.wash({kept[0].stream})
    await bus.keys.wash()
    await until(lambda: gone(cluster, needles), deadline=60)
    assert bodies(await bus.log.read(kept[:1])) == ["a-0"]


@pytest.mark.slow
async def test_an_idle_cluster_is_clean_after_the_stated_time(bus: NatsBus, cluster: NatsCluster) -> None:
    """Without washing, by itself."""
    needles, _ = await erased(bus, cluster)

    await until(lambda: gone(cluster, needles), deadline=IDLE_S)
