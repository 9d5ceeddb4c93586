"""Checking the records: that each can be read, and is not older than it was when they were last looked through.

Belongs here: what is compared, what is said of it, and giving up what is lost. Does not belong here: the log (``chain_checking``), or how
inventories are kept (``inventories``). A newcomer would get wrong: a broker that is killed and finds a changed byte cuts off everything
behind it, and gives the same revisions out again; so at a place that was given out before, only what was noted there is right.
"""

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import structlog

from kalends.backups.inventories import Inventories, Kept
from kalends.backups.recording import LEFT_OUT
from kalends.domain.errors import Conflict, Damaged
from kalends.kit.traffic import Traffic
from kalends.ports.clock import Clock
from kalends.ports.records import Listed, Records
from kalends.wire.inventories import Noted

log = structlog.get_logger(__name__)

_GIVE_WAY_S = 0.2


@dataclass(slots=True, kw_only=True)
class Found:
    """What a look through the records found: what is wrong with the ``store``, and with each of the ``broken``, by kind and in words.

    ``kept`` is the inventory that was noted of it; None where something was wrong, or another process noted one.
    """

    records: int = 0
    given_up: int = 0
    store: list[str] = field(default_factory=list)
    broken: list[tuple[str, str]] = field(default_factory=list)
    kept: Kept | None = None

    def flaw(self, place: str, what: str) -> None:
        """Note what is wrong with a record."""
        owner, kind, name = place.split(".")[-3:]
        self.broken.append((kind, f"the record {name} of {owner}, of the kind {kind}, {what}"))

    @property
    def flaws(self) -> Sequence[str]:
        """All of it in words; what is made anew by itself comes last."""
        return self.store + [words for _, words in sorted(self.broken, key=lambda one: one[0] in LEFT_OUT)]

    @property
    def without_names(self) -> str:
        """How many flaws there are, and of which kinds the records are, in words."""
        kinds = Counter(kind for kind, _ in self.broken)
        about = ", ".join(f"{count} of the kind {kind}" for kind, count in sorted(kinds.items()))
        return f"{len(self.store) + len(self.broken)} breaks of the records" + (f": {about}" if about else "")


@dataclass(slots=True, kw_only=True)
class _Earlier:
    """The inventory that is compared with. ``again``: revisions that were given out before, and are not what was noted."""

    upto: int
    again: list[int] = field(default_factory=list)
    is_whole: bool = True


class CheckRecords:
    """Looks through the records, and keeps an inventory of them in the archive."""

    def __init__(self, *, records: Records, inventories: Inventories, clock: Clock, traffic: Traffic) -> None:
        self._records = records
        self._inventories = inventories
        self._clock = clock
        self._traffic = traffic

    async def __call__(self, *, number: int, sha256: str, accept_lost: bool = False) -> Found:
        """Look at every record, and hold it against the inventory of the last look that found nothing wrong.

        *number* and *sha256* are what is known of that one apart from it, -1 if nothing. With *accept_lost* what is lost is given up, and
        the records are taken as they are.

        Raises:
            Misconfigured: the key-encryption key is not here. Unavailable, DeadlineExceeded: a store does not answer; nothing is kept.
        """
        found = Found()
        if accept_lost:
            found.given_up = await self._give_up()
        newest = max(number, await self._inventories.newest())
        before = None if accept_lost or newest < 0 else await self._before(newest, found, sha256=sha256 if newest == number else "")
        # asked for before anything is looked at: what is written from here on has a later revision
        upto = await self._records.head()
        if before is not None and upto < before.head.upto:
            found.store.append(f"the store of records went back from revision {before.head.upto} to {upto}")
        looked = self._look(before, found)
        made = await self._inventories.write(newest + 1, looked, made_at=self._clock.now(), upto=upto)
        if found.flaws:
            await self._inventories.drop(made)
            return found
        try:
            found.kept = await self._inventories.keep(made)
        except Conflict:
            log.info("another process looks through the records")
            return found
        await self._inventories.clear(found.kept.head)
        return found

    async def _before(self, newest: int, found: Found, *, sha256: str) -> Kept | None:
        try:
            before = await self._inventories.head(newest)
        except Damaged as error:
            found.store.append(error.detail)
            return None
        if sha256 and before.sha256 != sha256:
            found.store.append(f"{before.head.name} is not the one that was written")
            return None
        return before

    async def _give_up(self) -> int:
        """Delete what is listed and cannot be read; how much that was."""
        given_up = 0
        async with aclosing(self._records.inventory()) as pieces:
            async for piece in pieces:
                for one in piece:
                    if one.is_lost:
                        await self._records.give_up(one.place)
                        given_up += 1
        return given_up

    async def _look(self, before: Kept | None, found: Found) -> AsyncIterator[Noted]:
        """Every record that can be read, once it was held against the earlier inventory; both come in order of place."""
        earlier = None if before is None else _Earlier(upto=before.head.upto)
        async with aclosing(self._noted(before, earlier, found)) as noted, aclosing(self._records.inventory()) as pieces:
            old = await anext(noted, None)
            async for piece in pieces:
                await self._traffic.give_way(at_most=_GIVE_WAY_S)
                for one in piece:
                    while old is not None and old.place < one.place:
                        found.flaw(old.place, "is gone")
                        old = await anext(noted, None)
                    known = None
                    if old is not None and old.place == one.place:
                        known, old = old, await anext(noted, None)
                    found.records += 1
                    _compare(one, known, earlier, found)
                    if not one.is_lost:
                        yield Noted(one.place, one.revision, one.digest)
            while old is not None:
                found.flaw(old.place, "is gone")
                old = await anext(noted, None)
        if earlier is not None and earlier.again:
            found.store.append(
                f"the store of records has given out revisions again that it had given out before: {len(earlier.again)}, "
                f"the first is {min(earlier.again)}"
            )

    async def _noted(self, before: Kept | None, earlier: _Earlier | None, found: Found) -> AsyncGenerator[Noted, None]:
        """What the earlier inventory lists, one by one; one that is damaged ends there, and what would come is compared with nothing."""
        if before is None or earlier is None:
            return
        try:
            async with aclosing(self._inventories.items(before.head)) as frames:
                async for items in frames:
                    for item in items:
                        yield item
        except Damaged as error:
            earlier.is_whole = False
            found.store.append(error.detail)


def _compare(one: Listed, known: Noted | None, earlier: _Earlier | None, found: Found) -> None:
    """Note what is wrong with *one*, which was *known* so, or was not there."""
    if one.is_lost:
        found.flaw(one.place, "cannot be read")
    elif known is not None and one.revision < known.revision:
        found.flaw(one.place, f"is older than it was: of revision {one.revision}, and not {known.revision}")
    elif known is not None and one.revision == known.revision:
        if one.digest != known.digest:
            found.flaw(one.place, f"says otherwise at the same revision {one.revision}")
    elif earlier is not None and earlier.is_whole and one.revision <= earlier.upto:
        earlier.again.append(one.revision)
