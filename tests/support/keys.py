"""Wrapped keys in memory, for tests of what seals and opens.

Belongs here: one honest implementation of ``ports.keys.Keys`` without a store. Does not belong here: wrapping; tests use the real wrapper
under a key that everybody can see.
"""

from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence

from kalends.adapters.embedded.kek import FileWrapper
from kalends.domain.scope import Scope
from kalends.wire.vault import Vault

TEST_KEY = bytes(range(32))
"""A test vector, never a secret."""


class MemoryKeys:
    """Wrapped keys in a dictionary; ``asked`` counts the calls of each operation."""

    def __init__(self) -> None:
        self.stored: dict[tuple[Scope, str], bytes] = {}
        self.asked: Counter[str] = Counter()

    async def get(self, scope: Scope, references: Sequence[str]) -> Mapping[str, bytes]:
        self.asked["get"] += 1
        return {reference: self.stored[scope, reference] for reference in references if (scope, reference) in self.stored}

    async def create(self, scope: Scope, wrapped: Mapping[str, bytes]) -> Mapping[str, bytes]:
        self.asked["create"] += 1
        return {reference: self.stored.setdefault((scope, reference), key) for reference, key in wrapped.items()}

    async def references(self, scope: Scope, *, limit: int) -> AsyncGenerator[Mapping[str, bytes], None]:
        mine = [(reference, key) for (owner, reference), key in self.stored.items() if owner == scope]
        for start in range(0, len(mine), limit):
            yield dict(mine[start : start + limit])

    async def count(self) -> int:
        return len(self.stored)

    async def replace(self, scope: Scope, changes: Mapping[str, tuple[bytes, bytes]]) -> Sequence[str]:
        self.asked["replace"] += 1
        due = [reference for reference, (old, _) in changes.items() if self.stored.get((scope, reference)) == old]
        self.stored.update({(scope, reference): changes[reference][1] for reference in due})
        return due

    async def destroy(self, scope: Scope, references: Sequence[str]) -> None:
        for reference in references:
            self.stored.pop((scope, reference), None)


def vault_over(keys: MemoryKeys) -> Vault:
    """A vault on *keys*, with nothing cached yet."""
    return Vault(keys=keys, wrapper=FileWrapper(TEST_KEY))
