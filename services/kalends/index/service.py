"""The index service as a value."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial

from kalends.domain.errors import NotFound, Unavailable
from kalends.edge.services import Loop, Service
from kalends.index import routes
from kalends.index.compacting import Compact, Compactions
from kalends.index.healing import Healer
from kalends.index.rebuilds import Observe, Rebuilds
from kalends.index.usecases import Projection
from kalends.ports.clock import Clock
from kalends.ports.dead_letters import DeadLetter, DeadLetters
from kalends.ports.log import Log
from kalends.settings import IndexSettings
from kalends.wire.leases import Lease
from kalends.wire.operations import OperationStore
from kalends.wire.reader import Reader, Unreadable

_HEAD_START_S = 60.0
"""A process that has nearly all of the log before it answers for no memory, and indexing beside takes most of its processor."""


async def after(known: Callable[[], Awaitable[None]], run: Callable[[], Awaitable[None]], *, at_most_s: float = _HEAD_START_S) -> None:
    """Do *run* once *known* has returned, or after *at_most_s* seconds: a log so large is indexed beside."""
    with suppress(TimeoutError):
        async with asyncio.timeout(at_most_s):
            await known()
    await run()


def build(
    settings: IndexSettings,
    *,
    log: Log,
    reader: Reader,
    projections: Mapping[str, Projection],
    letters: DeadLetters,
    clock: Clock,
    compact: Compact,
    operations: OperationStore,
    lease_of: Callable[[str], Lease],
    place: str,
    known: Callable[[], Awaitable[None]],
    observe_rebuild: Observe,
) -> Service:
    """Index from its settings and ports: one loop per projection, one for rebuilds, one for healing.

    *place* is where the engines are, empty for servers that every process shares. *known* returns once this process may answer for what
    the log holds; what it does for that comes first.
    """
    rebuilds = Rebuilds(
        projections=projections, store=operations, lease=lease_of("reindex"), clock=clock, place=place, observe=observe_rebuild
    )

    async def replay(letter: DeadLetter) -> None:
        """Write one message to the projection whose consumer gave it up."""
        projection = next((one for name, one in projections.items() if letter.consumer.startswith(f"{name}-")), None)
        if projection is None:
            raise NotFound("the consumer of this dead letter does not exist any more")
        (message,) = await log.read([letter.position])
        if message is None:
            raise NotFound("the message of this dead letter is gone from the log")
        (opened,) = await reader.open([message])
        if not isinstance(opened, Unreadable):
            await projection.sink.put(opened.entries(), opened.tombstones())
        elif not opened.erased:
            raise Unavailable(f"the message still cannot be read: {opened.reason}", dependency="log")

    loops = [Loop(name=f"index.{name}", run=partial(after, known, projection.run)) for name, projection in projections.items()]
    loops.append(Loop(name="index.rebuilds", run=rebuilds.run))
    healer = Healer(projections=projections, rebuild=rebuilds.heal, clock=clock, after_s=settings.heal_after_s)
    loops.append(Loop(name="index.healing", run=healer.run))
    compactions = Compactions(compact=compact, store=operations, lease=lease_of("compaction"), clock=clock, place=place)
    loops.append(Loop(name="index.compactions", run=compactions.run))
    rebuild_routes = routes.RebuildRoutes(rebuilds=rebuilds, log=log)
    compaction_routes = routes.CompactionRoutes(compactions)
    letter_routes = routes.DeadLetterRoutes(letters=letters, replay=replay)
    rows = routes.operations(rebuild_routes, compaction_routes, letter_routes)
    return Service(name="index", operations=rows, loops=loops, long_work=[rebuilds, compactions])
