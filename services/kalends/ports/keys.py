"""Keys: wrapped data keys in a store of their own.

A newcomer would get wrong: a data key is never stored or logged unwrapped, and a wrapped key is never stored beside what it opens.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Protocol

from kalends.domain.scope import Scope


class Keys(Protocol):
    """Wrapped data keys by scope and key reference (32 hex digits)."""

    async def get(self, scope: Scope, references: Sequence[str]) -> Mapping[str, bytes]:
        """The wrapped keys that exist, by reference."""
        ...

    async def create(self, scope: Scope, wrapped: Mapping[str, bytes]) -> Mapping[str, bytes]:
        """Store those that do not exist yet; return what is stored now under each reference (somebody else's, if they were first)."""
        ...

    def references(self, scope: Scope, *, limit: int) -> AsyncGenerator[Mapping[str, bytes], None]:
        """Every wrapped key of *scope* that exists when it is asked, by reference, in pieces of up to *limit*; ends after the last.

        A key of which a ``replace`` was cut off comes twice, first the old one.
        """
        ...

    async def count(self) -> int:
        """How many keys there are, of all scopes together."""
        ...

    async def replace(self, scope: Scope, changes: Mapping[str, tuple[bytes, bytes]]) -> Sequence[str]:
        """Where what is stored is the first of the two, store the second, and let the first's bytes be gone from the store's files.

        Returns the references of which that was so. What was destroyed or replaced by somebody else meanwhile stays as it is. What
        an earlier call left that was cut off is finished, if ``references`` told of it.

        Raises:
            Unavailable, DeadlineExceeded: some may be replaced; again is safe.
        """
        ...

    async def destroy(self, scope: Scope, references: Sequence[str]) -> None:
        """Delete keys so that their bytes are gone from the store's files."""
        ...

    async def wash(self) -> None:
        """As ``Log.wash``, for destroyed keys."""
        ...

    async def destroy_all(self, scope: Scope) -> int:
        """Delete every key of *scope*, as ``destroy`` does, also those that are made while it runs; how many that were."""
        ...
