"""Doing operations: one after another, by whichever process holds the lease; if it dies, another goes on.

Belongs here: the queue, the lease, progress, cancelling. Does not belong here: the work itself (*do*), which must be safe to begin again
and go on where it was. A newcomer would get wrong: a process that is shut down leaves its operation running, for it goes on elsewhere or
at the next start; only a person's word, or an error that waiting cannot mend, ends one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import structlog

from kalends.domain.errors import Conflict, DeadlineExceeded, KalendsError, Unavailable
from kalends.domain.operations import LongOperation
from kalends.kit import tasks
from kalends.kit.backoff import pauses
from kalends.ports.clock import Clock
from kalends.wire.leases import Lease
from kalends.wire.operations import OperationStore

log = structlog.get_logger(__name__)

Report = Callable[[int, int], None]
"""Told how many of how many are done."""

Do = Callable[[LongOperation, Report], Awaitable[str]]
"""Does an operation, or goes on with it, and returns what came of it in a few words."""

Abandon = Callable[[LongOperation], Awaitable[None]]
"""Clears away what an operation that will not be finished has left."""

_RELEASE_S = 1.0
_FIRST_S, _LONGEST_S = 0.5, 30.0


async def nothing_to_clear(_: LongOperation) -> None:
    """For operations that leave nothing behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    result: str = ""
    error: str = ""


class OperationRunner:
    """The operations of one *kind* and *place* (see ``LongOperation``); *lease* is theirs alone."""

    def __init__(
        self,
        *,
        kind: str,
        store: OperationStore,
        lease: Lease,
        clock: Clock,
        do: Do,
        abandon: Abandon = nothing_to_clear,
        place: str = "",
    ) -> None:
        self._kind = kind
        self._store = store
        self._lease = lease
        self._clock = clock
        self._do = do
        self._abandon = abandon
        self._place = place
        self._open: dict[str, LongOperation] = {}
        self._changed = asyncio.Event()
        self._running: LongOperation | None = None
        self._progress: tuple[int, int] = (0, 0)
        self._stop: Callable[[], object] | None = None

    async def ask(self, subject: str, **more: object) -> LongOperation:
        """Queue an operation; *more* are further fields of it."""
        begun = await self._store.begin(self._kind, subject, place=self._place, **more)
        self._heard(begun)
        return begun

    async def join(self, subject: str, same: Mapping[str, object] | None = None, *, total: int = 0) -> LongOperation:
        """The operation that waits to do the same already, or a new one: what has not begun will do all that this one would.

        *same* are the fields in which both must agree beside *subject*; *total* is a new one's.
        """
        for one in await self._store.all(self._kind):
            waits = (one.state, one.place, one.subject) == ("queued", self._place, subject)
            if waits and all(getattr(one, name) == value for name, value in (same or {}).items()):
                return self._shown(one)
        return await self.ask(subject, **{**(same or {}), "total": total})

    async def find(self, operation_id: str) -> LongOperation | None:
        """An operation of this kind, wherever it is done."""
        found = await self._store.find(operation_id)
        return None if found is None or found.kind != self._kind else self._shown(found)

    async def all(self) -> Sequence[LongOperation]:
        """Every operation of this kind that is remembered, oldest first."""
        return [self._shown(one) for one in await self._store.all(self._kind)]

    async def cancel(self, operation_id: str) -> None:
        """Stop an operation, wherever it is done; what it has done stays.

        Raises:
            Conflict: it has ended, or never was.
        """
        while True:
            found = await self._store.find(operation_id)
            if found is None or found.has_ended:
                raise Conflict(f"the operation has already {found.state if found else 'ended'}")
            with suppress(Conflict):  # its progress was noted at the same time
                self._heard(await self._store.put(found, state="cancelled"))
                return

    @property
    def underway(self) -> Sequence[LongOperation]:
        """The operations that some process is doing now, as far as this one has heard."""
        return [one for one in self._open.values() if one.state == "running"]

    @property
    def leads(self) -> bool:
        """Whether it is this process that does one now."""
        return self._running is not None

    async def run(self) -> None:
        """Work off what is asked for until cancelled; first what an earlier process left."""
        try:
            async with tasks.group() as group:
                group.create_task(self._follow(), name=f"{self._kind}.follow")
                await self._work_off()
        finally:
            if self._lease.term is not None:
                await self._give_back()

    async def _follow(self) -> None:
        for pause in pauses(first=_FIRST_S, longest=_LONGEST_S):
            try:
                async for operation in self._store.watch():
                    if operation is not None and operation.kind == self._kind and operation.place == self._place:
                        self._heard(operation)
            except KalendsError as error:
                log.warning("operations cannot be followed", work=self._kind, kind=error.code)
            await self._clock.sleep(pause)

    def _heard(self, operation: LongOperation) -> None:
        before = self._open.get(operation.operation_id)
        if before is not None and before.revision > operation.revision:
            return
        if operation.has_ended:
            self._open.pop(operation.operation_id, None)
            if self._running is not None and self._running.operation_id == operation.operation_id and self._stop is not None:
                self._stop()
        else:
            self._open[operation.operation_id] = operation
        self._changed.set()

    async def _work_off(self) -> None:
        while True:
            self._changed.clear()
            waiting = min(self._open.values(), key=lambda one: (one.created_us, one.operation_id), default=None)
            if waiting is None:
                await self._changed.wait()
            elif not await self._may_lead():
                await self._clock.sleep(self._lease.pause_s)
            else:
                await self._take(waiting.operation_id)
                if not self._open:
                    await self._give_back()

    async def _may_lead(self) -> bool:
        try:
            return await self._lease.attempt() is not None
        except KalendsError as error:
            log.info("the lease cannot be asked for", work=self._kind, kind=error.code)
            return False

    async def _give_back(self) -> None:
        try:
            async with asyncio.timeout(_RELEASE_S):
                await self._lease.release()
        except (TimeoutError, KalendsError) as error:
            log.info("the lease runs out by itself", work=self._kind, reason=type(error).__name__)

    async def _take(self, operation_id: str) -> None:
        """Do one operation, from its record as it is now."""
        try:
            found = await self._store.find(operation_id)
            if found is None or found.has_ended:
                self._open.pop(operation_id, None)
                return
            self._running = await self._store.put(found, state="running")
        except KalendsError as error:
            log.info("an operation cannot be begun now", work=self._kind, kind=error.code)
            await self._clock.sleep(_FIRST_S)
            return
        self._progress = (self._running.done, self._running.total)
        log.info("an operation is done here", work=self._kind, operation=operation_id, subject=found.subject)
        try:
            await self._run_one(self._running)
        finally:
            self._running = self._stop = None

    async def _run_one(self, operation: LongOperation) -> None:
        async with tasks.group() as group:
            work = group.create_task(self._attempt(operation), name=f"{self._kind}.work")
            self._stop = work.cancel
            keeping = group.create_task(self._keep(work), name=f"{self._kind}.keep")
            await asyncio.wait([work])
            keeping.cancel()
        if not work.cancelled():
            outcome = work.result()
            if await self._end(outcome) and outcome.error:
                await self._clear(operation)
        elif operation.operation_id not in self._open:
            await self._clear(operation)  # a person ended it
        else:
            log.warning("an operation goes on elsewhere", work=self._kind, operation=operation.operation_id)

    async def _attempt(self, operation: LongOperation) -> _Outcome:
        """Until it is done or cannot be; what is away is waited for."""
        for pause in pauses(first=_FIRST_S, longest=_LONGEST_S):
            try:
                return _Outcome(result=await self._do(operation, self._report))
            except (Unavailable, DeadlineExceeded) as error:
                log.warning("an operation waits", work=self._kind, kind=error.code, dependency=error.dependency)
                await self._clock.sleep(pause)
            except KalendsError as error:
                log.exception("long work failed", work=self._kind, subject=operation.subject, kind=error.code)
                return _Outcome(error=error.detail)
            except Exception:
                log.exception("long work failed", work=self._kind, subject=operation.subject, kind="internal")
                return _Outcome(error="an unexpected error; the log says which")
        raise AssertionError("pauses never end")

    def _report(self, done: int, total: int) -> None:
        self._progress = (done, total)

    async def _keep(self, work: "asyncio.Task[_Outcome]") -> None:
        """Renew the lease and note how far it is; without the lease another does it, so this one stops."""
        noted, troubled = self._clock.monotonic(), False
        while True:
            await self._clock.sleep(self._lease.pause_s)
            try:
                await self._lease.attempt()
                if self._clock.monotonic() - noted >= 1.0:
                    noted = self._clock.monotonic()
                    await self._note()
                troubled = False
            except KalendsError as error:  # a full store too: what we hold we hold until it runs out, which ``term`` knows
                if not troubled:
                    log.warning("the lease cannot be kept", work=self._kind, kind=error.code, reason=error.detail)
                troubled = True
            if self._lease.term is None:
                work.cancel()
                return

    async def _note(self, **changes: object) -> bool:
        """Store how the running operation stands; whether it is still to be done."""
        assert self._running is not None  # noqa: S101 - only called while one runs
        done, total = self._progress
        if not changes and (done, total) == (self._running.done, self._running.total):
            return True
        try:
            self._running = await self._store.put(self._running, done=done, total=total, **changes)
        except Conflict:
            found = await self._store.find(self._running.operation_id)
            if found is None or found.has_ended:
                self._heard(found or replace(self._running, state="cancelled"))
                return False
            self._running = found
            return await self._note(**changes)
        self._heard(self._running)
        return True

    async def _end(self, outcome: _Outcome) -> bool:
        """Note how it ended, for as long as that takes; False if a person ended it first."""
        done, total = self._progress
        self._progress = (done, total) if outcome.error else (max(done, total), max(done, total))
        state = "failed" if outcome.error else "succeeded"
        for pause in pauses(first=_FIRST_S, longest=_LONGEST_S):
            try:
                return await self._note(state=state, error=outcome.error, result=outcome.result)
            except KalendsError as error:
                log.warning("the end of an operation cannot be noted", work=self._kind, kind=error.code)
                await self._clock.sleep(pause)
        raise AssertionError("pauses never end")

    async def _clear(self, operation: LongOperation) -> None:
        try:
            await self._abandon(operation)
        except KalendsError as error:
            log.warning("what an operation left is cleared away later", work=self._kind, kind=error.code)

    def _shown(self, stored: LongOperation) -> LongOperation:
        if self._running is None or self._running.operation_id != stored.operation_id or stored.has_ended:
            return stored
        done, total = self._progress
        return replace(stored, done=done, total=total)
