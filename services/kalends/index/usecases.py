"""Projections as a whole: the serving generation, and rebuilding one beside it.

Belongs here: which consumer feeds which generation and when to switch. Not here: writing one batch (``consumers``). A newcomer would
get wrong: the new generation's consumer starts at the beginning of the log and simply goes on after the switch; nothing is handed over.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog

from kalends.domain.errors import Conflict, KalendsError, NotFound
from kalends.edge.long_work import Work
from kalends.index.consumers import Projector, Sink
from kalends.index.queued import QueuedWork
from kalends.kit import failpoints, tasks
from kalends.kit.traffic import Traffic
from kalends.ports.clock import Clock
from kalends.ports.generations import Generations
from kalends.ports.log import Consumer, Log
from kalends.settings import IndexSettings
from kalends.wire.reader import Readable, Reader

log = structlog.get_logger(__name__)

_LOOK_S = 0.1
_REMEMBERED = 100
Notice = Callable[[Sequence[Readable]], Awaitable[None]]


class Projection:
    """One projection: its generations, the loop of the current one, and a rebuild when asked."""

    def __init__(
        self,
        *,
        name: str,
        log: Log,
        generations: Generations,
        sink_of: Callable[[object], Sink],
        current: object,
        reader: Reader,
        batch: int,
        settings: IndexSettings,
        moved: Callable[[], None],
        traffic: Traffic,
        indexed: Notice | None = None,
    ) -> None:
        self.name = name
        self._log = log
        self._generations = generations
        self._sink_of = sink_of
        self._current = current
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

    @property
    def generation(self) -> str:
        """The generation that serves."""
        return self._generations.current

    @property
    def failure(self) -> KalendsError | None:
        """Why the projection is paused, if it is."""
        return self._projector.failure if self._projector else None

    @property
    def failing_since(self) -> str | None:
        """Since when it is paused, as RFC 3339; None while it is not."""
        since = self._projector.failing_since if self._projector else None
        return None if since is None else since.isoformat()

    async def floors(self) -> Mapping[str, int]:
        """Per stream, up to where the serving generation has everything."""
        consumer = await self._consumer(self.generation)
        return {state.stream: state.floor for state in await consumer.states()}

    async def run(self) -> None:
        """Feed the serving generation until cancelled; after a switch, the new one."""
        while True:
            self._restart.clear()
            async with tasks.group() as group:
                feeding = group.create_task(self._feed(), name=f"index.{self.name}.feed")
                await self._restart.wait()
                feeding.cancel()

    async def _feed(self) -> None:
        while True:
            try:
                self._projector = await self._projector_for(self.generation, self._current, self._batch, serving=True)
                await self._projector.run()
            except KalendsError as error:
                log.warning("projection starts over", projection=self.name, kind=error.code)
                if isinstance(error, NotFound):
                    self._consumers.clear()  # the broker lost it: it is made anew
                await asyncio.sleep(self._settings.breaker_first_s)

    async def _projector_for(self, generation: str, index: object, batch: int, *, serving: bool) -> Projector:
        return Projector(
            projection=self.name,
            consumer=await self._consumer(generation),
            sink=self._sink_of(index),
            reader=self._reader,
            batch=batch,
            settings=self._settings,
            moved=self._moved,
            traffic=self._traffic,
            indexed=self._indexed if serving else None,
        )

    async def _consumer(self, generation: str) -> Consumer:
        """One for each generation: every one that is opened holds a subscription, and floors are asked for many times a second."""
        opened = self._consumers.get(generation)
        if opened is None:
            opened = await self._log.consumer(self._consumer_name(generation))
            opened = self._consumers.setdefault(generation, opened)
        return opened

    def _consumer_name(self, generation: str) -> str:
        return f"{self.name}-{generation}"

    async def rebuild(self, generation: str, *, report: Callable[[int, int], None]) -> None:
        """Build *generation* from the whole log beside the serving one, switch to it, and drop the old one.

        Raises:
            Conflict: another rebuild of this projection is under way. And what log and store raise.
        """
        if self._building.locked():
            raise Conflict(f"a rebuild of {self.name} is under way")
        async with self._building:
            old = self.generation
            index = await self._generations.begin(generation)
            try:
                await self._fill(generation, index, report)
            except BaseException:
                await asyncio.shield(self._abandon(generation))
                raise
            await failpoints.reach("rebuild.before-switch")
            try:
                await self._generations.switch(generation)
            finally:
                if self.generation == generation:  # also if it was cancelled while the old one was being closed
                    self._restart.set()
            await failpoints.reach("rebuild.after-switch")
            await self._log.drop_consumer(self._consumer_name(old))
            self._consumers.pop(old, None)
            await self._generations.drop(old)

    async def _fill(self, generation: str, index: object, report: Callable[[int, int], None]) -> None:
        total = sum((await self._log.heads()).values())
        projector = await self._projector_for(generation, index, self._batch, serving=False)
        consumer = await self._consumer(generation)
        async with tasks.group() as group:
            filling = group.create_task(projector.run(), name=f"index.{self.name}.fill")
            while not await self._is_full(consumer, total, report):
                await asyncio.wait([filling], timeout=_LOOK_S)
            filling.cancel()

    async def _is_full(self, consumer: Consumer, total: int, report: Callable[[int, int], None]) -> bool:
        states = await consumer.states()
        report(min(sum(state.floor for state in states), total), total)
        return bool(states) and all(state.pending == 0 and state.in_flight == 0 for state in states)

    async def _abandon(self, generation: str) -> None:
        self._consumers.pop(generation, None)
        await self._log.drop_consumer(self._consumer_name(generation))
        await self._generations.drop(generation)


class Rebuilds(QueuedWork):
    """Rebuilds asked for, one after another; the newest hundred are remembered."""

    def __init__(self, *, projections: Mapping[str, Projection], clock: Clock) -> None:
        super().__init__(kind="reindex", remembered=_REMEMBERED, clock=clock, do=self._rebuild)
        self._projections = projections

    async def ask(self, projection: str, *, dry_run: bool, total: int) -> Work:
        """Queue a rebuild of *projection* (or of all); a dry run only counts."""
        return self.add(projection, total=total, dry_run=dry_run)

    async def _rebuild(self, work: Work) -> dict[str, object]:
        names = list(self._projections) if work.subject == "all" else [work.subject]
        generation = f"g{work.operation_id.lower()}"
        progress = dict.fromkeys(names, (0, 0))

        def reporter(name: str) -> Callable[[int, int], None]:
            def report(done: int, total: int) -> None:
                progress[name] = (done, total)
                done_of_all = sum(one for one, _ in progress.values())
                self.change(work.operation_id, done=done_of_all, total=max(total * len(names), done_of_all))

            return report

        for name in names:
            await self._projections[name].rebuild(generation, report=reporter(name))
        ended = await self.find(work.operation_id)
        return {} if ended is None else {"done": ended.total}
