"""What a writer of summaries is given in tests.

Belongs here: observers that take notes, and budgets kept in a dictionary. Does not belong here: summarizers. A newcomer would get wrong:
the clock of these tests is moved by hand, so that a breaker or a day passes at once.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from kalends.summarize.budget import UNLIMITED, Budget, Spent
from tests.support.engines import Steps


@dataclass
class Notes:
    """How often a summary fell back and why, and which summarizers were busy."""

    reasons: Counter[str] = field(default_factory=Counter)
    busy: list[str] = field(default_factory=list)

    def fell_back(self, reason: str) -> None:
        self.reasons[reason] += 1

    def took(self, summarizer: str, seconds: float) -> None:
        assert seconds >= 0
        self.busy.append(summarizer)


class Hands:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.passed = timedelta(0)

    def now(self) -> datetime:
        return datetime(2026, 1, 30, 9, tzinfo=UTC) + self.passed

    def monotonic(self) -> float:
        return self.passed.total_seconds()

    def forward(self, seconds: float) -> None:
        """Let *seconds* pass."""
        self.passed += timedelta(seconds=seconds)

    async def sleep(self, seconds: float) -> None:
        self.forward(seconds)


@dataclass
class Purse:
    """Budgets as they are kept over a restart."""

    kept: dict[str, Spent] = field(default_factory=dict)

    async def load(self, memory: str) -> Spent | None:
        return self.kept.get(memory)

    async def save(self, memory: str, spent: Spent) -> None:
        self.kept[memory] = spent


def unlimited() -> Budget:
    """A budget that allows everything."""
    purse = Purse()
    return Budget(tokens=UNLIMITED, clock=Steps(), load=purse.load, save=purse.save)
