"""Clocks for tests: time that passes when the test says so.

Belongs here: the simulated clock, and sleeping on any clock. Does not belong here: what is done at which time. A newcomer would get
wrong: ``advance`` wakes who sleeps one after the other, in the order of their times, and lets everything that follows from it happen before
the next one is woken; what waits for a file, a thread or the network is not waited for.
"""

import asyncio
import heapq
from datetime import UTC, datetime, timedelta
from itertools import count

from kalends.ports.clock import Clock

_TURNS = 10_000


class SimulatedClock:
    """A clock that stands still until it is advanced; ``now`` and ``monotonic`` go together unless ``set_wall`` parts them."""

    def __init__(self, start: datetime = datetime(2026, 3, 1, 12, tzinfo=UTC)) -> None:
        self._wall = start
        self._seconds = 1000.0
        self._numbers = count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        return self._wall

    def monotonic(self) -> float:
        return self._seconds

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._seconds + seconds, next(self._numbers), woken))
        await woken

    async def advance(self, seconds: float) -> None:
        """Let so many seconds pass."""
        await self._pass_until(self._seconds + seconds)

    async def advance_to(self, moment: datetime) -> None:
        """Let time pass until *moment*."""
        await self.advance((moment - self._wall).total_seconds())

    def set_wall(self, moment: datetime) -> None:
        """Set what ``now`` says, as somebody may set a machine's clock; nobody who sleeps notices."""
        self._wall = moment

    async def _pass_until(self, end: float) -> None:
        await settled()
        while self._sleepers and self._sleepers[0][0] <= end:
            due, _, woken = heapq.heappop(self._sleepers)
            if woken.done():
                continue
            self._move(due)
            woken.set_result(None)
            await settled()
        self._move(end)
        await settled()

    def _move(self, to: float) -> None:
        self._wall += timedelta(seconds=to - self._seconds)
        self._seconds = to


async def settled() -> None:
    """Return once nothing on the running loop can go on by itself.

    Raises:
        RuntimeError: something goes on for ever.
    """
    loop = asyncio.get_running_loop()
    for _ in range(_TURNS):
        await asyncio.sleep(0)
        if not loop._ready:  # the one thing that tells whether anything is left to do
            return
    raise RuntimeError("something goes on for ever without waiting for time")


async def slept(clock: Clock, seconds: float) -> float:
    """Sleep on *clock*, and return by how much ``monotonic`` grew."""
    before = clock.monotonic()
    await clock.sleep(seconds)
    return clock.monotonic() - before
