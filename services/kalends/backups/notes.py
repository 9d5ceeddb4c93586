"""What erasures and backups tell each other: a note of each erasure in the archive, and when the last backup of what it erased ends.

Belongs here: both. Does not belong here: erasing (``index.erasing``). A newcomer would get wrong: a note may only go once every backup that
is there was begun after its erasure had ended, for those have it in a ledger of their own.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from datetime import datetime

from kalends.backups.catalogue import Catalogue, Shelf
from kalends.domain.errors import Conflict, NotFound
from kalends.domain.events import microseconds, moment
from kalends.domain.scope import Scope
from kalends.ports.archive import Archive
from kalends.ports.kek import Wrapper
from kalends.wire import erasure_notes, manifests
from kalends.wire.archived import CopiedErasure
from kalends.wire.erasure_notes import Note

_KEPT_US = 86_400_000_000
"""A backup under way may have been begun before the erasure ended; none takes longer than so many microseconds."""

_NOTE_BYTES = 64 << 20


class ErasureNotes:
    """Notes of erasures in an archive; *leaves_log_archive* says when what was erased at a time has left the archive of the log."""

    def __init__(self, *, archive: Archive, wrapper: Wrapper, leaves_log_archive: Callable[[datetime], datetime] | None = None) -> None:
        self._archive = archive
        self._wrapper = wrapper
        self._leaves_log_archive = leaves_log_archive
        self._catalogue = Catalogue(archive=archive, wrapper=wrapper)

    async def ends(self, scope: Scope, *, whole: bool, erased_us: int) -> datetime | None:
        """When the last backup ends that may hold what was erased by then, and it has left the archive of the log.

        Raises:
            Unavailable, DeadlineExceeded: the archive does not answer.
        """
        ends = await self._catalogue.expires_at(scope, whole=whole, erased_us=erased_us)
        if whole or self._leaves_log_archive is None:
            return ends  # the archive of the log holds no keys, and those of whole sessions are gone
        leaves = self._leaves_log_archive(moment(erased_us))
        return leaves if ends is None else max(ends, leaves)

    async def note(self, scope: Scope, erasure_id: str, *, said: Sequence[bytes], receipt: bytes, erased_us: int) -> None:
        """Keep what the messages of an erasure say, and its receipt; again changes nothing.

        Raises:
            Unavailable, DeadlineExceeded: the archive or the keeper of the key-encryption key does not answer; again is safe.
        """
        entries = [CopiedErasure(scope.tenant, scope.memory, body=body) for body in said]
        entries.append(CopiedErasure(scope.tenant, scope.memory, erasure_id=erasure_id, receipt=receipt))
        content = await erasure_notes.seal(erasure_id, entries, erased_us=erased_us, wrapper=self._wrapper)
        try:
            await self._archive.put(erasure_notes.name_of(erasure_id), _only(content))
        except Conflict:
            return  # noted before, and then killed

    async def every(self) -> AsyncIterator[CopiedErasure]:
        """What all notes say.

        Raises:
            Damaged, Misconfigured: one cannot be opened. Unavailable, DeadlineExceeded: the archive does not answer.
        """
        for kept in await self._archive.list(erasure_notes.PREFIX):
            found = await self._read(kept.name)
            if found is not None:
                for entry in await erasure_notes.opened(kept.name.removeprefix(erasure_notes.PREFIX), found, self._wrapper):
                    yield entry

    async def clear(self, shelf: Shelf, *, now: datetime) -> None:
        """Take away the notes that no backup needs any more.

        Raises:
            Damaged: one cannot be read. Unavailable, DeadlineExceeded: the archive does not answer.
        """
        first_us = min((manifests.began_us(one.manifest) for one in shelf.backups.values()), default=microseconds(now))
        before_us = min(first_us, microseconds(now) - _KEPT_US)
        for kept in await self._archive.list(erasure_notes.PREFIX):
            found = await self._read(kept.name)
            if found is not None and not shelf.damaged and found.erased_us < before_us:
                await self._archive.remove(kept.name)

    async def _read(self, name: str) -> Note | None:
        content = bytearray()
        try:
            async with aclosing(self._archive.get(name)) as pieces:
                async for piece in pieces:
                    content += piece
                    if len(content) > _NOTE_BYTES:
                        break
        except NotFound:
            return None
        return erasure_notes.read(bytes(content))


async def _only(content: bytes) -> AsyncIterator[bytes]:
    yield content
