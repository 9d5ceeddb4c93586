"""What a memory may spend in a day."""

import asyncio

import pytest
import structlog.testing
from tests.support.writers import Hands, Purse

from kalends.domain.errors import Unavailable
from kalends.summarize.budget import UNLIMITED, Budget, Spent

DAY_S = 24 * 3600.0


class Shut(Purse):
    """A purse that cannot be written to."""

    async def save(self, memory: str, spent: Spent) -> None:
        raise Unavailable("away", dependency="records")


def budget(purse: Purse, clock: Hands, tokens: int = 100) -> Budget:
    """A budget over *purse*."""
    return Budget(tokens=tokens, clock=clock, load=purse.load, save=purse.save)


async def test_a_memory_may_spend_until_it_has_spent_enough():
    """Each memory its own; what is spent is kept."""
    purse = Purse()
    made = budget(purse, Hands())
    await made.spend("a", 99)
    assert await made.allows("a")
    await made.spend("a", 1)

    assert not await made.allows("a")
    assert await made.allows("b")
    assert purse.kept["a"].tokens == 100


async def test_a_new_day_has_a_new_budget_and_a_restart_has_not():
    """The day is the clock's."""
    purse, clock = Purse(), Hands()
    await budget(purse, clock).spend("a", 100)
    again = budget(purse, clock)
    assert not await again.allows("a")
    clock.forward(DAY_S)

    assert await again.allows("a")
    await again.spend("a", 5)
    assert purse.kept["a"].tokens == 5


async def test_without_a_limit_nothing_is_counted():
    """Nor read, nor written."""
    purse = Purse()
    made = budget(purse, Hands(), tokens=UNLIMITED)
    await made.spend("a", 10**9)

    assert await made.allows("a")
    assert purse.kept == {}


async def test_what_cannot_be_saved_is_counted_all_the_same_and_said():
    """The answer is there and paid for; the log has no memory's name."""
    made = budget(Shut(), Hands())
    with structlog.testing.capture_logs() as lines:
        await made.spend("a", 100)

    assert not await made.allows("a")
    assert lines == [{"event": "token budget not saved", "kind": "unavailable", "log_level": "warning"}]


async def test_what_was_spent_and_cannot_be_read_allows_nothing():
    """The work stays queued."""

    async def away(memory: str) -> Spent | None:
        raise Unavailable("away", dependency="records")

    with pytest.raises(Unavailable):
        await Budget(tokens=1, clock=Hands(), load=away, save=Purse().save).allows("a")


async def test_answers_that_come_at_once_are_all_counted():
    """None overwrites another, also while what was spent is still being read."""
    purse = Purse()
    made = budget(purse, Hands(), tokens=10**6)
    await asyncio.gather(*(made.spend("a", 10) for _ in range(50)))

    assert purse.kept["a"].tokens == 500
