"""Restoring one memory while everything serves: into a new one, or so that it becomes again what it was.

Belongs here: the steps. Does not belong here: a whole installation (``replaying``), or what belongs to a state (``opening``). A newcomer
would get wrong: nothing is put back as it was sealed. Each event is sealed anew for where it goes, with its id and its times; and in place,
what is too much is erased for good before anything comes back, so it is no undo.
"""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from kalends.backups.catalogue import Backup, Catalogue, Shelf
from kalends.backups.copies import Copies, learn
from kalends.backups.opening import Opened, Sieve, Tally, note
from kalends.backups.resealing import Resealing
from kalends.backups.taking import Sources
from kalends.backups.verifying import opened
from kalends.domain.backups import Gone, State, difference
from kalends.domain.errors import Conflict, Damaged, NotFound, Unavailable
from kalends.domain.events import EventId, event_key, moment, new_ulid
from kalends.domain.scope import Scope
from kalends.kit import aead, failpoints
from kalends.kit.traffic import Traffic
from kalends.ports.kek import Wrapper
from kalends.ports.records import Record
from kalends.wire import documents, envelopes, memories
from kalends.wire.documents import DocumentRecord, DocumentStore
from kalends.wire.envelopes import Sealed
from kalends.wire.erasures import ErasureStore
from kalends.wire.memories import Memory, MemoryRegistry
from kalends.wire.running import Report
from kalends.wire.vault import Vault

log = structlog.get_logger(__name__)

ERASED_AT_ONCE = 1000
_BATCH = 200
_READ = 500
_GIVE_WAY_S = 0.2


class Forget(Protocol):
    """Erases events of a memory."""

    def __call__(self, scope: Scope, event_ids: tuple[EventId, ...], *, by: str, erasure_id: EventId) -> Awaitable[None]:
        """Return once nothing of them is left; the same again with the same *erasure_id* is the same erasure.

        Raises:
            UnderHold: a hold keeps some of them. Unavailable: it takes long; again goes on waiting.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A restore of the memory *source* as *backup_id* has it at ``to_us`` (microseconds; None: at its end), into *target*.

    With ``replace``, both are the same memory. ``made_us`` and ``by``: when and with which credential it was asked for.
    """

    operation_id: EventId
    backup_id: str
    source: Scope
    target: Scope
    to_us: int | None
    replace: bool
    made_us: int
    by: str


class RestoreMemory:
    """Restores memories; one that was cut off goes on where it was."""

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        copies: Copies,
        sources: Sources,
        registry: MemoryRegistry,
        store: DocumentStore,
        erasures: ErasureStore,
        vault: Vault,
        wrapper: Wrapper,
        forget: Forget,
        traffic: Traffic,
    ) -> None:
        self._catalogue = catalogue
        self._copies = copies
        self._sources = sources
        self._registry = registry
        self._store = store
        self._erasures = erasures
        self._vault = vault
        self._wrapper = wrapper
        self._forget = forget
        self._traffic = traffic

    async def check(self, wish: Wish) -> Shelf:
        """See that it can be done.

        Raises:
            NotFound: there is no such backup, it has no such memory, or what is to be replaced is not there. Conflict: what is to be made
            is there. Damaged: the backup or one that it builds on cannot be read.
        """
        shelf = await self._catalogue.shelf()
        chain = shelf.chain(wish.backup_id)
        if not any((part.tenant, part.memory) == wish.source for backup in chain for part in backup.contents.parts):
            raise NotFound("the backup has no such memory")
        if wish.replace:
            await self._registry.reread(wish.target)
            return shelf
        try:
            there = await self._registry.reread(wish.target)
        except NotFound:
            return shelf
        if there.created_us != wish.made_us:
            raise Conflict("there is a memory of that name; restore into another, or replace it")
        return shelf

    async def __call__(self, wish: Wish, *, dry_run: bool = False, report: Report = lambda _done, _total: None) -> str:
        """Do it, and say what came of it; a dry run only counts.

        Raises:
            As ``check``. UnderHold: something that would have to go is held. Unavailable, DeadlineExceeded: a store does not answer, or
            something of the memory is being erased; again goes on.
        """
        shelf = await self.check(wish)
        chain = shelf.chain(wish.backup_id)
        sieve = await self._sieve(wish, shelf)
        wanted, tally = State(), Tally()
        async for one in sieve.through(_sealed(self._copies, chain, wish.source), tally):
            note(wanted, one)
        total = sum(tally.taken.values())
        if wish.replace:
            return await self._replace(wish, chain, sieve, wanted, tally, dry_run=dry_run, report=report)
        if not dry_run:
            await self._make(wish, chain[-1])
            await failpoints.reach("restore.after-memory")
            done = await self._restored(wish)
            await self._write(wish, chain, sieve, report, total=total, after=done)
            await self._documents(wish, chain, sieve)
        return f"{tally.text}" + (" would be restored" if dry_run else " restored")

    async def _replace(
        self, wish: Wish, chain: Sequence[Backup], sieve: Sieve, wanted: State, tally: Tally, *, dry_run: bool, report: Report
    ) -> str:
        found = State()
        living = replace(sieve, boxes=await self._living_boxes(wish.target), to_us=None)
        async for one in living.through(self._stored(wish.target), Tally()):
            note(found, one)
        differ = difference(wanted, found)
        said = f"{len(differ.surplus)} events erased, {len(differ.missing)} restored; {tally.text} in the backup"
        if dry_run:
            return f"{len(differ.surplus)} events would be erased, {len(differ.missing)} restored; {tally.text} in the backup"
        for number, start in enumerate(range(0, len(differ.surplus), ERASED_AT_ONCE)):
            some = differ.surplus[start : start + ERASED_AT_ONCE]
            await self._forget(wish.target, some, by=wish.by, erasure_id=_erasure_id(wish, number, some))
        await failpoints.reach("restore.after-erasing")
        await self._write(wish, chain, sieve, report, total=len(differ.missing), only=differ.missing)
        await self._documents(wish, chain, sieve)
        return said

    async def _sieve(self, wish: Wish, shelf: Shelf) -> Sieve:
        gone = (await self._copies.gone(shelf)).get(wish.source, Gone())
        async for sealed in self._stored(wish.source):
            if sealed is not None and sealed.is_erasure:
                learn(gone, sealed.envelope.SerializeToString())
        if any(one.scope == wish.source for one in await self._erasures.active()):
            raise Unavailable("something of this memory is being erased; the restore waits for it", dependency="erasure", retry_after=5.0)
        boxes = await self._living_boxes(wish.source)
        try:
            wrapped = await self._copies.keys(shelf, wish.source)
        except NotFound:
            wrapped = {}
        left = {reference: key for reference, key in wrapped.items() if reference not in boxes}
        return Sieve(scope=wish.source, gone=gone, boxes={**await opened(self._wrapper, wish.source, left), **boxes}, to_us=wish.to_us)

    async def _living_boxes(self, scope: Scope) -> Mapping[str, aead.Box]:
        found: dict[str, bytes] = {}
        async with aclosing(self._sources.keys.references(scope, limit=_READ)) as pieces:
            async for piece in pieces:
                found |= piece
        return await opened(self._wrapper, scope, found)

    async def _stored(self, scope: Scope) -> AsyncIterator[Sealed | None]:
        """What the log has of a memory now."""
        heads = await self._sources.log.heads(whole=True)
        async with aclosing(self._sources.log.history(scope, after={}, upto=heads, limit=_READ)) as batches:
            async for messages in batches:
                await self._traffic.give_way(at_most=_GIVE_WAY_S)
                for message in messages:
                    yield _parsed(message.body)

    async def _make(self, wish: Wish, backup: Backup) -> None:
        """The new memory, with the settings of the old one; nobody owns it but who restores."""
        memory = Memory(scope=wish.target, isolation="shared", description="", created_us=wish.made_us)
        for one in await self._copies.records(backup):
            if (one.kind, one.owner, one.name) == (memories.KIND, wish.source.tenant, wish.source.memory):
                old = memories.decode(Record(kind=one.kind, owner=one.owner, name=one.name, value=one.value, revision=0))
                memory = replace(old, scope=wish.target, created_us=wish.made_us, owner="", handed_over_us=0, rewrapped_us=0)
        made, _ = await self._registry.create(memory)
        if made.created_us != wish.made_us:
            raise Conflict("there is a memory of that name; restore into another, or replace it")

    async def _restored(self, wish: Wish) -> int:
        """Up to which place an earlier attempt came, -1 if to none."""
        last = -1
        heads = await self._sources.log.heads(whole=True)
        async with aclosing(self._sources.log.history(wish.target, after={}, upto=heads, limit=_READ)) as batches:
            async for messages in batches:
                for message in messages:
                    operation, _, place = message.headers.get(Resealing.HEADER, "").partition(" ")
                    if operation == wish.operation_id and place.isdigit():
                        last = max(last, int(place))
        return last

    async def _write(
        self,
        wish: Wish,
        chain: Sequence[Backup],
        sieve: Sieve,
        report: Report,
        *,
        total: int,
        after: int = -1,
        only: frozenset[int] | None = None,
    ) -> None:
        """Append what belongs to the state, but for what is *after* or, in place, what is not among *only*."""
        resealing = Resealing(wish.operation_id, wish.target, vault=self._vault, source=self._sources.log)
        gathered: list[Opened] = []
        done = 0
        async for one in sieve.through(_sealed(self._copies, chain, wish.source), Tally()):
            resealing.learn(one)
            if one.place <= after or (only is not None and one.place not in only):
                continue
            gathered.append(one)
            if len(gathered) >= _BATCH:
                done += await self._append(resealing, gathered)
                gathered = []
                report(done, max(total, done))
        done += await self._append(resealing, gathered)
        report(done, max(total, done))

    async def _append(self, resealing: Resealing, gathered: Sequence[Opened]) -> int:
        await self._traffic.give_way(at_most=_GIVE_WAY_S)
        await resealing.append(gathered)
        await failpoints.reach("restore.after-append")
        return len(gathered)

    async def _documents(self, wish: Wish, chain: Sequence[Backup], sieve: Sieve) -> None:
        """The records of documents, each as the newest backup has it that knew it no later than the time that is restored."""
        chosen: dict[str, DocumentRecord] = {}
        for backup in chain:
            for one in await self._copies.records(backup):
                if (one.kind, one.owner) == (documents.KIND, wish.source.key):
                    found = documents.decode(wish.source, one.value, sieve.boxes.get(documents.reference_of(one.value)))
                    if wish.to_us is None or found.updated_us <= wish.to_us:
                        chosen[found.document_id] = found
        for document_id, found in chosen.items():
            if any(event_key(wish.source, chunk) in sieve.gone.events for chunk in found.chunk_ids):
                continue
            there = await self._store.find(wish.target, document_id)
            if there is None or there.updated_us != found.updated_us:
                await self._store.put(wish.target, replace(found, stored=0 if there is None else there.stored))


async def _sealed(copies: Copies, chain: Sequence[Backup], scope: Scope) -> AsyncIterator[Sealed | None]:
    async for message in copies.messages(chain, scope):
        yield message.sealed


def _parsed(body: bytes) -> Sealed | None:
    try:
        return envelopes.parse(body)
    except Damaged:
        return None


def _erasure_id(wish: Wish, number: int, events: Sequence[EventId]) -> EventId:
    """The same for the same events of the same restore."""
    said = f"{wish.operation_id}\0{number}\0{' '.join(events)}"
    return new_ulid(moment(wish.made_us), randomness=hashlib.blake2b(said.encode(), digest_size=10).digest())
