"""Keeping the calendar: working off what is due.

Belongs here: the order of the work, and when a piece of it is done. Does not belong here: cutting (``segmenting``), rolling
(``rolling``), or deciding when to work (``scheduler``). A newcomer would get wrong: a piece is settled only after the calendar has
*followed* what was appended for it; killed before that, it is still due, finds the log as it should be, and appends nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import groupby
from typing import TypeVar

import structlog

from kalends.domain.errors import DeadlineExceeded, KalendsError, Throttled, Unavailable
from kalends.domain.events import microseconds
from kalends.domain.periods import LEVELS, Level, Period
from kalends.domain.positions import Floors
from kalends.domain.scope import Scope
from kalends.edge.progress import Progress
from kalends.kit import failpoints
from kalends.kit.traffic import Traffic, patience
from kalends.ports.calendar import Calendar, DuePeriod, DueUnit, Unit
from kalends.ports.clock import Clock
from kalends.summarize.rolling import RollPeriods
from kalends.summarize.segmenting import CutUnits
from kalends.summarize.writing import BUDGET_SPENT, CHAT_AWAY, CHAT_SLOW
from kalends.wire.node_store import NodeStore, Proposed

log = structlog.get_logger(__name__)

ROLLED: tuple[Level, ...] = tuple(reversed(LEVELS[:-1]))
"""What is rolled, the narrowest first: a period is rolled after its children."""

_UNITS = 32
"""Units that are cut before their segments are appended together."""

_PERIODS = 64
_ROLL_EVERY_S = 30.0
"""While units are being worked off, what stands above them is rolled so often, so that a long backlog shows early."""

_OUTDATED = 20
_OUTDATED_S = 0.5
"""So often, and with such a pause, what is due is read anew because an erasure went on while it was being summarized; then it stays due."""

_FOLLOWED_S = 30.0
_RETRIED = (BUDGET_SPENT, CHAT_AWAY, CHAT_SLOW)
_RETRY_AFTER_S = 600
_RETRY_AT_ONCE = 50
_GIVE_WAY_S = 2.0
_NO_WAY_S = 60.0
_OVERDUE_S = 900.0
_BEHIND = 200
"""Messages that a projection may be behind before summarizing waits for it."""

_LOOK_S = 0.25


D = TypeVar("D", DueUnit, DuePeriod)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """When a unit is due: its session has been silent for ``silence_s``, and its last change came ``settle_s`` ago."""

    silence_s: float = 1800.0
    settle_s: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a run did: units cut, nodes appended, pieces that failed and stay due."""

    units: int = 0
    periods: int = 0
    nodes: int = 0
    failed: int = 0

    def __add__(self, other: "Done") -> "Done":
        return Done(
            units=self.units + other.units,
            periods=self.periods + other.periods,
            nodes=self.nodes + other.nodes,
            failed=self.failed + other.failed,
        )

    @property
    def text(self) -> str:
        """One line for people."""
        said = f"{self.units} units cut, {self.periods} periods rolled, {self.nodes} nodes written"
        return f"{said}, {self.failed} failed" if self.failed else said


async def nothing_held() -> Collection[Scope]:
    """What is held where nothing is ever imported."""
    return ()


class KeepCalendar:
    """Works off what is due; one run at a time. *held* are the memories whose calendar waits, because it is being imported."""

    def __init__(
        self,
        *,
        calendar: Calendar,
        cut: CutUnits,
        roll: RollPeriods,
        store: NodeStore,
        progress: Progress,
        clock: Clock,
        traffic: Traffic,
        timing: Timing,
        held: Callable[[], Awaitable[Collection[Scope]]] = nothing_held,
    ) -> None:
        self._held = held
        self._calendar = calendar
        self._cut = cut
        self._roll = roll
        self._store = store
        self._progress = progress
        self._clock = clock
        self._traffic = traffic
        self._timing = timing
        self._one = asyncio.Lock()
        self._outdated = 0

    async def sweep(self, *, open_too: bool = False) -> Done:
        """Cut every unit that is quiet (with *open_too*, every one that changed), and roll what stands above.

        Raises:
            Unavailable, DeadlineExceeded, Throttled: a store or a model is away, or the log is full; what is not done stays due.
        """
        async with self._one:
            done, failed = Done(), set[Unit]()
            rolled_at = self._clock.monotonic()
            while units := [due for due in await self._due(len(failed), open_too=open_too) if due.unit not in failed]:
                done += await self._work_off(units, failed)
                if self._clock.monotonic() - rolled_at > _ROLL_EVERY_S:
                    done += await self._roll_all(ROLLED)
                    rolled_at = self._clock.monotonic()
            return done + await self._roll_all(ROLLED)

    async def roll(self, level: Level) -> Done:
        """Roll what is due from *level* up; of a day, cut first what is still open, so that today is never empty.

        What a model that was away left to the other summarizer is tried again.
        """
        if level == "day":
            before_us = microseconds(self._clock.now() - timedelta(seconds=_RETRY_AFTER_S))
            await self._calendar.retry_degraded(_RETRIED, before_us=before_us, limit=_RETRY_AT_ONCE)
            return await self.sweep(open_too=True)
        async with self._one:
            return await self._roll_all(ROLLED[ROLLED.index(level) :])

    async def _due(self, more: int, *, open_too: bool) -> Sequence[DueUnit]:
        now = self._clock.now()
        far = microseconds(now) + (1 << 60)
        return await self._calendar.due_units(
            quiet_before_us=far if open_too else microseconds(now - timedelta(seconds=self._timing.silence_s)),
            ended_before=now.date(),
            settled_before_us=far if open_too else microseconds(now - timedelta(seconds=self._timing.settle_s)),
            limit=_UNITS + more,
            held=await self._held(),
        )

    async def _give_way(self, due: DueUnit) -> None:
        """To writers for a moment, and to projections that are behind for as long as the unit is not overdue: being found comes first.

        The model that summarizes is the one that embeds; a large import is searchable first, and has its calendar then.
        """
        # a clock that was put back would have it wait for as long as it was put back
        behind_s = max(0.0, self._clock.now().timestamp() - due.since_us / 1e6)
        await self._traffic.give_way(at_most=patience(behind_s, longest=_GIVE_WAY_S, gone_after=_NO_WAY_S))
        while behind_s < _OVERDUE_S and await self._are_projections_behind():
            await asyncio.sleep(_LOOK_S)
            behind_s += _LOOK_S

    async def _are_projections_behind(self) -> bool:
        lag = await self._progress.lag()
        return any(lag[name].events > _BEHIND for name in ("lexical", "vector") if name in lag)

    async def _work_off(self, units: Sequence[DueUnit], failed: set[Unit]) -> Done:
        done = Done()
        for scope, group in _by_scope(units):
            cut: list[DueUnit] = []
            proposed: list[Proposed] = []
            since = await self._store.erasures_known()
            for due in group:
                await self._give_way(due)
                try:
                    proposed += await self._cut(due)
                except (Unavailable, DeadlineExceeded, Throttled):
                    raise
                except KalendsError as error:
                    log.warning("unit cannot be cut; it stays due", day=due.unit.day.isoformat(), kind=error.code)
                    failed.add(due.unit)
                    done = replace(done, failed=done.failed + 1)
                    continue
                cut.append(due)
            written = await self._store_all(scope, proposed, since=since)
            if written is None:
                continue
            await failpoints.reach("calendar.before-settle")
            for due in cut:
                await self._calendar.settle_unit(due.unit, version=due.version, forced=due.forced)
            await failpoints.reach("calendar.after-settle")
            done += Done(units=len(cut), nodes=written)
        return done

    async def _roll_all(self, levels: Sequence[Level]) -> Done:
        done, failed = Done(), set[tuple[Scope, Period]]()
        for level in levels:
            while periods := await self._periods(level, failed):
                for scope, group in _by_scope(periods):
                    done += await self._roll_together(scope, group, failed)
        return done

    async def _periods(self, level: Level, failed: set[tuple[Scope, Period]]) -> list[DuePeriod]:
        due = await self._calendar.due_periods(level, limit=_PERIODS + len(failed), held=await self._held())
        return [one for one in due if (one.scope, one.period) not in failed]

    async def _roll_together(self, scope: Scope, group: Sequence[DuePeriod], failed: set[tuple[Scope, Period]]) -> Done:
        rolled: list[DuePeriod] = []
        proposed: list[Proposed] = []
        since = await self._store.erasures_known()
        for due in group:
            try:
                one = await self._roll(due)
            except (Unavailable, DeadlineExceeded, Throttled):
                raise
            except KalendsError as error:
                log.warning("period cannot be rolled; it stays due", node=due.period.id, kind=error.code)
                failed.add((scope, due.period))
                continue
            rolled.append(due)
            proposed += [one] if one is not None else []
        written = await self._store_all(scope, proposed, since=since)
        if written is None:
            return Done()
        await failpoints.reach("calendar.before-settle-period")
        for due in rolled:
            await self._calendar.settle_period(scope, due.period, version=due.version, forced=due.forced)
        return Done(periods=len(rolled), nodes=written, failed=len(group) - len(rolled))

    async def _store_all(self, scope: Scope, proposed: Sequence[Proposed], *, since: int) -> int | None:
        """Append, and wait until the calendar of this process knows of it; how many, None if something was erased meanwhile.

        Raises:
            Unavailable: that was so again and again; what is due stays so.
        """
        if not proposed:
            return 0
        written = await self._store.append(scope, proposed, since=since)
        await self._follow(written.floors)
        if not written.outdated:
            self._outdated = 0
            return written.nodes
        self._outdated += 1
        if self._outdated > _OUTDATED:
            self._outdated = 0
            raise Unavailable("what the calendar is made of is being erased", dependency="erasure", retry_after=_OUTDATED_S)
        await asyncio.sleep(_OUTDATED_S)
        return None

    async def _follow(self, floors: Floors) -> None:
        if floors and not await self._progress.reached(floors, ("toc",), seconds=_FOLLOWED_S):
            raise DeadlineExceeded("the calendar did not follow the log in time", dependency="calendar")


def _by_scope(due: Sequence[D]) -> Iterator[tuple[Scope, list[D]]]:
    """*due* of one memory after the other, each in its order."""
    for scope, group in groupby(sorted(due, key=_scope_of), key=_scope_of):
        yield scope, list(group)


def _scope_of(due: DueUnit | DuePeriod) -> Scope:
    return due.unit.scope if isinstance(due, DueUnit) else due.scope
