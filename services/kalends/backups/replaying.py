"""Restoring a whole installation into an empty one, before it serves anybody.

Belongs here: the order of the steps, and the note that says how far it is. Does not belong here: one memory of an installation that serves
(``restoring``). A newcomer would get wrong: messages come back as they were sealed, so not their positions but their bytes are the same;
what was erased after the backup stays out, and the ledger of every later backup is replayed before anything is served.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import msgspec
import structlog

from kalends.backups.catalogue import Backup, Catalogue, Shelf
from kalends.backups.copies import Copies, Message, key_scopes, learn, newest_with_keys
from kalends.backups.recording import ERASURES
from kalends.backups.resealing import Resealing
from kalends.backups.taking import Sources
from kalends.backups.verifying import opened
from kalends.domain.backups import Gone
from kalends.domain.calendar import Node
from kalends.domain.errors import Conflict, Damaged, Misconfigured
from kalends.domain.events import event_key
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.kit import aead, failpoints
from kalends.ports.kek import Wrapper
from kalends.ports.log import Draft
from kalends.ports.records import Records
from kalends.wire import audit, envelopes, nodes
from kalends.wire.archived import CopiedAudit, CopiedErasure, CopiedRecord
from kalends.wire.erasures import KIND as ERASURE
from kalends.wire.erasures import ErasureStore, begun_anew
from kalends.wire.isolations import DEDICATED
from kalends.wire.isolations import KIND as ISOLATION
from kalends.wire.running import Report

log = structlog.get_logger(__name__)

NOTE = "restore"
_OWNER, _NAME = "instance", "whole"
_BATCH = 200
_READ = 500


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """How a whole restore stands: of which backup, to which time (microseconds, 0: its end), and whether it is done."""

    backup_id: str
    to_us: int
    done: bool = False


async def unfinished(records: Records) -> Note | None:
    """The restore that was begun here and is not done; nothing may be served meanwhile.

    Raises:
        Unavailable, DeadlineExceeded: the store does not answer.
    """
    found = await _noted(records)
    return None if found is None or found.done else found


async def check_whole(records: Records) -> None:
    """See that nothing is half restored here.

    Raises:
        Misconfigured: it is.
    """
    found = await unfinished(records)
    if found is not None:
        detail = f"a restore of the backup {found.backup_id} was cut off: run `kalends backup restore {found.backup_id} --into-empty` again"
        raise Misconfigured(detail)


@dataclass(slots=True)
class _Erased:
    """What is known of the erasures of one memory, and which of their messages the backup itself has."""

    gone: Gone
    messages: dict[bytes, None]


class RestoreAll:
    """Restores a whole installation."""

    def __init__(self, *, catalogue: Catalogue, copies: Copies, sources: Sources, erasures: ErasureStore, wrapper: Wrapper) -> None:
        self._catalogue = catalogue
        self._copies = copies
        self._sources = sources
        self._erasures = erasures
        self._wrapper = wrapper
        self._counts: Counter[str] = Counter()

    async def __call__(self, backup_id: str, *, to_us: int | None = None, report: Report = lambda _done, _total: None) -> str:
        """Do it, or go on with it, and say what came of it.

        Raises:
            NotFound: there is no such backup, or none has keys any more. Conflict: this installation is not empty, or the backup is not of
            everything. Misconfigured: its key-encryption key is not here. Damaged: it cannot be read. Unavailable: a store does not answer.
        """
        shelf = await self._catalogue.shelf()
        chain = shelf.chain(backup_id)
        if chain[-1].contents.chosen.kind != "all":
            raise Conflict("the backup is not of everything; restore its memories into an installation that serves")
        note = Note(backup_id=backup_id, to_us=to_us or 0)
        await self._begin(note)
        self._counts = Counter()
        erased = await self._erased(shelf)
        await self._records(shelf, chain[-1])
        await failpoints.reach("replay.after-records")
        await self._keys(shelf, chain[-1])
        total = sum(part.events + part.nodes + part.others for backup in chain for part in backup.contents.parts)
        for scope in await self._scopes(chain, erased):
            await self._memory(note, chain, scope, erased.get(scope) or _Erased(Gone(), {}))
            report(sum(self._counts.values()), max(total, sum(self._counts.values())))
        await self._receipts(shelf)
        await self._audit(chain)
        await self._erasures.recover()
        await failpoints.reach("replay.before-done")
        await self._note(msgspec.structs.replace(note, done=True))
        return self._text(len(chain[-1].contents.parts))

    def _text(self, memories: int) -> str:
        counts = self._counts
        words = {"later": "recorded later", "erased": "erased", "unreadable": "without a key"}
        told = [f"{counts['events']} events and {counts['nodes']} nodes of {memories} memories restored"]
        return ", ".join(told + [f"{counts[why]} {word}" for why, word in words.items() if counts[why]])

    async def _begin(self, note: Note) -> None:
        found = await _noted(self._sources.records)
        if found is not None and (found.backup_id, found.to_us, found.done) == (note.backup_id, note.to_us, False):
            return
        if found is not None and not found.done:
            raise Conflict(f"another restore was begun here, of the backup {found.backup_id}; end that first, or take an empty folder")
        memories = await self._sources.records.list("memory")
        if memories or any((await self._sources.log.heads()).values()):
            raise Conflict("this installation is not empty; a whole restore needs one that never held anything")
        await self._note(note)

    async def _note(self, note: Note) -> None:
        await self._sources.records.put(NOTE, _OWNER, _NAME, msgspec.json.encode(note))

    async def _erased(self, shelf: Shelf) -> Mapping[Scope, _Erased]:
        found: dict[Scope, _Erased] = {}
        async for one in self._copies.erasures(shelf):
            if one.body:
                known = found.setdefault(_scope(one), _Erased(Gone(), {}))
                learn(known.gone, one.body)
                known.messages[one.body] = None
        return found

    async def _scopes(self, chain: Sequence[Backup], erased: Mapping[Scope, _Erased]) -> Sequence[Scope]:
        named = {Scope(Tenant(part.tenant), MemoryName(part.memory)) for part in chain[-1].contents.parts}
        return sorted(named | set(erased))

    async def _records(self, shelf: Shelf, backup: Backup) -> None:
        """Everything as the backup has it, but for what it says of erasures: that is as the newest backup has it."""
        newest = next(one for one in reversed(list(shelf.backups.values())) if one.contents.chosen.kind == "all")
        chosen = [one for one in await self._copies.records(backup) if one.kind not in ERASURES]
        chosen += [one for one in await self._copies.records(newest) if one.kind in ERASURES]
        # which memory has a stream of its own is said before anything is appended
        for one in sorted(chosen, key=lambda one: one.kind != ISOLATION):
            value = begun_anew(one.value) if one.kind == ERASURE else one.value
            await self._sources.records.put(one.kind, one.owner, one.name, value)
            await self._dedicate(one)

    async def _dedicate(self, one: CopiedRecord) -> None:
        if one.kind == ISOLATION and one.value == DEDICATED.encode():
            await self._sources.log.dedicate(Scope(Tenant(one.owner), MemoryName(one.name)))

    async def _keys(self, shelf: Shelf, backup: Backup) -> None:
        """The keys of the newest backup: what was destroyed before it is not among them."""
        newest: dict[str, Backup] = {}
        for part in backup.contents.parts:
            found = newest_with_keys(shelf, Scope(Tenant(part.tenant), MemoryName(part.memory)))
            newest[found.backup_id] = found
        wanted = {one for part in backup.contents.parts for one in key_scopes(Scope(Tenant(part.tenant), MemoryName(part.memory)))}
        for found in newest.values():
            by_scope: dict[Scope, dict[str, bytes]] = {}
            async for key in self._copies.every_key(found):
                scope = Scope(Tenant(key.tenant), MemoryName(key.memory))
                if scope in wanted:
                    by_scope.setdefault(scope, {})[key.reference] = key.wrapped
            await self._check_keys(found, by_scope)
            for scope, wrapped in by_scope.items():
                references = list(wrapped)
                for start in range(0, len(references), _READ):
                    await self._sources.keys.create(scope, {one: wrapped[one] for one in references[start : start + _READ]})

    async def _check_keys(self, backup: Backup, by_scope: Mapping[Scope, Mapping[str, bytes]]) -> None:
        for scope, wrapped in by_scope.items():
            if wrapped and not await opened(self._wrapper, scope, dict(list(wrapped.items())[:1])):
                raise Misconfigured(f"the data keys of the backup {backup.backup_id} need a key-encryption key that is not here")

    async def _memory(self, note: Note, chain: Sequence[Backup], scope: Scope, erased: _Erased) -> None:
        """The messages of one memory, and behind them what later backups say of its erasures."""
        boxes = await self._boxes(scope)
        done = await self._restored(note, scope)
        place = -1
        gathered: list[Draft] = []
        async for one in self._copies.messages(chain, scope):
            if not self._is_wanted(one, note, scope, erased.gone, boxes):
                continue
            erased.messages.pop(one.copied.body, None)
            place += 1
            gathered += self._drafts(note, scope, place, one.copied.body, one.copied.headers, done)
            if len(gathered) >= _BATCH:
                gathered = await self._append(gathered)
        for body in erased.messages:
            place += 1
            gathered += self._drafts(note, scope, place, body, {}, done)
        await self._append(gathered)

    def _is_wanted(self, one: Message, note: Note, scope: Scope, gone: Gone, boxes: Mapping[str, aead.Box]) -> bool:
        sealed = one.sealed
        if sealed is None:
            self._counts["damaged"] += 1
            return False
        if sealed.is_erasure:
            return True
        why = ""
        if note.to_us and sealed.recorded_us > note.to_us:
            why = "later"
        elif sealed.key_reference not in boxes:
            why = "unreadable"
        elif sealed.event_id is not None:
            if gone.has_event(event_key(scope, sealed.event_id), session=None, recorded_us=sealed.recorded_us):
                why = "erased"
        elif self._is_gone(sealed, scope, gone, boxes[sealed.key_reference]):
            why = "erased"
        self._counts[why or ("nodes" if sealed.is_node else "events" if sealed.event_id is not None else "others")] += 1
        return not why

    def _is_gone(self, sealed: envelopes.Sealed, scope: Scope, gone: Gone, box: aead.Box) -> bool:
        """Whether a node was erased, or what takes events back is of a session that was."""
        if not (gone.nodes or gone.sessions):
            return False
        try:
            content = envelopes.unseal(sealed, box)
        except Damaged:
            return True  # sealed under a key that was destroyed; its reference has another one since
        return isinstance(content, Node) and gone.has_node(nodes.node_key(scope, content.period), recorded_us=sealed.recorded_us)

    def _drafts(self, note: Note, scope: Scope, place: int, body: bytes, headers: Mapping[str, str], done: int) -> list[Draft]:
        if place <= done:
            return []
        told = {**headers, Resealing.HEADER: f"{note.backup_id} {place}"}
        return [Draft(scope=scope, message_id=f"restore-{note.backup_id}-{place}", body=body, headers=told)]

    async def _append(self, gathered: list[Draft]) -> list[Draft]:
        if gathered:
            await self._sources.log.append(gathered)
            await failpoints.reach("replay.after-append")
        return []

    async def _boxes(self, scope: Scope) -> Mapping[str, aead.Box]:
        found: dict[str, bytes] = {}
        async with aclosing(self._sources.keys.references(scope, limit=_READ)) as pieces:
            async for piece in pieces:
                found |= piece
        return await opened(self._wrapper, scope, found)

    async def _restored(self, note: Note, scope: Scope) -> int:
        last = -1
        heads = await self._sources.log.heads()
        async with aclosing(self._sources.log.history(scope, after={}, upto=heads, limit=_READ)) as batches:
            async for messages in batches:
                for message in messages:
                    backup_id, _, place = message.headers.get(Resealing.HEADER, "").partition(" ")
                    if backup_id == note.backup_id and place.isdigit():
                        last = max(last, int(place))
        return last

    async def _receipts(self, shelf: Shelf) -> None:
        async for one in self._copies.erasures(shelf):
            if one.receipt:
                await self._sources.ledger.put(_scope(one), one.erasure_id, one.receipt)

    async def _audit(self, chain: Sequence[Backup]) -> None:
        """The entries in their order: chained anew from the first, they have the numbers and hashes that they had."""
        _, head = await self._sources.audit.head()
        for backup in chain:
            for entry in backup.manifest.of_kind("audit"):
                async for blocks in self._copies.read(backup, entry, CopiedAudit):
                    for block in blocks:
                        entries = [one for one in audit.unpack(block.block) if one.number > head.number]
                        if entries:
                            await self._sources.audit.append(entries)


async def _noted(records: Records) -> Note | None:
    record = await records.get(NOTE, _OWNER, _NAME)
    if record is None:
        return None
    try:
        return msgspec.json.decode(record.value, type=Note)
    except msgspec.MsgspecError as error:
        raise Damaged("the note of a whole restore cannot be read") from error


def _scope(one: CopiedErasure) -> Scope:
    return Scope(Tenant(one.tenant), MemoryName(one.memory))
