"""A bulkhead: so many at once, and the others wait in order, but not for ever.

A newcomer would get wrong: the wait is bounded by time and not by number, because a queue that is long but moves is no trouble.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kalends.kit.pools import Account


class Full(Exception):
    """No place became free in time."""


class Bulkhead:
    """*places* for work at the same time; *name* is what the account of its use is called."""

    def __init__(self, places: int, *, name: str) -> None:
        self._free = asyncio.Semaphore(places)
        self._account = Account(name, places=places)

    @asynccontextmanager
    async def place(self, *, wait_s: float) -> AsyncIterator[None]:
        """A place for as long as the block runs.

        Raises:
            Full: none became free within *wait_s* seconds.
        """
        self._account.come()
        try:
            await self._wait(wait_s)
            self._account.begin()
            try:
                yield
            finally:
                self._account.end()
                self._free.release()
        finally:
            self._account.go()

    async def _wait(self, wait_s: float) -> None:
        try:
            async with asyncio.timeout(wait_s):
                await self._free.acquire()
        except TimeoutError as error:
            self._account.refuse()
            raise Full from error
