"""How far the projections are: floors, lag, and waiting for a write to become visible.

Belongs here: what ingest (``Prefer: wait``, back-pressure) and search (``min_visibility``, ``lag``) both ask. Not here: moving a
projection. A newcomer would get wrong: a floor comes from the broker's acknowledgements (or the timeline's own transaction), so it never
says more than what is durable.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from kalends.domain.errors import DeadlineExceeded, KalendsError, Unavailable
from kalends.domain.events import microseconds
from kalends.domain.positions import Floors, Position, covers
from kalends.kit import tasks
from kalends.ports.clock import Clock
from kalends.ports.log import Log

_FIRST_LOOK_S = 0.01
_LONGEST_LOOK_S = 0.25
_LAG_FRESH_S = 0.5
_LOOK_DEADLINE_S = 2.0

FloorsOf = Callable[[], Awaitable[Mapping[str, int]]]
GenerationOf = Callable[[], Awaitable[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LagNow:
    """How far behind: messages not yet in the projection, and the age in seconds of the oldest of them."""

    events: int
    seconds: float


class Progress:
    """The floors of every projection that this process can ask about."""

    def __init__(self, *, log: Log, clock: Clock, floors: Mapping[str, FloorsOf]) -> None:
        self._log = log
        self._clock = clock
        self._floors = dict(floors)
        self._generations: dict[str, GenerationOf] = {}
        self._moved = asyncio.Event()
        self._lag: dict[str, LagNow] = {}
        self._lag_at = float("-inf")

    def add(self, projection: str, floors: FloorsOf, *, generation: GenerationOf | None = None) -> None:
        """Watch another projection; *generation* asks anew which one serves, where there are several."""
        self._floors[projection] = floors
        if generation is not None:
            self._generations[projection] = generation

    @property
    def projections(self) -> tuple[str, ...]:
        """The projections that are watched."""
        return tuple(self._floors)

    def moved(self) -> None:
        """A projection of this process advanced: look again at once."""
        self._moved.set()

    async def floors(self, projection: str) -> Floors:
        """Where one projection stands.

        Raises:
            Unavailable, DeadlineExceeded: the log does not say.
        """
        return await self._floors[projection]()

    async def generations(self, projections: tuple[str, ...]) -> Mapping[str, str]:
        """Which generation of each projection serves, asked anew; what has none, or cannot be told now, is left out.

        Floors are of a generation, and so are hits: both speak of the same one if this says the same before and after.
        """
        found = {}
        for name in projections:
            if name in self._generations:
                with suppress(TimeoutError, KalendsError):
                    async with asyncio.timeout(_LOOK_DEADLINE_S):
                        found[name] = await self._generations[name]()
        return found

    async def reached(self, wanted: Floors, projections: tuple[str, ...], *, seconds: float) -> bool:
        """Wait until each of *projections* covers *wanted*; False if it takes longer than *seconds* or cannot be told."""
        missing = set(projections) & set(self._floors)
        pause = _FIRST_LOOK_S
        try:
            async with asyncio.timeout(max(seconds, 0.0)):
                while True:
                    self._moved.clear()
                    missing = {name for name in missing if not covers(await self._floors[name](), wanted)}
                    if not missing:
                        return True
                    await self._pause(pause)
                    pause = min(pause * 2, _LONGEST_LOOK_S)
        except (TimeoutError, Unavailable, DeadlineExceeded):
            return not missing

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._moved.wait()
        except TimeoutError:
            return  # look again: a projection of another process does not tell

    async def lag(self) -> Mapping[str, LagNow]:
        """The lag of every projection, at most half a second old; what cannot be told is left out."""
        if self._clock.monotonic() - self._lag_at > _LAG_FRESH_S:
            self._lag_at = self._clock.monotonic()
            self._lag = await self._look()
        return self._lag

    async def _look(self) -> dict[str, LagNow]:
        """The lag of every projection that can be told now; all are asked at once, so that one that hangs holds up none of the others."""
        until = asyncio.get_running_loop().time() + _LOOK_DEADLINE_S
        try:
            async with asyncio.timeout_at(until):
                heads = await self._log.heads()
        except (TimeoutError, KalendsError):
            return {}
        async with tasks.group() as group:
            looks = {name: group.create_task(self._told(floors, heads, until), name=f"lag.{name}") for name, floors in self._floors.items()}
        return {name: lag for name, look in looks.items() if (lag := look.result()) is not None}

    async def _told(self, floors: FloorsOf, heads: Floors, until: float) -> LagNow | None:
        """One projection's lag; None if it cannot be told before *until*, on the loop's clock."""
        try:
            async with asyncio.timeout_at(until):
                return await self._one_lag(await floors(), heads)
        except (TimeoutError, KalendsError):
            return None

    async def _one_lag(self, floors: Floors, heads: Floors) -> LagNow:
        behind = {stream: head - floors.get(stream, 0) for stream, head in heads.items() if head > floors.get(stream, 0)}
        if not behind:
            return LagNow(events=0, seconds=0.0)
        oldest = await self._log.read([Position(stream, floors.get(stream, 0) + 1) for stream in behind])
        now_us = microseconds(self._clock.now())
        ages = [(now_us - message.recorded_us) / 1e6 for message in oldest if message is not None]
        return LagNow(events=sum(behind.values()), seconds=round(max(ages, default=0.0), 3))
