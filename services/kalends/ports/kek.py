"""Key-encryption keys: what wraps data keys, wherever it is kept.

A newcomer would get wrong: several are open at once, and each wrapped key names its own (``domain.wrapped_keys``); only the newest wraps.
One that is not here now is ``Unavailable`` and not ``Damaged``: it may be on its way to this process, and what it opens is not lost.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from kalends.domain.errors import KalendsError


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A data key, wrapped or not, and the place that it belongs to: moved to another, it does not open."""

    key: bytes
    context: bytes


class Wrapper(Protocol):
    """The key-encryption keys that are open, many data keys at a time."""

    async def wrap(self, keys: Sequence[Bound]) -> Sequence[bytes]:
        """Each of *keys* (32 bytes) wrapped under the newest, in the form of ``domain.wrapped_keys``, in the same order.

        Raises:
            Unavailable, DeadlineExceeded: the keeper of the key does not answer.
        """
        ...

    async def unwrap(self, wrapped: Sequence[Bound]) -> Sequence[bytes | KalendsError]:
        """For each, the data key, or why there is none: Damaged, or Unavailable where its key-encryption key is not here.

        Raises:
            Unavailable, DeadlineExceeded: the keeper of the key does not answer.
        """
        ...

    async def newest(self) -> str:
        """The name of the key-encryption key that wraps from now on; whoever keeps it is asked anew.

        Raises:
            Unavailable, DeadlineExceeded: the keeper of the key does not answer.
        """
        ...

    def knows(self, kek: str) -> bool:
        """Whether the key of that name is open here; the empty name is the first one's."""
        ...

    def label(self, kek: str) -> str:
        """That name in words for people, without secrets."""
        ...
