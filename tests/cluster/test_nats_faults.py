"""Nodes of a NATS cluster that are stopped, killed, wiped and cut off under load: no acked event is lost, none is there twice.

Belongs here: faults of nodes and of the lines between them, seen by the adapters. Does not belong here: processes of Kalends on a cluster
(``test_nats_cluster``). A newcomer would get wrong: an election takes between four and nine seconds whatever one does, and a caller may
time out meanwhile; what must hold is that it can repeat, not that it never has to.
"""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial

import pytest
from tests.cluster.load import AWAY, OPTIONS, QUIET_S, bus_of, loaded, more, stored, strive
from tests.contracts.drafts import SCOPE, drafts
from tests.support.lines import Cut
from tests.support.nats_cluster import NatsCluster
from tests.support.waiting import until

from kalends.adapters.embedded.clock import SystemClock
from kalends.adapters.nats import NatsBus
from kalends.adapters.nats.connection import connect
from kalends.adapters.nats.requests import Requests
from kalends.domain.errors import Conflict, DeadlineExceeded, Unavailable
from kalends.wire.leases import Lease

EVENTS = "EVENTS_0"
RECORDS = "RECORDS_0"

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


async def test_a_rolling_restart_loses_and_doubles_nothing(cluster: NatsCluster) -> None:
    """One node after the other is stopped as an operator does it, and comes back; writers at most repeat."""
    async with loaded(cluster) as ledger:
        for number in range(3):
            await asyncio.to_thread(cluster.stop, number)
            await more(ledger)
            await asyncio.to_thread(cluster.restart, number)
            await asyncio.to_thread(cluster.settled)


@pytest.mark.parametrize("rounds", [1, pytest.param(8, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
async def test_a_killed_leader_loses_and_doubles_nothing(cluster: NatsCluster, rounds: int) -> None:
    """SIGKILL to the node that leads the events, again and again."""
    async with loaded(cluster) as ledger:
        for _ in range(rounds):
            leader = await asyncio.to_thread(cluster.leads, EVENTS)
            await asyncio.to_thread(cluster.kill, leader)
            await more(ledger)
            await asyncio.to_thread(cluster.restart, leader)
            await asyncio.to_thread(cluster.settled)


async def test_two_nodes_in_turn_may_lose_their_disks(cluster: NatsCluster) -> None:
    """The first one comes back empty and is filled again by the others; then the leader goes the same way."""
    async with loaded(cluster) as ledger:
        for _ in range(2):
            leader = await asyncio.to_thread(cluster.leads, EVENTS)
            await asyncio.to_thread(cluster.wipe, leader)
            await more(ledger)
            await asyncio.to_thread(cluster.restart, leader)
            await asyncio.to_thread(cluster.settled)


@pytest.mark.parametrize("how", ["hold", pytest.param("refuse", marks=pytest.mark.slow)])
async def test_a_leader_that_is_cut_off_acks_nothing(cluster: NatsCluster, how: Cut) -> None:
    """Its client gets no ack; the others elect another and ack; after healing the log is what was acked, and each message is there once."""
    async with bus_of(cluster) as bus:
        before = drafts("before", 50)
        acked = {one.message_id: told.position for one, told in zip(before, await bus.log.append(before), strict=True)}
    leader = await asyncio.to_thread(cluster.leads, EVENTS)
    others = ",".join(node.url for node in cluster.nodes if node.number != leader)
    async with bus_of(cluster, url=cluster.nodes[leader].url) as minority, bus_of(cluster, url=others) as majority:
        cluster.cut_off(leader, how=how)
        with pytest.raises(AWAY):
            await minority.log.append(drafts("minority", 30))
        during = drafts("majority", 50)
        outcomes = None
        while outcomes is None:
            try:
                outcomes = await majority.log.append(during)
            except AWAY:
                continue
        acked |= {one.message_id: told.position for one, told in zip(during, outcomes, strict=True)}
        cluster.heal()
        await asyncio.to_thread(cluster.settled)
        again = await minority.log.append(drafts("minority", 30))
        acked |= {one.message_id: told.position for one, told in zip(drafts("minority", 30), again, strict=True)}

    found = await stored(cluster)

    assert len(found) == len(dict(found))
    assert dict(found) == acked
    assert OPTIONS.replicas == len(cluster.nodes)


@pytest.mark.parametrize("how", ["held", pytest.param("killed", marks=pytest.mark.slow)])
async def test_who_has_time_for_an_election_notices_none(cluster: NatsCluster, how: str) -> None:
    """With a deadline that is longer than an election, every operation that is safe to repeat is repeated for the caller."""
    patient = replace(OPTIONS, request_timeout=40.0, append_timeout=40.0)
    async with bus_of(cluster) as bus:
        [appended] = await bus.log.append(drafts("before", 1))
        revision = await bus.records.put("kind", "owner", "name", b"1")
    leader = await asyncio.to_thread(cluster.gather, ["EVENTS_0", "RECORDS_0", "KEYS", "DEAD"])
    others = ",".join(node.url for node in cluster.nodes if node.number != leader)
    async with bus_of(cluster, patient, url=others) as bus:
        consumer = await bus.log.consumer("c")
        if how == "killed":
            await asyncio.to_thread(cluster.kill, leader)
        else:
            cluster.cut_off(leader)

        asked = {
            "put": bus.records.put("kind", "owner", "name", b"2", revision=revision),
            "get": bus.records.get("kind", "owner", "other"),
            "list": bus.records.list("kind"),
            "one key": bus.keys.create(SCOPE, {"0" * 32: b"one"}),
            "two keys": bus.keys.create(SCOPE, {"1" * 32: b"one", "2" * 32: b"two"}),
            "append": bus.log.append(drafts("after", 1)),
            "heads": bus.log.heads(),
            "read": bus.log.read([appended.position]),
            "consumer": bus.log.consumer("d"),
            "count": bus.dead_letters.count(),
            "states": consumer.states(),
        }
        told = dict(zip(asked, await asyncio.gather(*asked.values(), return_exceptions=True), strict=True))

    assert {name: one for name, one in told.items() if isinstance(one, BaseException)} == {}


async def test_a_change_that_is_refused_for_now_is_asked_for_until_it_is_made(cluster: NatsCluster) -> None:
    """A cluster that nobody leads refuses it, which says that it will not come later; where it may not be asked for again, that is told.

    One that meets the nodes while they find each other has no answer at all; it may still come, so whoever asked must decide what then.
    """
    wanted = json.dumps({"name": "LATE", "subjects": ["late"], "num_replicas": 3}).encode()
    refused = asyncio.Event()

    def again() -> bool:
        refused.set()
        return True

    async with linked(cluster, wait=2.0) as hasty, linked(cluster, wait=20.0) as patient, asyncio.TaskGroup() as group:
        for number in (1, 2):
            await asyncio.to_thread(cluster.kill, number)
        await until(lambda: _refused(hasty, wanted), deadline=60)
        made = group.create_task(_made(patient, wanted, may=again))
        await refused.wait()
        for number in (1, 2):
            await asyncio.to_thread(cluster.restart, number)

    assert "config" in made.result()


async def _made(requests: Requests, wanted: bytes, *, may: Callable[[], bool]) -> dict[str, object]:
    """The answer, at last; the same stream is made once, however often it is asked for."""
    async with asyncio.timeout(QUIET_S):
        while True:
            with contextlib.suppress(Unavailable, DeadlineExceeded):
                return await requests.change("STREAM.CREATE.LATE", wanted, may=may)
            # a node that hears no leader for long is left for another, of which there is none here
            await requests.link.connected.wait()


async def _refused(requests: Requests, wanted: bytes) -> bool:
    """Whether it is refused already; before the last node knows that it is alone nobody answers."""
    with pytest.raises((Unavailable, DeadlineExceeded)) as told:
        await requests.change("STREAM.CREATE.LATE", wanted, may=lambda: False)
    return "10008" in str(told.value)


@asynccontextmanager
async def linked(cluster: NatsCluster, *, wait: float) -> AsyncIterator[Requests]:
    """Requests to the first node, which have *wait* seconds each."""
    url, user, password = cluster.nodes[0].url, cluster.user, cluster.password
    async with connect(url, name="linked", inbox_prefix=f"_INBOX_{wait:.0f}", user=user, password=password, options=OPTIONS) as link:
        requests = Requests(link, timeout=wait)
        await requests.open()
        yield requests


async def test_compare_and_set_loses_no_update_over_changes_of_the_leader(cluster: NatsCluster) -> None:
    """Writers count up one number; what each was told is what became of its write, also where an answer was lost."""
    told: Counter[str] = Counter()
    stop = asyncio.Event()
    async with bus_of(cluster) as first, asyncio.TaskGroup() as group:
        await first.records.put("count", "all", "one", b"0")
        writers = [group.create_task(count_up(cluster, told, stop)) for _ in range(4)]
        await until(lambda: told["there"] == len(writers), deadline=60)
        for _ in range(2):
            await until(partial(lambda enough: told["done"] > enough, told["done"] + 30), deadline=60)
            leader = await asyncio.to_thread(cluster.leads, RECORDS)
            await asyncio.to_thread(cluster.kill, leader)
            await until(partial(lambda enough: told["done"] > enough, told["done"] + 30), deadline=60)
            await asyncio.to_thread(cluster.restart, leader)
            await asyncio.to_thread(cluster.settled)
        stop.set()
        await asyncio.wait(writers)
        record = await first.records.get("count", "all", "one")

    assert record is not None
    # an error says that the outcome is not known; everything else must be what it says
    assert told["done"] <= int(record.value) <= told["done"] + told["unknown"], told


async def count_up(cluster: NatsCluster, told: Counter[str], stop: asyncio.Event) -> None:
    """Add one again and again, as somebody does who reads, writes, and begins anew when another was first."""
    async with bus_of(cluster) as bus:
        told["there"] += 1
        while not stop.is_set():
            try:
                record = await bus.records.get("count", "all", "one")
                assert record is not None
            except AWAY:
                continue
            try:
                await bus.records.put("count", "all", "one", b"%d" % (int(record.value) + 1), revision=record.revision)
                told["done"] += 1
            except Conflict:
                told["conflicts"] += 1
            except AWAY:
                told["unknown"] += 1


async def test_a_lease_has_one_holder_over_changes_of_the_leader(cluster: NatsCluster) -> None:
    """At no moment two of three believe that they hold it, no term is two's, and somebody holds it again in the end."""
    terms: dict[int, set[str]] = {}
    together: list[list[int]] = []
    held = 0
    clock = SystemClock()

    async with AsyncExitStack() as stack:
        leases = [
            Lease((await stack.enter_async_context(bus_of(cluster))).records, name="leader", holder=name, lease_s=4.0, clock=clock)
            for name in ("one", "two", "three")
        ]
        group = await stack.enter_async_context(asyncio.TaskGroup())

        def attempted(number: int, term: int | None) -> None:
            nonlocal held
            if term is not None:
                terms.setdefault(term, set()).add(str(number))
                held += 1
                believed = [one.term for one in leases if one.term is not None]
                together.extend([believed] if len(believed) > 1 else [])

        striving = [group.create_task(strive(lease, partial(attempted, number))) for number, lease in enumerate(leases)]
        for how in ("kill", "cut"):
            await until(partial(lambda enough: held > enough, held + 5), deadline=60)
            leader = await asyncio.to_thread(cluster.leads, RECORDS)
            if how == "kill":
                await asyncio.to_thread(cluster.kill, leader)
            else:
                cluster.cut_off(leader)
            await until(partial(lambda enough: held > enough, held + 5), deadline=60)
            if how == "kill":
                await asyncio.to_thread(cluster.restart, leader)
            else:
                cluster.heal()
            await asyncio.to_thread(cluster.settled)
        for task in striving:
            task.cancel()

    assert together == []
    assert {term: holders for term, holders in terms.items() if len(holders) > 1} == {}


async def test_who_is_on_the_wrong_side_of_a_cut_goes_over_to_the_other(cluster: NatsCluster) -> None:
    """The node that a client is connected to is up, but has lost the others: the client turns to one of them, and nobody has to heal."""
    async with bus_of(cluster) as bus:
        await bus.log.append(drafts("before", 1))
        here = next(node.number for node in cluster.nodes if bus.connection.connected_url.port == node.port)  # type: ignore[union-attr]
        cluster.cut_off(here)

        async def written() -> bool:
            try:
                await bus.records.put("kind", "owner", "name", b"1")
                await bus.log.append(drafts("after", 1))
            except AWAY:
                return False
            return True

        await until(written, deadline=90)

        assert bus.connection.connected_url.port != cluster.nodes[here].port  # type: ignore[union-attr]


async def test_a_list_has_what_was_written_before_it_also_where_a_replica_is_behind(cluster: NatsCluster) -> None:
    """A reader that begins on a replica that has just come back does not take that replica's end for the end."""
    async with bus_of(cluster) as bus:
        await bus.records.put("kind", "owner", "first", b"")
        leader = await asyncio.to_thread(cluster.gather, [RECORDS])
        missing = []
        for turn in range(3):
            cluster.cut_off((leader + 1) % 3)
            names = [f"{turn}-{number}" for number in range(1000)]
            for start in range(0, len(names), 100):
                await asyncio.gather(*(repeated(bus, name) for name in names[start : start + 100]))
            cluster.heal()
            for _ in range(8):
                with contextlib.suppress(*AWAY):
                    listed = {record.name for record in await bus.records.list("kind")}
                    missing += [name for name in names if name not in listed]

    assert missing == []


async def repeated(bus: NatsBus, name: str) -> None:
    """Write a record, whatever it takes."""
    while True:
        try:
            await bus.records.put("kind", "owner", name, b"x" * 1000)
        except AWAY:
            continue
        return
