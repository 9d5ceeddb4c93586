"""Task groups whose lone error leaves them as itself, and that nobody's cancellation is forgotten.

A newcomer would get wrong: ``asyncio.TaskGroup`` wraps even one error in a group, so that an ``except`` for its type does not see it. And a
cancellation may be lost, so that a loop which goes on after errors never ends: before Python 3.13 by a group that winds up after an error,
before 3.12 by ``asyncio.wait_for``, which libraries of ours use.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType
from typing import Self


class _Group(asyncio.TaskGroup):
    """Tells a cancellation from outside from its own, which it asks of its task when another one fails."""

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if sys.version_info >= (3, 13):
            await super().__aexit__(kind, error, trace)
            return
        asked = self._asked
        try:
            await super().__aexit__(kind, error, trace)
        except BaseExceptionGroup as failures:
            if self._asked and not asked and (task := asyncio.current_task()):
                # what it asks while it winds up it does not take back
                task.uncancel()
            if self._is_cancelled():
                raise asyncio.CancelledError from failures
            raise

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._is_cancelled = _cancelled_since_now()
        return self

    @property
    def _asked(self) -> bool:
        return bool(getattr(self, "_parent_cancel_requested", False))


@asynccontextmanager
async def group() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group; if all that failed in it is one error, that error is raised and no group of one.

    Raises:
        asyncio.CancelledError: the task was cancelled from outside meanwhile, whatever else failed.
    """
    try:
        async with _Group() as tasks:
            yield tasks
    except BaseExceptionGroup as failures:
        lone: BaseException = failures
        while isinstance(lone, BaseExceptionGroup) and len(lone.exceptions) == 1:
            lone = lone.exceptions[0]
        if isinstance(lone, BaseExceptionGroup):
            raise
        raise lone from None


@contextmanager
def heeded() -> Iterator[None]:
    """Around the calls of a library that may wait by ``asyncio.wait_for``, which loses a cancellation that comes together with the result.

    Raises:
        asyncio.CancelledError: the task was cancelled meanwhile. RuntimeError: no event loop runs.
    """
    is_cancelled = _cancelled_since_now()
    try:
        yield
    except Exception as error:
        if is_cancelled():
            raise asyncio.CancelledError from error
        raise
    if is_cancelled():
        raise asyncio.CancelledError


def _cancelled_since_now() -> Callable[[], bool]:
    """Tells whether the task that asks now was cancelled afterwards; who cleans up after a cancellation was cancelled before."""
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    return lambda: task is not None and task.cancelling() > before
