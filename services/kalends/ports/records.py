"""Records: small named values with a version each (memories, tokens, documents, job state), kept beside the log.

A newcomer would get wrong: ``put`` is compare-and-set; revision 0 means "must not exist". And a disk may lose a record that the store still
lists: ``get`` and ``inventory`` tell that from one that never was; a list leaves it out, and a write takes its place.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A record as its store lists it, without what it says.

    ``place`` is the store's name for it: words with dots between them, the last three of which are owner, kind and name, each itself or a
    digest. ``digest`` is 16 bytes of whatever is stored as its newest version, which has the ``revision``; where that cannot be read there
    is none, and the revision is 0.
    """

    place: str
    revision: int
    digest: bytes

    @property
    def is_lost(self) -> bool:
        """Whether the store lists it and cannot give it."""
        return not self.digest


class Records(Protocol):
    """Versioned small values."""

    async def get(self, kind: str, owner: str, name: str) -> Record | None:
        """The newest version, or None if there is none or it was deleted.

        Raises:
            Damaged: the store lists it and cannot give it.
        """
        ...

    async def put(self, kind: str, owner: str, name: str, value: bytes, *, revision: int | None = None) -> int:
        """Write and return the new revision; with *revision*, only if that is the newest (0: there is none).

        A write takes the place of one that the store has lost. With revision 0, who must not do so asks ``get`` before.

        Raises:
            Conflict: another write came first. Damaged: the newest is lost, and the store takes no other in its place on that condition.
        """
        ...

    async def delete(self, kind: str, owner: str, name: str) -> None:
        """Delete, also what the store has lost; what does not exist is no error."""
        ...

    async def list(self, kind: str, owner: str | None = None) -> Sequence[Record]:
        """Newest versions of a kind, of one owner or of all, ordered by owner and name; without the deleted, and without the lost."""
        ...

    def watch(self, kind: str) -> AsyncGenerator[Record | None, None]:
        """Everything of a kind that exists now, then None once, then every change as it comes."""
        ...

    async def head(self) -> int:
        """The revision of the last write of all that the store took."""
        ...

    def inventory(self) -> AsyncGenerator[Sequence[Listed], None]:
        """Everything that the store lists, the deleted and the lost included, ascending by place.

        What is written meanwhile has its old revision or its new one; a record that is first made meanwhile may be missing.
        """
        ...

    async def give_up(self, place: str) -> None:
        """Delete what is lost, by its place; what is at that place and can be read stays as it is."""
        ...
