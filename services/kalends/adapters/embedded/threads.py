"""Bounded threads for engines that block.

Belongs here: running a blocking call off the event loop, in a fixed number of threads. Does not belong here: any engine. A newcomer would
get wrong: ``asyncio.to_thread`` shares one large pool, in which a slow index write would hold up a question; every engine has lanes of its
own instead.
"""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from kalends.domain.errors import Unavailable
from kalends.kit.pools import Account

P = ParamSpec("P")
T = TypeVar("T")


class Lane:
    """A fixed number of threads that run blocking calls in the order in which they came.

    The first word of *name* (up to a hyphen) is the dependency that the calls are of, as the status names it.
    *nice* lowers the threads' priority (0 to 19); it only has an effect on Linux, where a thread has a priority of its own.
    """

    def __init__(self, name: str, *, threads: int = 1, nice: int = 0) -> None:
        self._name = name
        self._nice = nice
        self.closed = False
        self._account = Account(name, places=threads)
        self._executor = ThreadPoolExecutor(max_workers=threads, thread_name_prefix=name, initializer=self._lower_priority)

    async def run(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of *call*; a call that has not begun when the caller is cancelled never begins.

        Raises:
            Unavailable: the lane is closed.
        """
        if self.closed:
            raise Unavailable(f"{self._name} is closed", dependency=self._name.partition("-")[0])
        return await asyncio.wrap_future(self._submit(call, *args, **kwargs))

    def post(self, call: Callable[[], None]) -> None:
        """Run *call*, which does not fail, after all that came before it, and wait for nothing; nothing happens once the lane is closed."""
        if not self.closed:
            self._submit(call)

    async def close(self) -> None:
        """Finish what has begun and end the threads."""
        self.closed = True
        self._account.close()
        await asyncio.to_thread(self._executor.shutdown, wait=True, cancel_futures=True)

    def _submit(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        self._account.come()
        try:
            future = self._executor.submit(self._counted, call, *args, **kwargs)
        except BaseException:
            self._account.go()
            raise
        # also called for a call that is cancelled before it begins
        future.add_done_callback(self._gone)
        return future

    def _counted(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        self._account.begin()
        try:
            return call(*args, **kwargs)
        finally:
            self._account.end()

    def _gone(self, _: object) -> None:
        self._account.go()

    def _lower_priority(self) -> None:
        if self._nice and sys.platform == "linux":
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), self._nice)
