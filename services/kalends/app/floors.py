"""How far projections are that this process does not feed, and whether stores answer that it only reads.

Belongs here: asking on behalf of roles that run apart from index. Does not belong here: feeding (``index``). A newcomer would get wrong:
floors come from what index has left where all can see it, the record of the serving generation and its durable consumer; no process asks
another.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Protocol

import structlog

from kalends.domain.errors import DeadlineExceeded, KalendsError, NotFound, Unavailable
from kalends.ports.log import Consumer, Log

log = structlog.get_logger(__name__)

_REFRESH_S = 2.0
_LOOK_S = 5.0
_ANSWER_S = 5.0


class Current(Protocol):
    """Which generation serves."""

    @property
    def current(self) -> str:
        """Its name, as far as this process knows; empty while it knows of none."""
        ...

    async def refresh(self) -> str:
        """Its name, asked anew."""
        ...


class SharedFloors:
    """The floors of a projection whose store is shared."""

    def __init__(self, *, log: Log, current: Current, projection: str) -> None:
        self._log = log
        self._current = current
        self._projection = projection
        self._opened: tuple[str, Consumer] | None = None
        self._opening = asyncio.Lock()
        self._asked = float("-inf")

    @property
    def generation(self) -> str:
        """The generation that serves, as far as this process knows."""
        return self._current.current

    async def floors(self) -> Mapping[str, int]:
        """Per stream, up to where the serving generation has everything; nothing while there is none.

        Raises:
            Unavailable, DeadlineExceeded: the log does not say.
        """
        now = time.monotonic()
        if now - self._asked >= _REFRESH_S:
            self._asked = now
            await self._current.refresh()
        if not self._current.current:
            return {}
        consumer = await self._opened_for(self._current.current)
        try:
            return {state.stream: state.floor for state in await consumer.states()}
        except NotFound:
            self._asked = float("-inf")
            await self._let_go()
            raise self._between() from None

    async def _opened_for(self, generation: str) -> Consumer:
        """The consumer of *generation*, opened once however many ask at a time."""
        async with self._opening:
            if self._opened is None or self._opened[0] != generation:
                await self._let_go()
                self._opened = (generation, await self._consumer(generation))
            return self._opened[1]

    async def _let_go(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened[1].close()

    async def _consumer(self, generation: str) -> Consumer:
        """Opening makes one that is not there, so it is looked again whether it is still wanted; nobody else would end it."""
        opened = await self._log.consumer(f"{self._projection}-{generation}")
        if await self._current.refresh() != generation:
            await opened.close()
            await self._log.drop_consumer(f"{self._projection}-{generation}")
            raise self._between()
        return opened

    def _between(self) -> Unavailable:
        return Unavailable(f"another generation of {self._projection} begins to serve", dependency=self._projection)


class StoreWatch:
    """Whether a store answers, looked at now and then by *ask*; ``failure`` is None while it does."""

    def __init__(self, name: str, ask: Callable[[], Awaitable[object]]) -> None:
        self.name = name
        self.failure: KalendsError | None = None
        self.failing_since: str | None = None
        self._ask = ask

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            failure = await self._look()
            if failure is not None and self.failure is None:
                log.warning("store away", store=self.name, kind=failure.code)
                self.failing_since = datetime.now(UTC).isoformat()
            elif failure is None and self.failure is not None:
                log.info("store back", store=self.name)
                self.failing_since = None
            self.failure = failure
            await asyncio.sleep(_LOOK_S)

    async def _look(self) -> KalendsError | None:
        """What is wrong with the store; one that hangs is away, long before a write to it would be given up."""
        try:
            async with asyncio.timeout(_ANSWER_S):
                await self._ask()
        except TimeoutError:
            return DeadlineExceeded(f"the {self.name} store does not answer within {_ANSWER_S:g} s", dependency=self.name)
        except KalendsError as error:
            return error
        return None
