"""Traffic: work that somebody waits for, and work that gives way to it.

Belongs here: knowing whether there is traffic, and waiting until there is less. Does not belong here: what the work is. A newcomer would
get wrong: giving way has a bound, which shrinks to nothing as the waiting work falls behind; it is never starved.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Iterator

_HEAVY_UNDER_WAY = 4
_HEAVY_PER_S = 1000.0
_HALF_LIFE_S = 0.25
"""The rate is an average in which what passed a quarter of a second ago counts half."""

_STEP_S = 0.01


class Traffic:
    """Weighs what is under way in this process."""

    def __init__(self) -> None:
        self._under_way = 0
        self._recent = 0.0
        self._at = time.monotonic()

    @contextlib.contextmanager
    def passing(self, weight: int) -> Iterator[None]:
        """Something of *weight* units is under way that somebody waits for."""
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            self._recent = self._faded() + weight

    @property
    def heavy(self) -> bool:
        """Several are under way at once, or units pass at more than a thousand a second."""
        return self._under_way >= _HEAVY_UNDER_WAY or self._faded() > _HEAVY_PER_S * _HALF_LIFE_S / math.log(2)

    async def give_way(self, *, at_most: float) -> None:
        """Return once traffic is light, or after *at_most* seconds."""
        until = time.monotonic() + at_most
        while self.heavy and time.monotonic() < until:  # noqa: ASYNC110 - traffic fades with time, which no event tells
            await asyncio.sleep(_STEP_S)

    def _faded(self) -> float:
        now = time.monotonic()
        self._recent *= 0.5 ** ((now - self._at) / _HALF_LIFE_S)
        self._at = now
        return self._recent


def patience(behind_s: float, *, longest: float, gone_after: float) -> float:
    """How long work that is *behind_s* seconds behind may give way: *longest* at first, nothing from *gone_after* seconds on."""
    return max(0.0, longest * (1.0 - behind_s / gone_after))
