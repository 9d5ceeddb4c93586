"""The lexicon: BM25 over events, filtered inside the engine."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from kalends.domain.queries import Criteria, Digest, Entry, Scored, Tombstone
from kalends.domain.scope import Scope


class LexicalIndex(Protocol):
    """Events by their words, within one memory."""

    async def put(self, entries: Sequence[Entry], tombstones: Sequence[Tombstone] = ()) -> None:
        """Make *entries* findable and *tombstones* unfindable; durable and visible on return; an older version changes nothing."""
        ...

    async def search(self, scope: Scope, text: str, *, criteria: Criteria, limit: int) -> Sequence[Scored]:
        """The best *limit* events by BM25, best first, ties by key. Any text is legal; one without words finds nothing."""
        ...

    async def rarities(self, scope: Scope, words: Sequence[str]) -> Mapping[str, float]:
        """The rarity (``domain.terms.rarity``) of each lower-cased word in one memory, as its stemmed fields count it."""
        ...

    async def digest(self) -> Digest:
        """What is held, tombstones not counted as events but folded into the digest."""
        ...

    async def count(self, scope: Scope) -> int:
        """Live events of one memory."""
        ...
