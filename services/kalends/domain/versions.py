"""What every projection decides before it writes: which changes of a batch count, and what its digest folds.

Belongs here: decisions that all projections share, without I/O. Does not belong here: an engine. A newcomer would get wrong: a tombstone is
guarded by version like any write, so an event that is recorded *again* later is found again, unless it was erased (``FOREVER``).
"""

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from kalends.domain.events import EventKey
from kalends.domain.queries import DIGEST_RANGE, Digest, Held, fold_digest

FOREVER = (1 << 62) - 1
"""The version of the tombstone of an erased event: that of no message of a log is so large, so nothing is ever newer."""


class Versioned(Protocol):
    """Something that wants to be what is known of a key."""

    @property
    def key(self) -> EventKey:
        """What it is about."""
        ...

    @property
    def version(self) -> int:
        """Where in the log it was said; the larger one counts."""
        ...


V = TypeVar("V", bound=Versioned)


def newest(changes: Iterable[V]) -> dict[EventKey, V]:
    """Of each key the change with the largest version; of equal ones the first."""
    found: dict[EventKey, V] = {}
    for change in changes:
        known = found.get(change.key)
        if known is None or known.version < change.version:
            found[change.key] = change
    return found


def fold(live: Sequence[tuple[str, int]], gone: Sequence[tuple[str, int]]) -> Digest:
    """The digest of (key, version) pairs; the *gone* count for the digest, not as events."""
    everything = fold_digest([*live, *((f"-{key}", version) for key, version in gone)])
    return Digest(events=len(live), digest=everything.digest)


def fold_held(held: Iterable[Held]) -> Digest:
    """The digest of what is held."""
    live: list[tuple[str, int]] = []
    gone: list[tuple[str, int]] = []
    for one in held:
        (live if one.live else gone).append((one.key, one.version))
    return fold(live, gone)


def joined(first: Digest, second: Digest) -> Digest:
    """The digest of both together, if they are of different keys."""
    total = (int(first.digest, 16) + int(second.digest, 16)) % DIGEST_RANGE
    return Digest(events=first.events + second.events, digest=f"{total:032x}")
