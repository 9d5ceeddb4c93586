"""The archive: a store of named objects that never change, away from the log.

A newcomer would get wrong: nothing is ever written over. An object is there whole or not at all, so whoever finds a name may read it to its
end, and a name that is taken is a conflict, however equal the bytes may be.
"""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import NamedTuple, Protocol

PIECE_BYTES = 1 << 20
"""What a reader is handed at once, at most."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}(/[A-Za-z0-9][A-Za-z0-9._-]{0,120}){0,5}")
"""What a name looks like; nothing else is one, and nothing else is listed."""


class Kept(NamedTuple):
    """An object that is there, and its size in bytes."""

    name: str
    size: int


class Archive(Protocol):
    """Immutable objects by names of the form ``NAME``."""

    async def put(self, name: str, pieces: AsyncIterator[bytes]) -> int:
        """Keep what *pieces* give, durably, under *name*; its size. If *pieces* fail, nothing is kept.

        Raises:
            Conflict: there is such an object. Invalid: the name is none. Unavailable: there is no room, or the store is away; also
            DeadlineExceeded where it is asked over a network, and then the object may be there.
        """
        ...

    def get(self, name: str) -> AsyncGenerator[bytes, None]:
        """The bytes of an object in order, in pieces of up to ``PIECE_BYTES``.

        Raises:
            NotFound: there is none. Unavailable, DeadlineExceeded: the store cannot be read.
        """
        ...

    async def list(self, prefix: str) -> Sequence[Kept]:
        """The objects whose name begins with *prefix*, by name."""
        ...

    async def remove(self, name: str) -> bool:
        """Take an object away for good; whether there was one."""
        ...

    async def close(self) -> None:
        """Give back what it holds of this process."""
        ...
