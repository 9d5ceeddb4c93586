"""Dead letters: pointers to messages that could not be dealt with; never their content."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from kalends.domain.positions import Position


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A pointer: which message, whose consumer gave up, why, after how many deliveries, and when (microseconds).

    Later letters have larger ids.
    """

    id: int
    position: Position
    consumer: str
    reason: str
    deliveries: int
    at_us: int


class DeadLetters(Protocol):
    """The dead letters of every stream."""

    async def list(self, *, after: int = 0, limit: int = 100) -> Sequence[DeadLetter]:
        """Up to *limit* letters with a number above *after*, oldest first."""
        ...

    async def get(self, letter_id: int) -> DeadLetter | None:
        """One letter; None for an unknown id."""
        ...

    async def remove(self, letter_id: int) -> None:
        """Forget a letter; one that does not exist is no error."""
        ...

    async def count(self) -> int:
        """How many letters there are."""
        ...
