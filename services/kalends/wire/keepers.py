"""Several keepers of key-encryption keys at once, so that one can follow another while everything serves.

Belongs here: who is asked to unwrap what. Does not belong here: a keeper itself (``adapters``). A newcomer would get wrong: only the first
wraps; the others are there until a rotation has left nothing that needs them.
"""

from collections.abc import Sequence

from kalends.domain import wrapped_keys
from kalends.domain.errors import KalendsError, Unavailable
from kalends.ports.kek import Bound, Wrapper


class Keepers:
    """The port ``kek`` over *first*, which wraps, and *others*, which only unwrap what they wrapped."""

    def __init__(self, first: Wrapper, others: Sequence[Wrapper]) -> None:
        self._first = first
        self._every = (first, *others)

    async def wrap(self, keys: Sequence[Bound]) -> Sequence[bytes]:
        """By the first."""
        return await self._first.wrap(keys)

    async def unwrap(self, wrapped: Sequence[Bound]) -> Sequence[bytes | KalendsError]:
        """Each by whoever knows the key-encryption key that it names, or by the last, which may look for it."""
        found: list[bytes | KalendsError] = [Unavailable("not asked yet", dependency="keys")] * len(wrapped)
        for keeper in self._every:
            mine = [number for number, one in enumerate(wrapped) if self._keeper(one.key) is keeper]
            opened = await keeper.unwrap([wrapped[number] for number in mine]) if mine else []
            for number, key in zip(mine, opened, strict=True):
                found[number] = key
        return found

    async def newest(self) -> str:
        """The first's."""
        return await self._first.newest()

    def knows(self, kek: str) -> bool:
        """Whether any does."""
        return any(keeper.knows(kek) for keeper in self._every)

    def label(self, kek: str) -> str:
        """In the words of whoever knows it."""
        return next((keeper for keeper in self._every if keeper.knows(kek)), self._every[-1]).label(kek)

    def _keeper(self, key: bytes) -> Wrapper:
        kek = wrapped_keys.kek_of(key)
        # without a name it is from the key file, which was there before any other keeper and stands last
        return next((keeper for keeper in self._every if kek and keeper.knows(kek)), self._every[-1])
