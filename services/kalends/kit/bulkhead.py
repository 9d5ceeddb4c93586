"""A bulkhead: so many at once, and the others wait in order, but not for ever.

A newcomer would get wrong: the wait is bounded by time and not by number, because a queue that is long but moves is no trouble.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Full(Exception):
    """No place became free in time."""


class Bulkhead:
    """*places* for work at the same time."""

    def __init__(self, places: int) -> None:
        self._free = asyncio.Semaphore(places)

    @asynccontextmanager
    async def place(self, *, wait_s: float) -> AsyncIterator[None]:
        """A place for as long as the block runs.

        Raises:
            Full: none became free within *wait_s* seconds.
        """
        try:
            async with asyncio.timeout(wait_s):
                await self._free.acquire()
        except TimeoutError as error:
            raise Full from error
        try:
            yield
        finally:
            self._free.release()
