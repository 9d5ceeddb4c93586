"""Rebuilds of projections that were asked for: one after another, by one process that leads and any number that help.

Belongs here: which generation an operation builds, its progress, and who takes part. Does not belong here: building one (``usecases``). A
newcomer would get wrong: the generation is named after the operation, so whoever goes on with it finds what is there already.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import structlog

from kalends.domain.errors import Conflict, KalendsError
from kalends.domain.events import new_ulid
from kalends.domain.operations import LongOperation
from kalends.index.usecases import Projection
from kalends.kit import tasks
from kalends.ports.clock import Clock
from kalends.wire.leases import Lease
from kalends.wire.operations import OperationStore
from kalends.wire.running import OperationRunner, Report

log = structlog.get_logger(__name__)

KIND = "reindex"
ALL = "all"
Observe = Callable[[str, int, int], None]
_LOOK_S = 1.0


def generation_of(operation: LongOperation) -> str:
    """The generation that *operation* builds."""
    return f"g{operation.operation_id.lower()}"


class Rebuilds:
    """See ``edge.long_work.LongWork``; *place* is the data folder where the engines are its own, empty where they are shared.

    *observe* is told a projection's name, and how much of how much its rebuild has dealt with, by the process that leads it.
    """

    def __init__(
        self,
        *,
        projections: Mapping[str, Projection],
        store: OperationStore,
        lease: Lease,
        clock: Clock,
        place: str = "",
        observe: Observe = lambda _name, _done, _total: None,
    ) -> None:
        self._projections = projections
        self._observe = observe
        self._clock = clock
        self._place = place
        self._runner = OperationRunner(
            kind=KIND, store=store, lease=lease, clock=clock, do=self._rebuild, abandon=self._abandon, place=place
        )

    async def ask(self, projection: str, *, dry_run: bool = False, total: int = 0) -> LongOperation:
        """Queue a rebuild of *projection* (or of all), unless the same one waits already; a dry run only counts."""
        if dry_run:
            return await self._runner.ask(projection, state="succeeded", dry_run=True, total=total)
        return await self._runner.join(projection, total=total)

    async def heal(self, projection: Projection) -> None:
        """Build *projection* anew: an engine of our own at once, whatever waits in the queue; else by the queue, where it is once.

        Raises:
            KalendsError: what the log or the store raise; nothing half built stays behind.
        """
        if not self._place:
            if not await self._waiting(projection):
                asked = await self.ask(projection.name)
                first = next(iter(await self._waiting(projection)), asked)
                if first.operation_id != asked.operation_id:
                    with suppress(Conflict):  # another process noticed the same at the same time, and once is enough
                        await self.cancel(asked.operation_id)
            return
        try:
            await projection.rebuild(f"g{new_ulid(self._clock.now()).lower()}", report=lambda _done, _total: None)
        finally:
            await self._clear_away([projection.name])

    async def _waiting(self, projection: Projection) -> Sequence[LongOperation]:
        """Rebuilds of *projection* that have not ended, oldest first."""
        found = [one for one in await self._runner.all() if not one.has_ended and one.subject in {projection.name, ALL}]
        return sorted(found, key=lambda one: (one.created_us, one.operation_id))

    async def find(self, operation_id: str) -> LongOperation | None:
        """A rebuild by its operation id."""
        return await self._runner.find(operation_id)

    async def all(self) -> Sequence[LongOperation]:
        """Every rebuild that is remembered."""
        return await self._runner.all()

    async def cancel(self, operation_id: str) -> None:
        """Stop a rebuild; the serving generation goes on to serve.

        Raises:
            Conflict: it has ended.
        """
        await self._runner.cancel(operation_id)

    async def run(self) -> None:
        """Work off what is asked for, or help whoever does, until cancelled."""
        async with tasks.group() as group:
            group.create_task(self._runner.run(), name="index.rebuilds.lead")
            await self._help()

    async def _rebuild(self, operation: LongOperation, report: Report) -> str:
        names = self._names(operation)
        generation = generation_of(operation)
        progress = dict.fromkeys(names, (0, 0))

        def reporter(name: str) -> Report:
            def told(done: int, total: int) -> None:
                self._observe(name, done, total)
                progress[name] = (done, total)
                done_of_all = sum(one for one, _ in progress.values())
                report(done_of_all, max(total * len(names), done_of_all))

            return told

        await self._clear_away(names)
        for name in names:
            await self._projections[name].rebuild(generation, report=reporter(name))
        return f"{', '.join(names)}: generation {generation}"

    async def _abandon(self, operation: LongOperation) -> None:
        await self._clear_away(self._names(operation))

    async def _clear_away(self, names: Sequence[str]) -> None:
        """Only who leads may: what no operation goes on with is nobody's."""
        keep = [generation_of(one) for one in await self._runner.all() if not one.has_ended]
        for name in names:
            await self._projections[name].clear_away(keep=keep)

    def _names(self, operation: LongOperation) -> list[str]:
        return list(self._projections) if operation.subject == ALL else [operation.subject]

    async def _help(self) -> None:
        """Take part in what another process leads."""
        helping: dict[tuple[str, str], asyncio.Task[None]] = {}
        async with tasks.group() as group:
            while True:
                await self._clock.sleep(_LOOK_S)
                underway = () if self._runner.leads else self._runner.underway
                wanted = {(name, generation_of(one)) for one in underway for name in self._names(one)}
                for over in [key for key, task in helping.items() if key not in wanted or task.done()]:
                    helping.pop(over).cancel()
                for name, generation in wanted - set(helping):
                    task = group.create_task(self._help_with(name, generation), name=f"index.{name}.help")
                    helping[name, generation] = task

    async def _help_with(self, name: str, generation: str) -> None:
        try:
            await self._projections[name].help_rebuild(generation)
        except* KalendsError as errors:  # of each of several writers, where the generation was dropped under them
            log.info("no help with a rebuild for now", projection=name, kind=_first(errors).code)


def _first(errors: BaseExceptionGroup[KalendsError]) -> KalendsError:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, KalendsError)  # noqa: S101 - a group of such errors holds nothing else
    return error
