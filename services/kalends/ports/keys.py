"""Keys: wrapped data keys in a store of their own, and the key-encryption key that wraps them.

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
        """Every wrapped key of *scope* that exists when it is asked, by reference, in pieces of up to *limit*; ends after the last."""
        ...

    async def count(self) -> int:
        """How many keys there are, of all scopes together."""
        ...

    async def destroy(self, scope: Scope, references: Sequence[str]) -> None:
        """Delete keys so that their bytes are gone from the store's files."""
        ...


class Wrapper(Protocol):
    """A key-encryption key: wraps and unwraps data keys. Bound to a context so that a wrapped key cannot be moved."""

    def wrap(self, key: bytes, *, context: bytes) -> bytes: ...

    def unwrap(self, wrapped: bytes, *, context: bytes) -> bytes:
        """Raises: Damaged if the bytes or the context are not what was wrapped."""
        ...
