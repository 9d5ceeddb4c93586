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
_FEW = 64


class SimulatedClock:
    """A clock that stands still until it is advanced; ``now`` and ``monotonic`` go together unless ``set_wall`` parts them.

    It counts whole microseconds, so that years of short sleeps end at the very moments that were slept for.
    """

    def __init__(self, start: datetime = datetime(2026, 3, 1, 12, tzinfo=UTC), *, seconds: float = 1000.0) -> None:
        self._wall = start
        self._offset = seconds
        self._passed_us = 0
        self._numbers = count()
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._most = _FEW

    def now(self) -> datetime:
        return self._wall

    def monotonic(self) -> float:
        return self._offset + self._passed_us / 1e6

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()
        due_us = self._passed_us + max(1, round(seconds * 1e6))
        heapq.heappush(self._sleepers, (due_us, next(self._numbers), woken))
        if len(self._sleepers) > self._most:
            self._forget_who_left()
        await woken

    async def advance(self, seconds: float) -> None:
        """Let so many seconds pass."""
        await self._pass_until(self._passed_us + round(seconds * 1e6))

    async def advance_to(self, moment: datetime) -> None:
        """Let time pass until *moment*."""
        await self.advance((moment - self._wall).total_seconds())

    def set_wall(self, moment: datetime) -> None:
        """Set what ``now`` says, as somebody may set a machine's clock; nobody who sleeps notices."""
        self._wall = moment

    @property
    def sleepers(self) -> int:
        """How many sleep now."""
        return sum(not woken.done() for _, _, woken in self._sleepers)

    def _forget_who_left(self) -> None:
        """Or years of sleeps that were cut short would pile up."""
        self._sleepers = [sleeper for sleeper in self._sleepers if not sleeper[2].done()]
        heapq.heapify(self._sleepers)
        self._most = 2 * len(self._sleepers) + _FEW

    async def _pass_until(self, end_us: int) -> None:
        await settled()
        while self._sleepers and self._sleepers[0][0] <= end_us:
            due_us, _, woken = heapq.heappop(self._sleepers)
            if woken.done():
                continue
            self._move(due_us)
            woken.set_result(None)
            await settled()
        self._move(end_us)
        await settled()

    def _move(self, to_us: int) -> None:
        self._wall += timedelta(microseconds=to_us - self._passed_us)
        self._passed_us = to_us


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
