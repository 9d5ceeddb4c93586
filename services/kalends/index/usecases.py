"""Projections as a whole: the serving generation, and rebuilding one beside it.

Belongs here: which consumer feeds which generation and when to switch. Not here: writing one batch (``consumers``), or who rebuilds when
(``rebuilds``). A newcomer would get wrong: the new generation's consumer starts at the beginning of the log and simply goes on after the
switch; nothing is handed over. As it is durable it also says where an interrupted rebuild goes on, and any number of processes may pull
from it at once.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

import structlog

from kalends.domain.errors import Conflict, KalendsError, NotFound, Unavailable
from kalends.domain.positions import Floors, covers
from kalends.index.consumers import Projector, Sink
from kalends.kit import failpoints, tasks
from kalends.kit.backoff import pauses
from kalends.kit.since import Since
from kalends.kit.traffic import Traffic
from kalends.ports.generations import Generations
from kalends.ports.log import Consumer, Log
from kalends.settings import IndexSettings
from kalends.wire.reader import Readable, Reader

log = structlog.get_logger(__name__)

_LOOK_S = 0.1
_MOMENT_S = 10.0
"""So far behind the log may be what begins to serve; who names what must be seen waits for it as ever. A write is through only with a
store's next refresh, and another batch waits behind it, so it cannot be much less."""

_PATIENCE = 0.5
"""Or behind by this much of the time that it has followed the log without reaching it: on a slow store it never comes nearer, and then a
rebuild would not end while there is load."""

_REST_S = 0.005
"""After each piece of examining what is stored, as long as a piece takes: single questions are not heavy traffic, and wait for it too."""

_GIVE_WAY_S = 0.05
"""At most, between two pieces, of which 50,000 points are 6,000: under steady traffic they take minutes, not hours."""

_REFRESH_S = 2.0
"""How often it is looked whether another process has switched."""

Notice = Callable[[Sequence[Readable]], Awaitable[None]]


@runtime_checkable
class Examined(Protocol):
    """An index that can tell whether it is what was written."""

    async def damaged(self, *, between: Callable[[], Awaitable[None]]) -> Sequence[str]:
        """See ``ports.lexicon``."""
        ...


class Projection:
    """One projection: its generations, the loop of the current one, and a rebuild when asked."""

    def __init__(
        self,
        *,
        name: str,
        log: Log,
        generations: Generations,
        sink_of: Callable[[object], Sink],
        index_of: Callable[[str], object],
        reader: Reader,
        batch: int,
        settings: IndexSettings,
        moved: Callable[[], None],
        traffic: Traffic,
        indexed: Notice | None = None,
        shared: bool = False,
    ) -> None:
        """*shared*: other processes write to its store and may switch, and the store may lose what it held."""
        self.name = name
        self._shared = shared
        self._log = log
        self._generations = generations
        self._sink_of = sink_of
        self._index_of = index_of
        self._reader = reader
        self._batch = batch
        self._settings = settings
        self._moved = moved
        self._traffic = traffic
        self._indexed = indexed
        self._projector: Projector | None = None
        self._restart = asyncio.Event()
        self._building = asyncio.Lock()
        self._consumers: dict[str, Consumer] = {}
        self._feeding: Consumer | None = None
        """What the projector fetches from: it is closed after the projector has ended, and no sooner."""
        self._failure: KalendsError | None = None
        self._failing_since: Since | None = None
        self._lost = False
        self._damaged = ""
        """The generation that is not what was written; empty if none is known to be so."""
        self._fed = ""
        """The generation that the projector writes into; empty while none does."""

    @property
    def generation(self) -> str:
        """The generation that serves."""
        return self._generations.current

    @property
    def failure(self) -> KalendsError | None:
        """Why the projection is paused, if it is."""
        return self._failure or (self._projector.failure if self._projector else None)

    @property
    def failing_since(self) -> str | None:
        """Since when it is paused, as RFC 3339; None while it is not."""
        since = self._since
        return None if since is None else since.moment.isoformat()

    def failing_for(self, monotonic: float) -> float:
        """How many seconds it has been paused at *monotonic*, whatever became of the wall clock meanwhile; 0 while it is not."""
        since = self._since
        return 0.0 if since is None else since.seconds_at(monotonic)

    @property
    def _since(self) -> Since | None:
        return self._failing_since or (self._projector.failing_since if self._projector else None)

    @property
    def index(self) -> object:
        """What reads and writes the generation that serves now, and no other: a write must not be split by a switch."""
        return self._index_of(self.generation)

    @property
    def sink(self) -> Sink:
        """Where entries of the generation that serves now go."""
        return self._sink_of(self.index)

    async def floors(self) -> Mapping[str, int]:
        """Per stream, up to where the serving generation has everything; nothing while there is none."""
        if not self.generation:
            return {}
        try:
            consumer = await self._consumer(self.generation)
            return {state.stream: state.floor for state in await consumer.states()}
        except NotFound:
            # another process has switched and dropped it, or the broker lost it
            await self._let_go(self.generation)
            await self._generations.refresh()
            raise Unavailable(f"the consumer of {self.name} is being made anew", dependency=self.name) from None

    async def is_lost(self) -> bool:
        """Whether the serving generation cannot come back by itself."""
        return self.generation == self._damaged != "" or await self._generations.is_lost()

    async def examine(self) -> Sequence[str]:
        """Names of what is stored of the serving generation and is not what was written; if there is any, healing builds it anew.

        It may take long, and gives way to whatever somebody waits for.

        Raises:
            Unavailable, DeadlineExceeded: the engine is away.
        """
        generation, index = self.generation, self.index
        found = await index.damaged(between=self._give_way) if isinstance(index, Examined) else ()
        if self.generation != generation:
            return ()  # another one serves since
        if found:
            self._damaged = generation
            self._failure = Unavailable(f"what is stored is damaged: {found[0]} and {len(found) - 1} more", dependency=self.name)
            self._failing_since = Since.now()
        return found

    async def _give_way(self) -> None:
        await asyncio.sleep(_REST_S)
        await self._traffic.give_way(at_most=_GIVE_WAY_S)

    async def follow(self) -> None:
        """Notice until cancelled when another process has switched."""
        while True:
            await asyncio.sleep(_REFRESH_S)
            try:
                serving = await self._generations.refresh()
                # not what was known before: whoever asked for floors meanwhile may have known first
                if self._fed and serving != self._fed:
                    log.info("another generation serves", projection=self.name, generation=serving)
                    await self._let_go(self._fed)
                    self._fed = ""
                    self._restart.set()
                    self._moved()
            except KalendsError as error:
                log.info("the serving generation cannot be asked for", projection=self.name, kind=error.code)
            if self._shared:
                await self._look_for_loss()

    async def _look_for_loss(self) -> None:
        """A shared store can lose an index while nothing is written, and then no failure of a write tells."""
        with contextlib.suppress(KalendsError):  # whether it is lost cannot be told while the store is away, which whoever writes notices
            lost = await self._generations.is_lost()
            if lost and not self._lost:
                log.warning("the index is gone from its store", projection=self.name, generation=self.generation)
                self._failure = Unavailable("the index is gone from its store", dependency=self.name)
                self._failing_since = self._failing_since or Since.now()
            elif self._lost and not lost:
                self._failure = self._failing_since = None
            self._lost = lost

    async def run(self) -> None:
        """Feed the serving generation until cancelled; after a switch, the new one."""
        async with tasks.group() as group:
            group.create_task(self.follow(), name=f"index.{self.name}.follow")
            while True:
                self._restart.clear()
                feeding = group.create_task(self._feed(), name=f"index.{self.name}.feed")
                await self._restart.wait()
                feeding.cancel()
                await asyncio.wait([feeding])
                self._fed = ""

    async def _feed(self) -> None:
        waits = self._pauses()
        while True:
            try:
                await self._ensure()
                generation = self.generation
                self._feeding = await self._consumer(generation)
                self._projector = self._projector_of(self._feeding, self._index_of(generation), serving=True)
                self._fed = generation
                self._failure = self._failing_since = None
                waits = self._pauses()
                await self._projector.run()
            except KalendsError as error:
                log.warning("projection starts over", projection=self.name, kind=error.code)
                self._failure, self._failing_since = error, self._failing_since or Since.now()
                # the broker lost it and it is made anew, or another process has switched and dropped it
                for known in tuple(self._consumers):
                    await self._let_go(known)
            finally:
                fed, self._feeding = self._feeding, None
                if fed is not None and fed not in self._consumers.values():
                    await _close(fed)
            await asyncio.sleep(next(waits))

    async def _ensure(self) -> None:
        """A generation serves; the consumer of one that was lost is forgotten with it."""
        with contextlib.suppress(KalendsError):  # if it is lost, or its store is away, ``ensure`` says so or mends it
            await self._generations.refresh()
        before = self.generation
        await self._generations.ensure()
        if before and before != self.generation:
            await self._let_go(before)
            await self._log.drop_consumer(self._consumer_name(before))

    def _pauses(self) -> Iterator[float]:
        return pauses(first=self._settings.breaker_first_s, longest=self._settings.breaker_longest_s)

    def _projector_of(self, consumer: Consumer, index: object, *, serving: bool) -> Projector:
        return Projector(
            projection=self.name,
            consumer=consumer,
            sink=self._sink_of(index),
            reader=self._reader,
            batch=self._batch,
            settings=self._settings,
            moved=self._moved,
            traffic=self._traffic,
            indexed=self._indexed if serving else None,
            rate=0.0 if serving else self._settings.rebuild_rate,
        )

    async def _consumer(self, generation: str) -> Consumer:
        """One for each generation: every one that is opened holds a subscription, and floors are asked for many times a second."""
        opened = self._consumers.get(generation)
        if opened is None:
            opened = await self._log.consumer(self._consumer_name(generation))
            if await self._generations.refresh() != generation:
                # another process has switched, and may have ended this consumer before it was opened, which made it anew
                await _close(opened)
                await self._log.drop_consumer(self._consumer_name(generation))
                raise Unavailable(f"another generation of {self.name} begins to serve", dependency=self.name)
            mine, opened = opened, self._consumers.setdefault(generation, opened)
            if mine is not opened:
                await _close(mine)
        return opened

    async def _let_go(self, generation: str) -> None:
        """Know of no consumer of *generation* any more."""
        known = self._consumers.pop(generation, None)
        if known is not None and known is not self._feeding:
            await _close(known)

    def _consumer_name(self, generation: str) -> str:
        return f"{self.name}-{generation}"

    async def rebuild(self, generation: str, *, report: Callable[[int, int], None]) -> None:
        """Build *generation* from the whole log beside the serving one, switch to it, and drop the old one.

        One that was begun and interrupted goes on where it was; one that serves already is done.

        Raises:
            Conflict: another rebuild of this projection is under way. And what log and store raise.
        """
        if self._building.locked():
            raise Conflict(f"a rebuild of {self.name} is under way")
        async with self._building:
            old = await self._generations.refresh()
            if old == generation:
                return
            index = await self._generations.resume(generation)
            if index is None:
                await self._log.drop_consumer(self._consumer_name(generation))
                index = await self._generations.begin(generation)
            await self._fill(generation, index, report)
            await failpoints.reach("rebuild.before-switch")
            try:
                await self._generations.switch(generation)
            finally:
                if self.generation == generation:  # also if it was cancelled while the old one was being closed
                    self._restart.set()
            await failpoints.reach("rebuild.after-switch")
            await self._forget(old)

    async def help_rebuild(self, generation: str) -> None:
        """Write into *generation*, which another process builds, until cancelled; returns at once if there is none here."""
        index = await self._generations.resume(generation)
        if index is None:
            return
        async with contextlib.AsyncExitStack() as opened, tasks.group() as group:
            filling = await self._start_filling(group, opened, generation, index)
            if await self._generations.resume(generation) is None and await self._generations.refresh() != generation:
                # it was given up meanwhile, and opening its consumer may have made it anew
                await self._log.drop_consumer(self._consumer_name(generation))
                for one in filling:
                    one.cancel()

    async def clear_away(self, *, keep: Sequence[str]) -> None:
        """Delete the generations that are begun, do not serve and are not in *keep*: what rebuilds left that will not go on.

        While a rebuild is under way here nothing is, for it may be its.
        """
        if self._building.locked():
            return
        for leftover in await self._generations.leftovers():
            if leftover not in keep:
                await self._forget(leftover)

    async def _forget(self, generation: str) -> None:
        await self._let_go(generation)
        await self._log.drop_consumer(self._consumer_name(generation))
        await self._generations.drop(generation)
        # again: who helped may have opened it between the two, which made it anew, and found the index still there
        await self._log.drop_consumer(self._consumer_name(generation))

    async def _start_filling(
        self, group: asyncio.TaskGroup, opened: contextlib.AsyncExitStack, generation: str, index: object
    ) -> "list[asyncio.Task[None]]":
        """One projector for each worker, all of them on the generation's one consumer, which each opens for itself until *opened* ends."""
        filling = []
        for number in range(self._settings.rebuild_workers):
            projector = self._projector_of(await self._open_for(generation, opened), index, serving=False)
            filling.append(group.create_task(self._fill_by(projector, generation), name=f"index.{self.name}.fill.{number}"))
        return filling

    async def _open_for(self, generation: str, opened: contextlib.AsyncExitStack) -> Consumer:
        consumer = await self._log.consumer(self._consumer_name(generation))
        opened.push_async_callback(_close, consumer)
        return consumer

    async def _fill_by(self, projector: Projector, generation: str) -> None:
        try:
            await projector.run()
        finally:
            log.info("wrote into a new generation", projection=self.name, generation=generation, events=projector.written)

    async def _fill(self, generation: str, index: object, report: Callable[[int, int], None]) -> None:
        total = sum((await self._log.heads()).values())
        async with contextlib.AsyncExitStack() as opened, tasks.group() as group:
            consumer = await self._open_for(generation, opened)
            filling = await self._start_filling(group, opened, generation, index)
            chase = Chase()
            while not await self._is_full(consumer, chase, total, report):
                await asyncio.wait(filling, timeout=_LOOK_S, return_when=asyncio.FIRST_COMPLETED)
            for one in filling:
                one.cancel()

    async def _is_full(self, consumer: Consumer, chase: "Chase", total: int, report: Callable[[int, int], None]) -> bool:
        states = await consumer.states()
        floors = {state.stream: state.floor for state in states}
        report(min(sum(floors.values()), total), total)
        if bool(states) and all(state.pending == 0 and state.in_flight == 0 for state in states):
            return True
        return chase.is_close(floors, heads=await self._log.heads(), now=time.monotonic())


async def _close(consumer: Consumer) -> None:
    """Let go of *consumer*, which would hold a subscription and its last acks for as long as the process lives."""
    with contextlib.suppress(KalendsError):  # without a connection there is nothing left of it at the broker either
        await consumer.close()


class Chase:
    """Whether a generation that is filled while others write is as good as full: what the log held, it had a moment later.

    Under a load without pauses there is always something under way to it, so it would never be empty-handed, and never serve.
    """

    def __init__(self) -> None:
        self._wanted: Floors | None = None
        self._since = 0.0
        self._reached: float | None = None
        """When it first had all that the log held at the beginning."""

    def is_close(self, floors: Floors, *, heads: Floors, now: float) -> bool:
        """Call again and again with how far it is and how far the log is, *now* in seconds."""
        wanted, since = self._wanted, self._since
        if wanted is not None and not covers(floors, wanted):
            return False
        self._wanted, self._since = heads, now
        if wanted is None:
            return False
        self._reached = now if self._reached is None else self._reached
        return now - since <= max(_MOMENT_S, (now - self._reached) * _PATIENCE)
