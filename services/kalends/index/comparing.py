"""Comparing what truth and engine hold of one scope: by a digest of each side, and where those differ, key by key.

Belongs here: sums and differences of what was read. Does not belong here: reading, looking again and mending (``reconciling``). A newcomer
would get wrong: what came after the log's head at the beginning counts on neither side, or a memory that is written to would always differ;
and an erased event has the version ``FOREVER``, which is that of no message, so it always counts.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from kalends.domain import versions
from kalends.domain.events import EventKey
from kalends.domain.positions import sequence_of
from kalends.domain.queries import Digest, Held
from kalends.domain.versions import FOREVER


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A key of which truth and engine say different things, or one of them nothing."""

    key: EventKey
    true: Held | None
    there: Held | None

    @property
    def finding(self) -> str:
        """``orphans`` are found and should not be, ``missing`` the other way round, ``stale`` are held in another version."""
        if self.true is None or (self.there is not None and self.there.live and not self.true.live):
            return "orphans"
        if self.there is None or self.there.live != self.true.live:
            return "missing"
        return "stale"

    @property
    def ahead(self) -> Held | None:
        """What the engine holds, if that is of a version that the truth has not heard of."""
        if self.there is not None and (self.true is None or self.there.version > self.true.version):
            return self.there
        return None

    def is_old(self, not_after: int) -> bool:
        """Whether both sides came by the sequence *not_after*, so that nothing of it should be under way any more."""
        return all(is_old(side, not_after) for side in (self.true, self.there) if side is not None)


class Sum:
    """How many keys one side holds, and their digest; what came after the sequence *not_after* does not count."""

    def __init__(self, *, not_after: int, between: Callable[[], Awaitable[None]]) -> None:
        """*between* is awaited after each piece, and may wait."""
        self._not_after = not_after
        self._between = between
        self.keys = 0
        self.digest: Digest = versions.fold_held(())

    async def add(self, piece: Sequence[Held]) -> None:
        """Add what was not added before."""
        counted = [one for one in piece if is_old(one, self._not_after)]
        folded = await asyncio.to_thread(versions.fold_held, counted)
        self.keys, self.digest = self.keys + len(counted), versions.joined(self.digest, folded)
        await self._between()


def is_old(held: Held, not_after: int) -> bool:
    """Whether it was written by the sequence *not_after*, or erased, of which no version says when."""
    return held.version == FOREVER or sequence_of(held.version) <= not_after


def differences(true: Sequence[Held], there: Sequence[Held], *, until: EventKey | None) -> tuple[list[Difference], int]:
    """What differs among keys up to *until*, by key; and how many keys that were."""
    truths = {one.key: one for one in true if until is None or one.key <= until}
    held = {one.key: one for one in there if until is None or one.key <= until}
    keys = sorted(truths.keys() | held.keys())
    differing = (key for key in keys if truths.get(key) != held.get(key))
    return [Difference(key=key, true=truths.get(key), there=held.get(key)) for key in differing], len(keys)
