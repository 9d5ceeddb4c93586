"""The chain of the archive of the log: its links and segments as they are kept.

Belongs here: reading and writing both, and what is noted of them among the records. Does not belong here: which messages (``archiving``),
or whether they are right (``chain_checking``). A newcomer would get wrong: who writes a link first has written it. Two that copy at once
are told apart by that alone, whatever the lease says, and the segment of the one that came late is removed.
"""

import hashlib
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import datetime

import msgspec
import structlog
from msgspec import Struct

from kalends.backups import objects
from kalends.domain.errors import Conflict, Damaged
from kalends.kit import aead, failpoints
from kalends.kit.signatures import Signer
from kalends.ports.archive import Archive
from kalends.ports.kek import Wrapper
from kalends.ports.records import Record, Records
from kalends.wire import links, signed
from kalends.wire.archived import Writing
from kalends.wire.links import Link, Logged

log = structlog.get_logger(__name__)

KIND = "archive"
_OWNER = "instance"
_LINK_BYTES = 64 << 20


class Noted(Struct, frozen=True, kw_only=True):
    """What the records say of the archive, apart from it: how far it had come, with what digest; and what the last check found.

    ``status`` is what may be told to whoever asks how all is: ``told`` without the names of records, or empty where that has none.
    ``inventory`` and ``inventory_sha256`` are number and digest of the newest inventory of the records.
    """

    number: int = -1
    sha256: str = ""
    checked_at: datetime | None = None
    breaks: int = 0
    told: str = ""
    status: str = ""
    inventory: int = -1
    inventory_sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A link as it is kept: read, and the digest of its bytes."""

    link: Link
    sha256: str


class Chain:
    """The chain of the log *log_id* in the archive that the setting *place* names."""

    def __init__(self, *, archive: Archive, records: Records, wrapper: Wrapper, signer: Signer, log_id: str, place: str) -> None:
        self._archive = archive
        self._records = records
        self._wrapper = wrapper
        self._signer = signer
        self.log_id = log_id
        # in another place another chain begins
        self._name = f"{log_id}-{hashlib.sha256(place.encode()).hexdigest()[:16]}"

    async def names(self) -> Mapping[str, int]:
        """Everything that is kept of it: names, and sizes in bytes.

        Raises:
            Unavailable, DeadlineExceeded: the archive does not answer.
        """
        return {one.name: one.size for one in await self._archive.list(f"{links.PREFIX}{self.log_id}/")}

    async def last(self) -> Kept | None:
        """The newest link; None where there is none.

        Raises:
            Damaged: it cannot be read. Unavailable, DeadlineExceeded: the archive does not answer.
        """
        names = [name for name in await self.names() if "/link-" in name]
        return await self.link(max(names)) if names else None

    async def link(self, name: str) -> Kept:
        """One link or amendment.

        Raises:
            Damaged: it is not there, or is not what was signed. Unavailable, DeadlineExceeded: the archive does not answer.
        """
        content = await objects.named(self._archive, name, limit=_LINK_BYTES, called="a link")
        return Kept(link=links.read(content, name), sha256=signed.digest(content))

    async def messages(self, link: Link) -> AsyncGenerator[list[Logged], None]:
        """The messages of a link's segment, frame by frame.

        Raises:
            Damaged: it is not what was written, or is not there. Misconfigured: the key-encryption key is another. Unavailable,
            DeadlineExceeded: the archive does not answer.
        """
        box = await links.unwrap(link.wrapped, self._wrapper, segment=link.segment)
        async with aclosing(objects.items(self._archive, link.segment, box, Logged, sha256=link.sha256, noted_in="link")) as frames:
            async for found in frames:
                yield found

    async def add(self, link: Link, messages: AsyncIterator[Logged], told: "Told") -> Kept:
        """Write a segment of *messages*, and *link* with what became of it and with what *told* then says of streams and holes.

        Raises:
            Conflict: somebody else has written that link. Unavailable, DeadlineExceeded: a store does not answer; again is safe.
        """
        key, segment = aead.new_key(), links.segment_name(self.log_id, link.number, secrets.token_hex(8))
        writing = Writing(segment, aead.Box(key))
        size = await self._archive.put(segment, writing.pieces(messages))
        items, _, sha256 = writing.written
        wrapped = await links.wrap(key, self._wrapper, segment=segment)
        whole = msgspec.structs.replace(
            link, streams=told.streams, holes=told.holes, segment=segment, bytes=size, messages=items, sha256=sha256, wrapped=wrapped
        )
        await failpoints.reach("archive.before-link")
        content = signed.sign(whole, self._signer)
        try:
            await self._archive.put(whole.name, _only(content))
        except Conflict:
            await self._archive.remove(segment)
            raise
        return Kept(link=links.read(content, whole.name), sha256=signed.digest(content))

    async def drop(self, segment: str) -> None:
        """Take away a segment that no link names any more.

        Raises:
            Unavailable, DeadlineExceeded: the archive does not answer; again is safe.
        """
        await self._archive.remove(segment)

    async def noted(self) -> Noted:
        """What the records say of it; nothing where the disk lost what they said.

        Raises:
            Damaged: it is not what was noted. Unavailable, DeadlineExceeded: the records do not answer.
        """
        return _read(await self._record())

    async def _record(self) -> Record | None:
        """Where it is noted; None if nowhere, or if that is lost: then it is noted anew, and what it said of the end is not known."""
        try:
            return await self._records.get(KIND, _OWNER, self._name)
        except Damaged:
            log.warning("what is noted of the archive of the log is lost, and is noted anew")
            return None

    async def note(self, **changes: object) -> None:
        """Change what the records say of it; how far it came never goes back.

        Raises:
            Unavailable, DeadlineExceeded: the records do not answer.
        """
        while True:
            record = await self._record()
            before = _read(record)
            wanted = changes
            if int(str(changes.get("number", before.number))) < before.number:
                wanted = {name: value for name, value in changes.items() if name not in {"number", "sha256"}}
            value = msgspec.json.encode(msgspec.structs.replace(before, **wanted))
            with suppress(Conflict):  # another process noted something at the same time
                await self._records.put(KIND, _OWNER, self._name, value, revision=0 if record is None else record.revision)
                return


@dataclass(slots=True, kw_only=True)
class Told:
    """What a segment turns out to hold, once its messages have passed."""

    streams: dict[str, tuple[int, int]]
    holes: dict[str, list[tuple[int, int]]]


async def _only(content: bytes) -> AsyncIterator[bytes]:
    yield content


def _read(record: Record | None) -> Noted:
    if record is None:
        return Noted()
    try:
        return msgspec.json.decode(record.value, type=Noted)
    except msgspec.MsgspecError as error:
        raise Damaged("what is noted of the archive of the log cannot be read") from error
