"""Task groups whose lone error leaves them as itself.

A newcomer would get wrong: ``asyncio.TaskGroup`` wraps even one error in a group, so that an ``except`` for its type does not see it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def group() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group; if all that failed in it is one error, that error is raised and no group of one."""
    try:
        async with asyncio.TaskGroup() as tasks:
            yield tasks
    except BaseExceptionGroup as failures:
        lone: BaseException = failures
        while isinstance(lone, BaseExceptionGroup) and len(lone.exceptions) == 1:
            lone = lone.exceptions[0]
        if isinstance(lone, BaseExceptionGroup):
            raise
        raise lone from None
