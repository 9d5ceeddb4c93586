"""Records: small named values with a version each (memories, tokens, documents, job state), kept beside the log.

A newcomer would get wrong: ``put`` is compare-and-set; revision 0 means "must not exist".
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A named value: ``kind`` (a word), ``owner`` (tenant or scope key), ``name`` and its bytes; ``revision`` grows with every write."""

    kind: str
    owner: str
    name: str
    value: bytes
    revision: int
    deleted: bool = False


class Records(Protocol):
    """Versioned small values."""

    async def get(self, kind: str, owner: str, name: str) -> Record | None:
        """The newest version, or None if there is none or it was deleted."""
        ...

    async def put(self, kind: str, owner: str, name: str, value: bytes, *, revision: int | None = None) -> int:
        """Write and return the new revision; with *revision*, only if that is the newest (0: there is none).

        Raises:
            Conflict: another write came first.
        """
        ...

    async def delete(self, kind: str, owner: str, name: str) -> None:
        """Delete; what does not exist is no error."""
        ...

    async def list(self, kind: str, owner: str | None = None) -> Sequence[Record]:
        """Newest versions of a kind, of one owner or of all, ordered by owner and name; without the deleted."""
        ...

    def watch(self, kind: str) -> AsyncGenerator[Record | None, None]:
        """Everything of a kind that exists now, then None once, then every change as it comes."""
        ...
