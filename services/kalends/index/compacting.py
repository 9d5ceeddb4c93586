"""Compaction: stores give back what they do not need any more, while they serve.

Belongs here: asking one store after the other, because it is due or because somebody asked. Does not belong here: how a store does it
(``adapters``). A newcomer would get wrong: what deleted vectors take up is not given back by it, because Edge would stop the whole process
for as long as that takes (45 µs a point, measured); a rebuild of the projection does.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import structlog

from kalends.domain.errors import Conflict, KalendsError
from kalends.domain.events import microseconds, new_ulid
from kalends.edge.long_work import Work
from kalends.kit import tasks
from kalends.kit.traffic import Traffic
from kalends.ports.clock import Clock

log = structlog.get_logger(__name__)

_GIVE_WAY_S = 2.0
_REMEMBERED = 20

Compactable = Callable[[], Awaitable[int]]
"""A store's ``compact``: the bytes of disk that it freed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactReport:
    """Bytes of disk that each store freed."""

    freed: Mapping[str, int] = field(default_factory=dict)
    dry_run: bool = False

    @property
    def text(self) -> str:
        """One line for people."""
        if self.dry_run:
            return "nothing was compacted (dry run)"
        return ", ".join(f"{name}: {size / 1e6:.1f} MB freed" for name, size in self.freed.items()) or "nothing to compact"


class Compact:
    """The task ``compaction``; again is safe, and so is a cancellation anywhere."""

    def __init__(
        self, *, stores: Mapping[str, Compactable], traffic: Traffic, observe: Callable[[str, int], None] = lambda _name, _bytes: None
    ) -> None:
        """*stores* by the name that people know; *observe* is told name and bytes."""
        self._stores = stores
        self._traffic = traffic
        self._observe = observe

    async def __call__(self, *, dry_run: bool = False, report: Callable[[int, int], None] = lambda _done, _total: None) -> CompactReport:
        """Compact one store after the other; a dry run does nothing. *report* is told how many of how many are done.

        Raises:
            Unavailable: a store does not answer; those before it are compacted.
        """
        freed: dict[str, int] = {}
        for name, compact in {} if dry_run else self._stores.items():
            await self._traffic.give_way(at_most=_GIVE_WAY_S)
            freed[name] = await compact()
            self._observe(name, freed[name])
            report(len(freed), len(self._stores))
        return CompactReport(freed=freed, dry_run=dry_run)


class Compactions:
    """Compactions asked for, one after another; the newest twenty are remembered. See ``edge.long_work``."""

    def __init__(self, *, compact: Compact, clock: Clock) -> None:
        self._compact = compact
        self._clock = clock
        self._known: dict[str, Work] = {}
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._running: tuple[str, asyncio.Task[None]] | None = None

    def ask(self) -> Work:
        """Queue a compaction of every store."""
        now = self._clock.now()
        at = microseconds(now)
        work = Work(operation_id=new_ulid(now), kind="compaction", subject="all", state="queued", created_us=at, updated_us=at)
        self._known[work.operation_id] = work
        while len(self._known) > _REMEMBERED:
            del self._known[next(iter(self._known))]
        self._queue.put_nowait(work.operation_id)
        return work

    async def find(self, operation_id: str) -> Work | None:
        """A compaction by its operation id."""
        return self._known.get(operation_id)

    async def all(self) -> Sequence[Work]:
        """Every compaction that is remembered."""
        return list(self._known.values())

    async def cancel(self, operation_id: str) -> None:
        """Stop a queued or running compaction; what is compacted stays so.

        Raises:
            Conflict: it has ended already.
        """
        work = self._known[operation_id]
        if work.state not in {"queued", "running"}:
            raise Conflict(f"the operation has already {work.state}")
        self._change(operation_id, state="cancelled")
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
                work = group.create_task(self._work(operation_id), name="index.compaction")
                self._running = (operation_id, work)
                await asyncio.wait([work])
                self._running = None

    async def _work(self, operation_id: str) -> None:
        self._change(operation_id, state="running")
        try:
            report = await self._compact(report=lambda done, total: self._change(operation_id, done=done, total=total))
        except asyncio.CancelledError:
            self._change(operation_id, state="cancelled")
            raise
        except KalendsError as error:
            self._change(operation_id, state="failed", error=error.detail)
            log.exception("compaction failed", kind=error.code)
            return
        except Exception:
            self._change(operation_id, state="failed", error="an unexpected error; the log says which")
            log.exception("compaction failed", kind="internal")
            return
        self._change(operation_id, state="succeeded", result=report.text)

    def _change(self, operation_id: str, **changes: object) -> None:
        known = self._known.get(operation_id)
        if known is not None:
            now_us = microseconds(self._clock.now())
            self._known[operation_id] = replace(known, updated_us=now_us, **changes)  # type: ignore[arg-type]
