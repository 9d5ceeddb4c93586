"""Load on a log of three replicas, straight on the adapters, and what must hold of it after any fault.

Belongs here: writers that never give up, readers that go along, and the check of the whole log. Does not belong here: faults. A newcomer
would get wrong: each writer and each reader has a connection of its own, to whatever node it finds, so a fault meets each in another state;
and a writer ends only when its last batch is acked, so in the end the log must hold exactly what is in the ledger.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from tests.contracts.drafts import drafts
from tests.support.broker import SMALL
from tests.support.nats_cluster import NatsCluster
from tests.support.waiting import until

from kalends.adapters.nats import NatsBus, NatsOptions, open_nats
from kalends.domain.errors import DeadlineExceeded, Throttled, Unavailable
from kalends.domain.positions import Position
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.ports.log import Appended
from kalends.wire.leases import Lease

AWAY = (Unavailable, DeadlineExceeded, Throttled)
"""What a caller may be told while a node is away: do it again."""

OPTIONS = replace(SMALL, replicas=3, idle=0.5, ack_wait=5.0, redelivery=(5.0, 5.0, 5.0))
_PAUSE_S = 0.05
_BATCH = 20
QUIET_S = 240.0
READERS_S = 60.0
"""For readers to have everything: a message whose ack was lost comes again after the time to ack, and that more than once."""


@dataclass
class Ledger:
    """What was acked: by message id, where it is said to be; and how often somebody had to repeat."""

    acked: dict[str, Position] = field(default_factory=dict)
    repeats: int = 0
    unreadable: list[str] = field(default_factory=list)
    """Messages that were acked and could not be read back at once."""
    sunken: list[str] = field(default_factory=list)
    """Heads that were lower than what was known before."""
    opened: int = 0
    """Writers and readers that are connected: what comes upon them later must not meet one of them while it opens its stores."""
    followed: list[str] = field(default_factory=list)
    consumed: Counter[str] = field(default_factory=Counter)

    def note(self, ids: list[str], outcomes: list[Appended]) -> None:
        """Take down an ack."""
        self.acked.update({name: outcome.position for name, outcome in zip(ids, outcomes, strict=True)})


@asynccontextmanager
async def bus_of(cluster: NatsCluster, options: NatsOptions = OPTIONS, *, url: str | None = None) -> AsyncIterator[NatsBus]:
    """A connection to *cluster*, or to the one node at *url*."""
    async with open_nats(url=url or cluster.url, user=cluster.user, password=cluster.password, options=options) as bus:
        yield bus


@asynccontextmanager
async def loaded(cluster: NatsCluster, *, writers: int = 6) -> AsyncIterator[Ledger]:
    """Load for as long as the block runs; at its end everything begun is acked, followed and consumed, and the whole log is right."""
    ledger, stop = Ledger(), asyncio.Event()
    async with bus_of(cluster), asyncio.TaskGroup() as group:
        writing = [group.create_task(_write(cluster, f"w{number}", ledger, stop)) for number in range(writers)]
        reading = [group.create_task(read(cluster, ledger)) for read in (_follow, _consume, _watch_heads)]
        try:
            await until(lambda: ledger.opened == len(writing) + len(reading), deadline=QUIET_S)
            await until(lambda: len(ledger.acked) > 100 and bool(ledger.followed) and bool(ledger.consumed), deadline=QUIET_S)
            yield ledger
            await more(ledger)
        finally:
            stop.set()
            await asyncio.wait(writing)
            await _caught_up(ledger)
            for task in reading:
                task.cancel()
    await check(cluster, ledger)


async def more(ledger: Ledger, count: int = 200) -> None:
    """Return once so many more messages are acked."""
    enough = len(ledger.acked) + count
    await until(lambda: len(ledger.acked) >= enough, deadline=QUIET_S)


async def check(cluster: NatsCluster, ledger: Ledger) -> None:
    """The log holds what was acked, each once and where it was said to be; readers saw all of it, followers in order and once."""
    found = await stored(cluster)
    names = Counter(name for name, _ in found)
    assert [name for name, count in names.items() if count > 1] == []
    missing = ledger.acked.keys() - names.keys()
    assert not missing, f"{len(missing)} of {len(ledger.acked)} acked messages are lost, {sorted(missing)[:3]} among them"
    assert dict(found) == ledger.acked
    assert ledger.unreadable == []
    assert ledger.sunken == []
    assert Counter(ledger.followed) == names
    assert ledger.followed == [name for name, _ in found]
    unseen = ledger.acked.keys() - ledger.consumed.keys()
    assert not unseen, f"a consumer never got {len(unseen)} messages, {sorted(unseen)[:3]} among them"


async def stored(cluster: NatsCluster) -> list[tuple[str, Position]]:
    """Every message of the log, in order, as its body and its position, once all replicas have it."""
    await asyncio.to_thread(cluster.settled)
    found: list[tuple[str, Position]] = []
    async with bus_of(cluster) as bus, asyncio.timeout(QUIET_S):
        heads = await bus.log.heads()
        at = dict.fromkeys(heads, 0)
        reader = bus.log.follow(after={}, limit=1000)
        while any(at[stream] < head for stream, head in heads.items()):
            for message in await anext(reader):
                at[message.position.stream] = message.position.sequence
                found.append((message.body.decode(), message.position))
        await reader.aclose()
    return found


async def strive(lease: Lease, attempted: Callable[[int | None], None]) -> None:
    """Attempt *lease* for ever, as its holder and as one who waits for it; *attempted* is told of the term each time."""
    while True:
        try:
            attempted(await lease.attempt())
        except AWAY:
            attempted(None)
        await asyncio.sleep(lease.pause_s)


async def _write(cluster: NatsCluster, name: str, ledger: Ledger, stop: asyncio.Event) -> None:
    scope = Scope(Tenant("acme"), MemoryName(name))
    async with bus_of(cluster) as bus:
        ledger.opened += 1
        turn = 0
        while not stop.is_set():
            batch = drafts(f"{name}-{turn}", 1 + turn % _BATCH, scope=scope)
            outcomes = None
            while outcomes is None:
                try:
                    outcomes = list(await bus.log.append(batch))
                except AWAY:
                    ledger.repeats += 1
                    await asyncio.sleep(_PAUSE_S)
            ledger.note([one.message_id for one in batch], outcomes)
            await _read_back(bus, batch[-1].message_id, outcomes[-1].position, ledger)
            turn += 1


async def _read_back(bus: NatsBus, name: str, position: Position, ledger: Ledger) -> None:
    try:
        [message] = await bus.log.read([position])
    except AWAY:
        ledger.repeats += 1
        return
    if message is None or message.body.decode() != name:
        ledger.unreadable.append(name)


async def _follow(cluster: NatsCluster, ledger: Ledger) -> None:
    async with bus_of(cluster) as bus:
        ledger.opened += 1
        async for batch in bus.log.follow(after={}, limit=100):
            ledger.followed += [message.body.decode() for message in batch]


async def _consume(cluster: NatsCluster, ledger: Ledger) -> None:
    async with bus_of(cluster) as bus:
        consumer = await bus.log.consumer("along")
        ledger.opened += 1
        while True:
            try:
                deliveries = await consumer.fetch(limit=100, wait=1.0)
                # before the acks: one that is answered with an error may have reached the broker
                ledger.consumed.update(delivery.message.body.decode() for delivery in deliveries)
                await consumer.ack_all(deliveries)
            except AWAY:
                await asyncio.sleep(_PAUSE_S)


async def _watch_heads(cluster: NatsCluster, ledger: Ledger) -> None:
    highest: dict[str, int] = {}
    async with bus_of(cluster, replace(OPTIONS, heads_age=0.0)) as bus:
        ledger.opened += 1
        while True:
            acked = max((position.sequence for position in ledger.acked.values()), default=0)
            try:
                heads = await bus.log.heads()
            except AWAY:
                await asyncio.sleep(_PAUSE_S)
                continue
            for stream, head in heads.items():
                if head < max(highest.get(stream, 0), acked):
                    ledger.sunken.append(f"{stream} at {head} after {highest.get(stream, 0)}, {acked} acked")
                highest[stream] = max(head, highest.get(stream, 0))
            await asyncio.sleep(_PAUSE_S)


async def _caught_up(ledger: Ledger) -> None:
    """Wait for the readers; what they miss is for ``check`` to say."""
    with contextlib.suppress(TimeoutError):
        await until(lambda: len(ledger.followed) >= len(ledger.acked) and ledger.consumed.keys() >= ledger.acked.keys(), deadline=READERS_S)
