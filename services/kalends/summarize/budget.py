"""The token budget: what a memory may spend on a chat model in a day.

Belongs here: counting and the limit. Does not belong here: what happens without a budget (``writing``). A newcomer would get wrong: an
answer's cost is known when it is there, so a day may end over its limit by the answers that were under way; the day is the clock's, in UTC,
whatever day the events are of.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date

import structlog

from kalends.domain.errors import DeadlineExceeded, Unavailable
from kalends.ports.clock import Clock

log = structlog.get_logger(__name__)

UNLIMITED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Tokens that a memory has spent on a day."""

    day: date
    tokens: int


Load = Callable[[str], Awaitable[Spent | None]]
Save = Callable[[str, Spent], Awaitable[None]]


class Budget:
    """At most about *tokens* per memory and UTC day; ``UNLIMITED`` counts nothing.

    *load* and *save* keep what was spent by the memory's key, so that a restart does not renew the budget. What cannot be saved is counted
    in this process and saved with the next.
    """

    def __init__(self, *, tokens: int, clock: Clock, load: Load, save: Save) -> None:
        self._tokens = tokens
        self._clock = clock
        self._load = load
        self._save = save
        self._spent: dict[str, Spent] = {}

    async def allows(self, memory: str) -> bool:
        """Whether *memory* has something left today.

        Raises:
            Unavailable, DeadlineExceeded: what was spent cannot be read.
        """
        return self._tokens == UNLIMITED or (await self._today(memory)).tokens < self._tokens

    async def spend(self, memory: str, tokens: int) -> None:
        """Count *tokens* for *memory*."""
        if self._tokens == UNLIMITED:
            return
        try:
            before = await self._today(memory)
            # nothing is awaited between reading and writing, so that no answer of another task is forgotten
            spent = self._spent[memory] = Spent(day=before.day, tokens=before.tokens + max(0, tokens))
            await self._save(memory, spent)
        except (Unavailable, DeadlineExceeded) as error:
            log.warning("token budget not saved", kind=error.code)

    async def _today(self, memory: str) -> Spent:
        today = self._clock.now().date()
        held = self._spent.get(memory)
        if held is None or held.day != today:
            # one entry for each memory that was busy today; those of other days go
            self._spent = {name: spent for name, spent in self._spent.items() if spent.day == today}
            stored = await self._load(memory)
            fresh = stored if stored is not None and stored.day == today else Spent(day=today, tokens=0)
            held = self._spent[memory] = _larger(self._spent.get(memory), fresh)
        return held


def _larger(held: Spent | None, stored: Spent) -> Spent:
    """What another task has counted while the stored was read, or the stored."""
    return held if held is not None and held.day == stored.day and held.tokens > stored.tokens else stored
