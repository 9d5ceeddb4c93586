"""The audit's store: one chain that several processes write, and from which nothing can be taken."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from kalends.domain.audit import Entry, Head


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Entries that became durable together, at their place in the store (from 1); None where the block is not there or damaged."""

    place: int
    entries: Sequence[Entry] | None


class AuditStore(Protocol):
    """The chain."""

    async def append(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Chain *entries* to the end and return them so, once they are durable.

        Raises:
            Throttled: the store is full. Unavailable, DeadlineExceeded: they may be there; again would store them twice.
        """
        ...

    async def head(self) -> tuple[int, Head]:
        """The last block's place and the last entry's number and hash; 0 and the start of the chain where nothing was written."""
        ...

    async def read(self, first: int, last: int) -> Sequence[Block]:
        """The blocks at the places *first* to *last*, both included."""
        ...
