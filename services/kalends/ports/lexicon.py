"""The lexicon: BM25 over events, filtered inside the engine."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from kalends.domain.events import EventKey
from kalends.domain.queries import Criteria, Digest, Entry, Held, Scored, Tombstone
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

    async def scopes(self) -> Sequence[str]:
        """The keys of all scopes of which something is held, tombstones included."""
        ...

    async def inventory(self, scope_key: str, *, after: EventKey | None, limit: int) -> Sequence[Held]:
        """What is held of one scope, by key, beginning after the given one; a piece shorter than *limit* is the last."""
        ...

    async def sweep(self, scope_key: str, take: Callable[[Sequence[Held]], Awaitable[None]]) -> None:
        """Hand everything that is held of one scope to *take*, in pieces, in whatever order costs least; *take* may wait.

        A key comes once, unless it is written meanwhile.
        """
        ...

    async def held(self, scope_key: str, keys: Sequence[EventKey]) -> Sequence[Held]:
        """What is held of *keys* in one scope, in no order; nothing for a key that was never heard of."""
        ...

    async def remove(self, scope_key: str, held: Sequence[Held]) -> int:
        """Take out, without a trace, what is held exactly as *held* says; returns how many were. What is newer stays."""
        ...

    async def damaged(self, *, between: Callable[[], Awaitable[None]]) -> Sequence[str]:
        """Names of what is stored and is not what the engine wrote, as far as one can tell from outside; none where it checks itself.

        It may read everything that is stored; *between* is awaited between two pieces of that work, and may wait.
        """
        ...

    async def compact(self) -> int:
        """Make what is stored smaller while it serves; the bytes of disk that were freed, which may be 0. No answer changes."""
        ...

    async def purge(self, scope_key: str | None = None) -> int:
        """Rewrite the engine's files without what is not held any more: written over, removed, or replaced by a tombstone.

        Of one scope (where a scope has files of its own; otherwise of all), or of all. Reads and writes go on. The answer is how many such
        documents are still in the files: 0 means that none was left of what was taken out before the call; otherwise the engine must keep
        some for a while, and whoever needs them gone asks again later. Again is safe, also after a kill in the middle.

        Raises:
            Unavailable, DeadlineExceeded: nothing is known; again is safe.
        """
        ...
