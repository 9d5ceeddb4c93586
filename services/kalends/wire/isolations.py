"""Isolations: whether a memory shares its stream with others or has one of its own; said once for a name, and for ever.

Belongs here: the record that says it. Does not belong here: streams and indexes of their own (adapters), or the memory's settings
(``memories``). A newcomer would get wrong: this record outlives its memory. Every process remembers what it says, a generation of an index
is laid out by it, and versions count within one stream, so a name that was erased may be used again only as it was.
"""

from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass

from kalends.domain.errors import Conflict, Damaged, Unavailable
from kalends.domain.scope import Scope
from kalends.ports.records import Records

KIND = "isolation"
SHARED, DEDICATED = "shared", "dedicated"
REMEMBERED = 65_536
"""Memories of which a process remembers what was said; of any other the record is read anew."""

_NOTHING = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What is said of a memory, in which revision of the record, and whether the one who asked said it."""

    scope: Scope
    says: str
    revision: int
    ours: bool


class Isolations:
    """What was said of each memory, over records."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._settled: OrderedDict[Scope, str] = OrderedDict()

    async def claim(self, scope: Scope, wanted: str) -> Claim:
        """Say *wanted* unless something was said before.

        Raises:
            Damaged: what was said cannot be read. Unavailable: others were as quick. KalendsError: the store is away or full.
        """
        says, revision = await self._said(scope)
        if says:
            return Claim(scope=scope, says=says, revision=revision, ours=False)
        try:
            revision = await self._put(scope, wanted.encode(), revision=revision)
        except Conflict:
            says, revision = await self._said(scope)
            if not says:
                raise Unavailable("somebody else makes this memory, too; try again", dependency="records", retry_after=1.0) from None
            return Claim(scope=scope, says=says, revision=revision, ours=False)
        return Claim(scope=scope, says=wanted, revision=revision, ours=True)

    async def confirm(self, claim: Claim) -> None:
        """Say once more what somebody else said, who could take it back otherwise.

        Raises:
            Unavailable: it was taken back meanwhile, or confirmed by a third; again is safe.
        """
        try:
            await self._put(claim.scope, claim.says.encode(), revision=claim.revision)
        except Conflict:
            raise Unavailable("somebody else makes this memory, too; try again", dependency="records", retry_after=1.0) from None

    async def release(self, claim: Claim) -> None:
        """Take a claim back because there is no room for what it needs, unless somebody confirmed it; nothing was ever appended."""
        with suppress(Conflict):
            await self._put(claim.scope, _NOTHING, revision=claim.revision)

    async def settled(self, scope: Scope) -> str:
        """Where the messages of a memory belong, for whoever is about to append some; of which nothing was said, it is shared from now on.

        Raises:
            Damaged: what was said cannot be read. KalendsError: the store is away or full.
        """
        known = self._settled.get(scope)
        if known is None:
            # memories made by an earlier version have no such record, and must not become something else later
            known = (await self.claim(scope, SHARED)).says
            self._settled[scope] = known
            if len(self._settled) > REMEMBERED:
                self._settled.popitem(last=False)
        return known

    async def _said(self, scope: Scope) -> tuple[str, int]:
        record = await self._records.get(KIND, scope.tenant, scope.memory)
        if record is None:
            return "", 0
        says = record.value.decode("ascii", "replace")
        if says not in ("", SHARED, DEDICATED):
            raise Damaged(f"the record of the isolation of memory {scope.memory!r} cannot be read")
        return says, record.revision

    async def _put(self, scope: Scope, value: bytes, *, revision: int) -> int:
        return await self._records.put(KIND, scope.tenant, scope.memory, value, revision=revision)
