"""Precedence: whoever waits for an ack goes before whoever reads the log behind it.

Belongs here: when a reader may go on. Does not belong here: reading. A newcomer would get wrong: readers are held up for a moment only,
never until the writers are done; and a reader that has had nothing for a while is not held up at all, so a lone event is seen at once.
"""

import asyncio
from types import TracebackType

from kalends.adapters.nats.options import NatsOptions


class Precedence:
    """How many appends are under way; entered around each, awaited by readers."""

    def __init__(self) -> None:
        self._under_way = 0
        self._gap = asyncio.Event()
        self._gap.set()

    def __enter__(self) -> None:
        self._under_way += 1
        self._gap.clear()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._under_way -= 1
        if not self._under_way:
            self._gap.set()

    async def gap(self, *, longest: float) -> None:
        """Return when no append is under way, at the latest after *longest* seconds."""
        if self._gap.is_set() or longest <= 0:
            return
        try:
            async with asyncio.timeout(longest):
                await self._gap.wait()
        except TimeoutError:
            return


class Turns:
    """The turns of one reader."""

    def __init__(self, precedence: Precedence, *, options: NatsOptions) -> None:
        self._precedence = precedence
        self._options = options
        self._next = float("-inf")

    async def wait(self, *, longest: float) -> None:
        """Wait for the next turn: a while after a small one, so that many small ones become one, and for a gap between appends."""
        loop = asyncio.get_running_loop()
        end = loop.time() + longest
        pause = min(self._next, end) - loop.time()
        if pause > 0:
            await asyncio.sleep(pause)
        await self._precedence.gap(longest=min(self._options.give_way, end - loop.time()))

    def took(self, count: int, *, limit: int) -> None:
        """Note that a turn gave *count* of at most *limit* messages."""
        if 0 < count < limit:
            self._next = asyncio.get_running_loop().time() + self._options.breath
