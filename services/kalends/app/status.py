"""The instance as a whole: ``GET /status`` and what the metrics say of it.

Belongs here: gathering what every service and port already knows. Does not belong here: asking a dependency anew on every call (the
digests are the exception, and are only made when asked for).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from kalends.domain.erasures import Erasure
from kalends.domain.errors import Forbidden, KalendsError
from kalends.domain.queries import Digest
from kalends.edge.metrics import Metrics
from kalends.edge.operations import Answer, Call, Operation
from kalends.edge.progress import Progress
from kalends.edge.services import Health, Loop, Service
from kalends.index.schemas import CalendarOut, DependencyOut, LagOut, StatusOut
from kalends.ports.calendar import Calendar
from kalends.ports.dead_letters import DeadLetters

_EVERY_S = 5.0


class StatusQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``digests``: also compute what each projection holds, which reads all of it and needs the right ``admin``."""

    digests: Annotated[bool, Meta(description="Compute each projection's digest; reads all of it and needs the right admin")] = False


@dataclass(kw_only=True)
class StatusBoard:
    """What is asked for the status."""

    version: str
    mode: str
    progress: Progress
    metrics: Metrics
    letters: DeadLetters
    health: Callable[[], Sequence[Health]]
    digests: Mapping[str, Callable[[], Awaitable[Digest]]] = field(default_factory=dict)
    generations: Mapping[str, Callable[[], str]] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    calendar: Calendar | None = None
    last_backup: Callable[[], str | None] = lambda: None
    erasures: Callable[[], Sequence[Erasure]] = tuple
    letters_seen: int = 0
    format: int = 0

    async def show(self, call: Call) -> Answer:
        """Version, dependencies, lag, and on request the digests.

        Raises:
            Forbidden: digests without the right ``admin``: they read every memory of every tenant.
        """
        query: StatusQuery = call.query
        if query.digests and "admin" not in call.principal.rights:
            raise Forbidden("digests need the right admin")
        health = self.health()
        lag = await self.progress.lag()
        digests = {}
        if query.digests:
            for name, digest in self.digests.items():
                made = await digest()
                digests[name] = f"{made.events}:{made.digest}"
        body = StatusOut(
            version=self.version,
            mode=self.mode,
            state=overall(health),
            dependencies=[
                DependencyOut(
                    name=one.name, state=one.state, since=one.since, detail=one.detail, next_step=one.next_step, required=one.required
                )
                for one in health
            ],
            lag={name: LagOut(events=one.events, seconds=one.seconds) for name, one in lag.items()},
            generations={name: generation() for name, generation in self.generations.items()},
            digests=digests,
            models=dict(self.models),
            calendar=await self._calendar(),
            last_backup=self.last_backup(),
            dead_letters=self.letters_seen,
            format=self.format,
        )
        return Answer(body=body)

    async def observe(self) -> None:
        """Keep the gauges fresh until cancelled."""
        while True:
            for name, lag in (await self.progress.lag()).items():
                self.metrics.lag_messages.labels(name).set(lag.events)
                self.metrics.lag_seconds.labels(name).set(lag.seconds)
            for one in self.health():
                self.metrics.degraded.labels(one.name).set(0 if one.state == "up" else 1)
            await self._observe_calendar()
            self._observe_erasures()
            self._observe_backup()
            await self._count_letters()
            await asyncio.sleep(_EVERY_S)

    async def _observe_calendar(self) -> None:
        backlog = await self._calendar()
        if backlog is not None:
            self.metrics.calendar_due.labels("units").set(backlog.units_due)
            self.metrics.calendar_due.labels("periods").set(backlog.periods_due)
            self.metrics.calendar_lag_seconds.set(backlog.waiting_s)

    def _observe_erasures(self) -> None:
        active = self.erasures()
        # what may still be undone is not late
        since = min((max(one.undo_until_us, one.requested_us) for one in active), default=None)
        self.metrics.erasures_active.set(len(active))
        self.metrics.erasure_age_seconds.set(0.0 if since is None else max(0.0, time.time() - since / 1e6))

    def _observe_backup(self) -> None:
        made = self.last_backup()
        self.metrics.backup_made.set(0.0 if made is None else datetime.fromisoformat(made).timestamp())

    async def _calendar(self) -> CalendarOut | None:
        if self.calendar is None:
            return None
        backlog = await self.calendar.backlog()
        since = backlog.since_us
        waiting_s = 0.0 if since is None else max(0.0, time.time() - since / 1e6)
        return CalendarOut(units_due=backlog.units, periods_due=backlog.periods, waiting_s=round(waiting_s, 3))

    async def _count_letters(self) -> None:
        try:
            count = await self.letters.count()
        except KalendsError:
            return  # the broker is away; its own gauge says so
        if count > self.letters_seen:
            self.metrics.dead_letters.inc(count - self.letters_seen)
        self.letters_seen = count

    def service(self) -> Service:
        """The board as a service."""
        row = Operation(
            name="status",
            method="GET",
            path="/status",
            right="search",
            summary="Version, dependencies, lag",
            handle=self.show,
            answer=StatusOut,
            query=StatusQuery,
        )
        return Service(name="status", operations=(row,), loops=(Loop(name="status", run=self.observe),))


def overall(health: Sequence[Health]) -> str:
    """``up``, ``degraded`` or ``down`` for all together: a required dependency that is down takes everything down."""
    if any(one.required and one.state == "down" for one in health):
        return "down"
    return "up" if all(one.state == "up" for one in health) else "degraded"
