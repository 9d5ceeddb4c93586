"""Inventories of the records in the archive of the log: the newest, and how another takes its place.

Belongs here: reading and writing both objects of one. Does not belong here: what is compared (``record_checking``), or their form
(``wire.inventories``). A newcomer would get wrong: the list is written first, and before it is known whether it is to be kept; without a
head it is none, and the next inventory that is kept takes it away.
"""

import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime

from kalends.backups import objects
from kalends.domain.errors import Conflict
from kalends.kit import aead
from kalends.kit.signatures import Signer
from kalends.ports.archive import Archive
from kalends.ports.kek import Wrapper
from kalends.wire import inventories, links, signed
from kalends.wire.archived import Writing
from kalends.wire.inventories import Inventory, Noted

_HEAD_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A head as it is kept: read, and the digest of its bytes."""

    head: Inventory
    sha256: str


class Inventories:
    """The inventories of the records of the log *log_id*."""

    def __init__(self, *, archive: Archive, wrapper: Wrapper, signer: Signer, log_id: str) -> None:
        self._archive = archive
        self._wrapper = wrapper
        self._signer = signer
        self._log_id = log_id

    async def newest(self) -> int:
        """The number of the newest head; -1 where there is none.

        Raises:
            Unavailable, DeadlineExceeded: the archive does not answer.
        """
        return max((int(name.rpartition("-")[2]) for name in await self._names() if "/inventory-" in name), default=-1)

    async def head(self, number: int) -> Kept:
        """The head of that number.

        Raises:
            Damaged: it is not there, or is not what was signed. Unavailable, DeadlineExceeded: the archive does not answer.
        """
        name = inventories.name_of(self._log_id, number)
        content = await objects.named(self._archive, name, limit=_HEAD_BYTES, called="an inventory")
        return Kept(head=inventories.read(content, name), sha256=signed.digest(content))

    async def items(self, head: Inventory) -> AsyncGenerator[list[Noted], None]:
        """What an inventory lists, frame by frame, ascending by place.

        Raises:
            Damaged: it is not what was written, or is not there. Misconfigured: the key-encryption key is another. Unavailable,
            DeadlineExceeded: the archive does not answer.
        """
        box = await links.unwrap(head.wrapped, self._wrapper, segment=head.listed)
        async with aclosing(objects.items(self._archive, head.listed, box, Noted, sha256=head.sha256, noted_in="inventory")) as frames:
            async for found in frames:
                yield found

    async def write(self, number: int, items: AsyncIterator[Noted], *, made_at: datetime, upto: int) -> Inventory:
        """Write a list of *items*; the head to ``keep`` it by, or ``drop`` it.

        Raises:
            Unavailable, DeadlineExceeded: a store does not answer; again is safe.
        """
        key, name = aead.new_key(), inventories.list_name(self._log_id, number, secrets.token_hex(8))
        writing = Writing(name, aead.Box(key))
        size = await self._archive.put(name, writing.pieces(items))
        written, _, sha256 = writing.written
        return Inventory(
            format=inventories.FORMAT,
            log_id=self._log_id,
            number=number,
            made_at=made_at,
            upto=upto,
            records=written,
            listed=name,
            bytes=size,
            sha256=sha256,
            wrapped=await links.wrap(key, self._wrapper, segment=name),
            key="",
        )

    async def keep(self, head: Inventory) -> Kept:
        """Write the head of a list that was written.

        Raises:
            Conflict: somebody else has written that head. Unavailable, DeadlineExceeded: the archive does not answer.
        """
        content = signed.sign(head, self._signer)
        try:
            await self._archive.put(head.name, _only(content))
        except Conflict:
            await self.drop(head)
            raise
        return Kept(head=inventories.read(content, head.name), sha256=signed.digest(content))

    async def drop(self, head: Inventory) -> None:
        """Take away a list that gets no head.

        Raises:
            Unavailable, DeadlineExceeded: the archive does not answer; again is safe.
        """
        await self._archive.remove(head.listed)

    async def clear(self, newest: Inventory) -> None:
        """Take away what came before *newest*, and lists without a head.

        Raises:
            Unavailable, DeadlineExceeded: the archive does not answer; again is safe.
        """
        for name in await self._names():
            is_earlier = "/inventory-" in name and int(name.rpartition("-")[2]) < newest.number
            is_old_list = "/records-" in name and int(name.split("-")[-2]) <= newest.number and name != newest.listed
            if is_earlier or is_old_list:
                await self._archive.remove(name)

    async def _names(self) -> Sequence[str]:
        return [one.name for one in await self._archive.list(f"{links.PREFIX}{self._log_id}/")]


async def _only(content: bytes) -> AsyncIterator[bytes]:
    yield content
