"""Copies: what backups hold, read back.

Belongs here: the messages of a memory through a chain of backups, the keys that open them, and what was erased since. Does not belong here:
where they are put (``restoring``, ``replaying``). A newcomer would get wrong: keys come from the newest backup that has any, for one that
is older may hold keys that were destroyed since; and what was erased is asked of every backup in the archive, not of the chain alone.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from kalends.backups import objects
from kalends.backups.catalogue import Backup, Shelf
from kalends.backups.notes import ErasureNotes
from kalends.domain.backups import Gone
from kalends.domain.errors import Damaged, NotFound
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.ports.archive import Archive
from kalends.wire import envelopes
from kalends.wire.archived import Copied, CopiedErasure, CopiedKey, CopiedRecord, Item
from kalends.wire.envelopes import Sealed
from kalends.wire.erasures import sealing_scope
from kalends.wire.manifests import KEYS, Object


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of a backup and its outside; None where that cannot be read."""

    copied: Copied
    sealed: Sealed | None


class Copies:
    """What is in the backups of an archive."""

    def __init__(self, archive: Archive, notes: ErasureNotes) -> None:
        self._archive = archive
        self._notes = notes

    async def read(self, backup: Backup, entry: Object, form: type[Item]) -> AsyncGenerator[list[Item], None]:
        """The items of one object, frame by frame.

        Raises:
            Damaged: it is not what was written, or is not there. Unavailable: the archive does not answer.
        """
        wanted = objects.items(self._archive, entry.name, backup.box, form, sha256=entry.sha256, noted_in="manifest")
        async with aclosing(wanted) as frames:
            async for found in frames:
                yield found

    async def messages(self, chain: Sequence[Backup], scope: Scope) -> AsyncIterator[Message]:
        """The messages of one memory through *chain*, in the order in which they were written."""
        for backup in chain:
            number, segments = _part(backup, scope)
            for entry in backup.manifest.of_kind("segment"):
                if entry.name not in segments:
                    continue
                async with aclosing(self.read(backup, entry, Copied)) as frames:
                    async for items in frames:
                        for one in items:
                            if one.memory == number:
                                yield Message(copied=one, sealed=_parsed(one.body))

    async def records(self, backup: Backup) -> Sequence[CopiedRecord]:
        """Every record of one backup."""
        return [
            one for entry in backup.manifest.of_kind("records") async for items in self.read(backup, entry, CopiedRecord) for one in items
        ]

    async def keys(self, shelf: Shelf, scope: Scope) -> Mapping[str, bytes]:
        """The wrapped keys of a memory, by reference, as the newest backup that still has keys knows them.

        Raises:
            NotFound: the time of every backup's keys is over.
        """
        backup = newest_with_keys(shelf, scope)
        found: dict[str, bytes] = {}
        async for one in self.every_key(backup):
            if Scope(Tenant(one.tenant), MemoryName(one.memory)) == scope:
                found[one.reference] = one.wrapped
        return found

    async def every_key(self, backup: Backup) -> AsyncIterator[CopiedKey]:
        """All wrapped keys of one backup."""
        for entry in backup.manifest.of_kind(KEYS):
            async with aclosing(self.read(backup, entry, CopiedKey)) as frames:
                async for items in frames:
                    for one in items:
                        yield one

    async def erasures(self, shelf: Shelf) -> AsyncIterator[CopiedErasure]:
        """What every backup's ledger says, oldest backup first, and then the notes of erasures beside them."""
        for backup in shelf.backups.values():
            for entry in backup.manifest.of_kind("ledger"):
                async with aclosing(self.read(backup, entry, CopiedErasure)) as frames:
                    async for items in frames:
                        for one in items:
                            yield one
        async for noted in self._notes.every():
            yield noted

    async def gone(self, shelf: Shelf) -> Mapping[Scope, Gone]:
        """What was erased of each memory, as far as any backup knows."""
        found: dict[Scope, Gone] = {}
        async for one in self.erasures(shelf):
            if one.body:
                learn(found.setdefault(Scope(Tenant(one.tenant), MemoryName(one.memory)), Gone()), one.body)
        return found


def learn(gone: Gone, body: bytes) -> bool:
    """Take in the message of an erasure; False if it is something else.

    Raises:
        Damaged: it is one that cannot be read.
    """
    sealed = _parsed(body)
    if sealed is None or not sealed.is_erasure:
        return False
    said = envelopes.erased(sealed)
    gone.learn(at_us=sealed.recorded_us, events=said.keys, sessions=said.sessions, nodes=[one.key for one in said.nodes])
    return True


def newest_with_keys(shelf: Shelf, scope: Scope) -> Backup:
    """The newest backup of a memory that still has keys.

    Raises:
        NotFound: there is none.
    """
    for backup in reversed(list(shelf.backups.values())):
        if backup.keys_are_there and backup.contents.chosen.takes(scope):
            return backup
    raise NotFound("no backup of this memory has its keys any more")


def key_scopes(scope: Scope) -> tuple[Scope, Scope]:
    """Where the keys of a memory are: its own, and those of what names what was to be erased."""
    return scope, sealing_scope(scope)


def _part(backup: Backup, scope: Scope) -> tuple[int, frozenset[str]]:
    for number, part in enumerate(backup.contents.parts):
        if (part.tenant, part.memory) == scope:
            return number, frozenset(part.segments)
    return -1, frozenset()


def _parsed(body: bytes) -> Sealed | None:
    try:
        return envelopes.parse(body)
    except Damaged:
        return None
