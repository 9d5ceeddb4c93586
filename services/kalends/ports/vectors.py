"""Vectors: nearest events by meaning and late interaction over token vectors, filtered inside the engine.

A newcomer would get wrong: a long text is several windows; every score here is an event's best window.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kalends.domain.events import EventKey
from kalends.domain.queries import Criteria, Digest, Entry, Held, Scored, Tombstone
from kalends.domain.scope import Scope

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One window of a text: ``dense`` has shape (dimension,), unit length; ``tokens`` (n, dimension), unit rows, or none."""

    dense: Array
    tokens: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorEntry:
    """An event with the vectors of its windows, in order; at least one."""

    entry: Entry
    windows: Sequence[Window]


class VectorIndex(Protocol):
    """Events by their meaning, within one memory. Its identity includes the model that made the vectors."""

    async def put(self, entries: Sequence[VectorEntry], tombstones: Sequence[Tombstone] = ()) -> None:
        """Make *entries* findable and *tombstones* unfindable; durable and visible on return; an older version changes nothing."""
        ...

    async def nearest(self, scope: Scope, vector: Array, *, criteria: Criteria, limit: int) -> Sequence[Scored]:
        """The *limit* events with the highest cosine to *vector*, best first, ties by key."""
        ...

    async def late(self, scope: Scope, tokens: Array, keys: Sequence[EventKey]) -> Mapping[EventKey, float]:
        """Late interaction: one score for each of *keys* that is held with token vectors.

        It is the sum over the rows of *tokens* (m, dimension) of the best dot product with the event's token vectors; the caller scales
        the rows to weigh them.
        """
        ...

    async def digest(self) -> Digest:
        """What is held, by event; tombstones not counted as events but folded into the digest."""
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
        """Names of what is stored and is not what was written, as far as one can tell from outside; without anything of its content.

        None is no proof where an engine cannot be asked. It may read everything that is stored; *between* is awaited between two pieces of
        that work, and may wait.
        """
        ...

    async def compact(self) -> int:
        """Make what is stored smaller while it serves; the bytes of disk that were freed, which may be 0. No answer changes."""
        ...

    async def purge(self, scope_key: str | None = None) -> int:
        """Rewrite the engine's files without what is not held any more: written over, removed, or replaced by a tombstone.

        Of one scope (where a scope has files of its own; otherwise of all), or of all. Reads and writes go on. The answer is how many such
        points are still in the files: 0 means that none was left of what was taken out before the call; otherwise the engine must keep
        some for a while, and whoever needs them gone asks again later. Again is safe, also after a kill in the middle.

        Raises:
            Unavailable, DeadlineExceeded: nothing is known; again is safe.
        """
        ...
