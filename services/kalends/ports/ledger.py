"""The ledger: receipts that nobody can take back.

A newcomer would get wrong: nothing in it names anybody, for it is never erased, whatever is forgotten.
"""

from typing import Protocol

from kalends.domain.scope import Scope


class Ledger(Protocol):
    """One entry for each id of a scope, kept for ever."""

    async def put(self, scope: Scope, entry_id: str, entry: bytes) -> bytes:
        """Keep *entry* unless there is one under this id already; what is kept now.

        Raises:
            Throttled: the ledger is full. Unavailable, DeadlineExceeded: it may be kept; again is safe.
        """
        ...

    async def get(self, scope: Scope, entry_id: str) -> bytes | None:
        """The entry, or None."""
        ...
