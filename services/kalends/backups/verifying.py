"""Checking backups: manifests, the chain, every byte of every object, and, when asked, every seal.

Belongs here: what is looked at and what is said of it. Does not belong here: mending. A newcomer would get wrong: a key that is gone is no
fault. What it opened was erased, or its time is over; a key that is there and does not open what it should is one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from msgspec import Struct

from kalends.backups.catalogue import Backup, Catalogue, Shelf
from kalends.backups.copies import Copies
from kalends.domain.backups import Gone
from kalends.domain.errors import Damaged, KalendsError, NotFound
from kalends.domain.events import event_key
from kalends.domain.scope import Scope
from kalends.kit import aead
from kalends.ports.kek import Bound, Wrapper
from kalends.ports.keys import Keys
from kalends.wire import envelopes
from kalends.wire.archived import Copied, CopiedAudit, CopiedErasure, CopiedKey, CopiedRecord
from kalends.wire.manifests import Object
from kalends.wire.running import Report
from kalends.wire.vault import context

_FORMS: Mapping[str, type[Struct]] = {
    "segment": Copied,
    "keys": CopiedKey,
    "records": CopiedRecord,
    "ledger": CopiedErasure,
    "audit": CopiedAudit,
}
_SHOWN = 5


@dataclass(slots=True, kw_only=True)
class Verdict:
    """What a check found: ``flaws`` in words, each names an object and where in it; ``unreadable`` messages have no key any more."""

    backups: int = 0
    objects: int = 0
    bytes: int = 0
    seals: int = 0
    unreadable: int = 0
    flaws: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """One line for people."""
        if self.flaws:
            more = f"; and {len(self.flaws) - _SHOWN} more" if len(self.flaws) > _SHOWN else ""
            return "; ".join(self.flaws[:_SHOWN]) + more
        seals = f", {self.seals} seals open, {self.unreadable} without a key" if self.seals or self.unreadable else ""
        return f"{self.backups} backups, {self.objects} objects of {self.bytes} bytes are what was written{seals}"


class VerifyBackup:
    """Checks a backup and all that it builds on."""

    def __init__(self, *, catalogue: Catalogue, copies: Copies, keys: Keys, wrapper: Wrapper) -> None:
        self._catalogue = catalogue
        self._copies = copies
        self._keys = keys
        self._wrapper = wrapper

    async def __call__(self, backup_id: str, *, deep: bool = False, report: Report = lambda _done, _total: None) -> Verdict:
        """Read everything of it; *deep* also opens every envelope. *report* is told how many bytes of how many were read.

        Raises:
            NotFound: there is no such backup. Unavailable, DeadlineExceeded: the archive or the keeper of the keys does not answer.
        """
        shelf = await self._catalogue.shelf()
        verdict = Verdict()
        try:
            chain = shelf.chain(backup_id)
        except Damaged as error:
            verdict.flaws.append(error.detail)
            return verdict
        total = sum(backup.manifest.size for backup in chain)
        verdict.backups = len(chain)
        boxes = None
        if deep:
            boxes = _Boxes(shelf, self._copies, self._keys, self._wrapper)
            await boxes.learn(verdict)
        for backup in chain:
            for entry in backup.manifest.objects:
                if entry.kind == "keys" and not backup.keys_are_there:
                    continue
                await self._look(backup, entry, verdict, boxes)
                verdict.objects += 1
                verdict.bytes += entry.bytes
                report(verdict.bytes, total)
        return verdict

    async def _look(self, backup: Backup, entry: Object, verdict: Verdict, boxes: "_Boxes | None") -> None:
        try:
            async for items in self._copies.read(backup, entry, _FORMS[entry.kind]):
                if boxes is not None and entry.kind == "segment":
                    await self._open([one for one in items if isinstance(one, Copied)], entry, verdict, boxes)
        except Damaged as error:
            verdict.flaws.append(error.detail)

    async def _open(self, items: Sequence[Copied], entry: Object, verdict: Verdict, boxes: "_Boxes") -> None:
        for one in items:
            where = f"{entry.name}: the message {one.sequence} of {one.stream}"
            try:
                sealed = envelopes.parse(one.body)
            except Damaged:
                verdict.flaws.append(f"{where} cannot be read")
                continue
            if sealed.is_erasure:
                continue
            box = (await boxes.of(sealed.scope)).get(sealed.key_reference)
            if box is None:
                verdict.unreadable += 1
                continue
            try:
                envelopes.unseal(sealed, box)
                verdict.seals += 1
            except Damaged as error:
                if boxes.was_erased(sealed):
                    verdict.unreadable += 1  # its session had another key before it was erased
                else:
                    verdict.flaws.append(f"{where}: {error.detail}")


class _Boxes:
    """The keys of memories, ready for use, as a backup or the installation itself has them."""

    def __init__(self, shelf: Shelf, copies: Copies, keys: Keys, wrapper: Wrapper) -> None:
        self._shelf = shelf
        self._copies = copies
        self._keys = keys
        self._wrapper = wrapper
        self._scope: Scope | None = None
        self._found: Mapping[str, aead.Box] = {}
        self._gone: Mapping[Scope, Gone] = {}

    async def learn(self, verdict: Verdict) -> None:
        """Find out what was erased, as far as the backups know."""
        try:
            self._gone = await self._copies.gone(self._shelf)
        except Damaged as error:
            verdict.flaws.append(error.detail)

    def was_erased(self, sealed: envelopes.Sealed) -> bool:
        """Whether a message is one of what was erased."""
        gone = self._gone.get(sealed.scope)
        if gone is None:
            return False
        if sealed.event_id is None:
            return bool(gone.sessions or gone.nodes)
        return gone.has_event(event_key(sealed.scope, sealed.event_id), session=None, recorded_us=sealed.recorded_us)

    async def of(self, scope: Scope) -> Mapping[str, aead.Box]:
        """Those of one memory; the last asked for are kept."""
        if scope != self._scope:
            try:
                wrapped = dict(await self._copies.keys(self._shelf, scope))
            except NotFound:
                wrapped = {}
            async for piece in self._keys.references(scope, limit=500):
                wrapped |= piece
            self._found, self._scope = await opened(self._wrapper, scope, wrapped), scope
        return self._found


async def opened(wrapper: Wrapper, scope: Scope, wrapped: Mapping[str, bytes]) -> dict[str, aead.Box]:
    """The boxes of *wrapped* keys of *scope*; those that do not unwrap are left out.

    Raises:
        Unavailable, DeadlineExceeded: the keeper of the key-encryption key does not answer.
    """
    keys = await wrapper.unwrap([Bound(key=key, context=context(scope, reference)) for reference, key in wrapped.items()])
    return {reference: aead.Box(key) for reference, key in zip(wrapped, keys, strict=True) if not isinstance(key, KalendsError)}
