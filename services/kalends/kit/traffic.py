"""Traffic: work that somebody waits for, and work that gives way to it.

Belongs here: knowing whether there is traffic, and waiting until there is less. Does not belong here: what the work is. A newcomer would
get wrong: giving way has a bound, which shrinks to nothing as the waiting work falls behind; it is never starved.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterator

_CALM_S = 0.02
"""Without traffic for so long, the road counts as free."""

_STEP_S = 0.005


class Traffic:
    """Counts what is under way in this process."""

    def __init__(self) -> None:
        self._under_way = 0
        self._last = float("-inf")

    @contextlib.contextmanager
    def passing(self) -> Iterator[None]:
        """Something that somebody waits for is under way."""
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            self._last = time.monotonic()

    @property
    def calm(self) -> bool:
        """Nothing is under way, nor was a moment ago."""
        return self._under_way == 0 and time.monotonic() - self._last >= _CALM_S

    async def give_way(self, *, at_most: float) -> None:
        """Return once the road is free, or after *at_most* seconds."""
        until = time.monotonic() + at_most
        while not self.calm and time.monotonic() < until:  # noqa: ASYNC110 - calm is the passing of time, which no event tells
            await asyncio.sleep(_STEP_S)


def patience(behind_s: float, *, longest: float, gone_after: float) -> float:
    """How long work that is *behind_s* seconds behind may give way: *longest* at first, nothing from *gone_after* seconds on."""
    return max(0.0, longest * (1.0 - behind_s / gone_after))
