"""Healing: a projection whose store stays broken is built anew beside it, from the log.

Belongs here: deciding when. Does not belong here: rebuilding (``rebuilds``). A newcomer would get wrong: a missing model is no reason,
because a new generation would need the same model; nor is a server that is away, which will come back with all that it had. Only a store
of our own that fails is, and a server that answers and has lost the index.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from kalends.domain.errors import KalendsError
from kalends.index.usecases import Projection
from kalends.kit import tasks
from kalends.ports.clock import Clock

log = structlog.get_logger(__name__)

_LOOK_S = 1.0


class Healer:
    """Looks after the projections of a process."""

    def __init__(
        self, *, projections: Mapping[str, Projection], rebuild: Callable[[Projection], Awaitable[None]], clock: Clock, after_s: float
    ) -> None:
        self._projections = projections
        self._rebuild = rebuild
        self._clock = clock
        self._after_s = after_s

    async def run(self) -> None:
        """Look once a second until cancelled; a rebuild that takes long, or waits for the model, holds up no other."""
        async with tasks.group() as group:
            for name, projection in self._projections.items():
                group.create_task(self._look_after(projection), name=f"index.{name}.healing")

    async def _look_after(self, projection: Projection) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            if self.is_due(projection):
                await self._heal(projection)
                await asyncio.sleep(self._after_s)

    def is_due(self, projection: Projection) -> bool:
        """Whether the projection's own store has failed for long enough."""
        failure = projection.failure
        if failure is None or failure.dependency != projection.name:
            return False
        return projection.failing_for(self._clock.monotonic()) >= self._after_s

    async def _heal(self, projection: Projection) -> None:
        try:
            if await projection.is_lost():
                log.warning("projection is built anew because its store stays broken", projection=projection.name)
                await self._rebuild(projection)
        except KalendsError as error:
            log.warning("projection could not be built anew; tried again later", projection=projection.name, kind=error.code)
