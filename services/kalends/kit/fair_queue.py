"""A fair queue: so many at once, and who waits is served in turns of owners, not in the order of arrival.

Belongs here: places and turns. Does not belong here: who the owners are. A newcomer would get wrong: one owner with a thousand waiting and
one with a single one are served one each in turn; within an owner the order of arrival holds, but for a part that has all it may have.
"""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from kalends.kit.bulkhead import Full
from kalends.kit.pools import Account


@dataclass(slots=True, eq=False)
class _Waiter:
    owner: Hashable
    part: Hashable
    woken: "asyncio.Future[None]"


class FairQueue:
    """*places* in all, *each* for one part of an owner, and at most *waiting* of one owner that wait.

    *name* is what the account of its use is called.
    """

    def __init__(self, *, places: int, each: int, waiting: int, name: str) -> None:
        self._account = Account(name, places=places)
        self._free = places
        self._each = each
        self._longest = waiting
        self._active: Counter[Hashable] = Counter()
        self._owners: Counter[Hashable] = Counter()
        self._watching: list[asyncio.Future[None]] = []
        self._waiting: OrderedDict[Hashable, deque[_Waiter]] = OrderedDict()

    @asynccontextmanager
    async def place(self, owner: Hashable, part: Hashable) -> AsyncIterator[None]:
        """A place for *part* of *owner*, for as long as the block runs.

        Raises:
            Full: too many of this owner wait already.
        """
        self._account.come()
        try:
            if owner in self._waiting or self._free <= 0 or self._active[part] >= self._each:
                await self._queued(owner, part)
            else:
                self._enter(owner, part)
            try:
                yield
            finally:
                self._leave(owner, part)
        finally:
            self._account.go()

    async def until_alone(self, owner: Hashable, *, but: Callable[[Hashable], bool]) -> None:
        """Return once nobody has a place but *owner*, and those of whom *but* is true."""
        while any(one != owner and not but(one) for one in self._owners):
            somebody_left: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._watching.append(somebody_left)
            try:
                await somebody_left
            finally:
                if somebody_left in self._watching:
                    self._watching.remove(somebody_left)

    async def _queued(self, owner: Hashable, part: Hashable) -> None:
        line = self._waiting.setdefault(owner, deque())
        if len(line) >= self._longest:
            self._account.refuse()
            raise Full
        waiter = _Waiter(owner=owner, part=part, woken=asyncio.get_running_loop().create_future())
        line.append(waiter)
        self._serve()
        try:
            await waiter.woken
        except asyncio.CancelledError:
            if waiter.woken.done() and not waiter.woken.cancelled():
                self._leave(owner, part)  # the place came together with the cancellation, and somebody else can have it
            else:
                self._forget(waiter)
            raise

    def _enter(self, owner: Hashable, part: Hashable) -> None:
        self._free -= 1
        self._account.begin()
        self._active[part] += 1
        self._owners[owner] += 1

    def _leave(self, owner: Hashable, part: Hashable) -> None:
        self._free += 1
        self._account.end()
        for count, key in ((self._active, part), (self._owners, owner)):
            count[key] -= 1
            if not count[key]:
                del count[key]
        self._serve()
        watching, self._watching = self._watching, []
        for one in watching:
            if not one.done():
                one.set_result(None)

    def _forget(self, waiter: _Waiter) -> None:
        line = self._waiting.get(waiter.owner)
        if line is not None and waiter in line:
            line.remove(waiter)
            if not line:
                del self._waiting[waiter.owner]

    def _serve(self) -> None:
        """Wake whoever may go now: the owner that was served longest ago first, then to the back with it."""
        served = True
        while self._free > 0 and served:
            served = False
            for owner, line in list(self._waiting.items()):
                waiter = next((one for one in line if self._active[one.part] < self._each and not one.woken.done()), None)
                if waiter is None:
                    continue
                line.remove(waiter)
                self._waiting.move_to_end(owner)
                if not line:
                    del self._waiting[owner]
                self._enter(owner, waiter.part)
                waiter.woken.set_result(None)
                served = True
                break
