"""Waiting for a condition that sets no event: what another process, a thread or the kernel does.

Belongs here: the one poller of coroutines. Does not belong here: any condition. A newcomer would get wrong: the deadline is for a machine
that is busy with other things; nothing is asserted about how long a condition took.
"""

import asyncio
from collections.abc import Awaitable, Callable

_STEP_S = 0.005


async def until(condition: Callable[[], bool | Awaitable[bool]], *, deadline: float = 20.0) -> None:
    """Return when *condition* holds.

    Raises:
        TimeoutError: it does not hold after *deadline* seconds.
    """
    async with asyncio.timeout(deadline):
        while True:
            met = condition()
            if met if isinstance(met, bool) else await met:
                return
            await asyncio.sleep(_STEP_S)
