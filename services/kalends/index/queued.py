"""Long work of this process, one piece after another; a restart ends it.

Belongs here: the queue, what is remembered, cancelling. Does not belong here: the work (``usecases``, ``compacting``), or operations that
outlive a process (``wire.operations``). A newcomer would get wrong: the oldest are forgotten even if they still wait, and are then passed
over.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import structlog

from kalends.domain.errors import Conflict, KalendsError
from kalends.domain.events import microseconds, new_ulid
from kalends.edge.long_work import Work
from kalends.kit import tasks
from kalends.ports.clock import Clock

log = structlog.get_logger(__name__)


class QueuedWork:
    """See ``edge.long_work.LongWork``; *do* does one operation and returns what changes with its success."""

    def __init__(self, *, kind: str, remembered: int, clock: Clock, do: Callable[[Work], Awaitable[dict[str, object]]]) -> None:
        self._kind = kind
        self._remembered = remembered
        self._clock = clock
        self._do = do
        self._known: dict[str, Work] = {}
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._running: tuple[str, asyncio.Task[None]] | None = None

    def add(self, subject: str, *, total: int = 0, dry_run: bool = False) -> Work:
        """Queue a piece of work; a dry run has succeeded already."""
        now = self._clock.now()
        at, state = microseconds(now), "succeeded" if dry_run else "queued"
        work = Work(
            operation_id=new_ulid(now),
            kind=self._kind,
            subject=subject,
            state=state,
            created_us=at,
            updated_us=at,
            total=total,
            dry_run=dry_run,
        )
        self._known[work.operation_id] = work
        while len(self._known) > self._remembered:
            del self._known[next(iter(self._known))]
        if not dry_run:
            self._queue.put_nowait(work.operation_id)
        return work

    async def find(self, operation_id: str) -> Work | None:
        """An operation that is remembered."""
        return self._known.get(operation_id)

    async def all(self) -> Sequence[Work]:
        """Every operation that is remembered."""
        return list(self._known.values())

    async def cancel(self, operation_id: str) -> None:
        """Stop an operation that waits or runs; what it has done stays.

        Raises:
            Conflict: it has ended already.
        """
        work = self._known[operation_id]
        if work.state not in {"queued", "running"}:
            raise Conflict(f"the operation has already {work.state}")
        self.change(operation_id, state="cancelled")
        if self._running is not None and self._running[0] == operation_id:
            self._running[1].cancel()

    async def run(self) -> None:
        """Work through the queue until cancelled."""
        while True:
            operation_id = await self._queue.get()
            known = self._known.get(operation_id)
            if known is None or known.state != "queued":
                continue
            async with tasks.group() as group:
                work = group.create_task(self._work(known), name=f"index.{self._kind}")
                self._running = (operation_id, work)
                await asyncio.wait([work])
                self._running = None

    def change(self, operation_id: str, **changes: object) -> None:
        """Note how an operation stands; one that is forgotten is no error."""
        known = self._known.get(operation_id)
        if known is not None:
            now_us = microseconds(self._clock.now())
            self._known[operation_id] = replace(known, updated_us=now_us, **changes)  # type: ignore[arg-type]

    async def _work(self, work: Work) -> None:
        operation_id = work.operation_id
        self.change(operation_id, state="running")
        try:
            ended = await self._do(work)
        except asyncio.CancelledError:
            self.change(operation_id, state="cancelled")
            raise
        except KalendsError as error:
            self.change(operation_id, state="failed", error=error.detail)
            log.exception("long work failed", work=self._kind, subject=work.subject, kind=error.code)
            return
        except Exception:
            self.change(operation_id, state="failed", error="an unexpected error; the log says which")
            log.exception("long work failed", work=self._kind, subject=work.subject, kind="internal")
            return
        self.change(operation_id, state="succeeded", **ended)
