"""Dead letters: pointers to messages that could not be dealt with; never their content."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A message that was given up: where it is, which consumer gave up, why, after how many deliveries, and when (microseconds)."""

    letter_id: str
    """Decimal digits; later letters have larger numbers."""
    stream: str
    sequence: int
    consumer: str
    reason: str
    deliveries: int
    at_us: int


class DeadLetters(Protocol):
    """The dead letters of every stream."""

    async def list(self, *, after: int, limit: int) -> Sequence[DeadLetter]:
        """Up to *limit* letters with a number above *after*, oldest first."""
        ...

    async def find(self, letter_id: str) -> DeadLetter | None:
        """One letter; None for an unknown or malformed id."""
        ...

    async def remove(self, letter_id: str) -> None:
        """Forget a letter; one that does not exist is no error."""
        ...

    async def count(self) -> int: ...
