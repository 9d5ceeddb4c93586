"""Objects of a backup: items in sealed frames, so that a changed byte is found and its place is named.

Belongs here: the items, and the frames that carry them. Does not belong here: which items a backup has (``backups``), where objects are
kept (``ports.archive``). A newcomer would get wrong: a frame is sealed together with its object's name and its own number, and the last
says that it is the last; so frames can neither be moved nor dropped, and what was cut off does not read as if it ended there.
"""

import hashlib
import struct
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Sequence
from typing import NamedTuple, TypeVar

import msgspec
from msgspec import Struct

from kalends.domain.errors import Damaged
from kalends.kit import aead

MAGIC = b"KLDARC01"
FRAME_BYTES = 64 << 10
"""Items are gathered until they are about so many bytes; it is how precisely the place of a changed byte is told."""

_LONGEST = 80 << 20
_LENGTH = struct.Struct(">I")
_encoder = msgspec.msgpack.Encoder()


class Copied(Struct, frozen=True, array_like=True):
    """A message of the log as it was: ``memory`` counts those of the backup's contents from 0; times in microseconds."""

    memory: int
    stream: str
    sequence: int
    epoch: int
    recorded_us: int
    body: bytes
    headers: dict[str, str]


class CopiedKey(Struct, frozen=True, array_like=True):
    """A data key as it was wrapped."""

    tenant: str
    memory: str
    reference: str
    wrapped: bytes


class CopiedRecord(Struct, frozen=True, array_like=True):
    """A record's newest version."""

    kind: str
    owner: str
    name: str
    value: bytes


class CopiedErasure(Struct, frozen=True, array_like=True):
    """What the ledger knows of a memory: the body of a message of an erasure, or the receipt of the erasure ``erasure_id``."""

    tenant: str
    memory: str
    body: bytes = b""
    erasure_id: str = ""
    receipt: bytes = b""


class CopiedAudit(Struct, frozen=True, array_like=True):
    """A block of the audit, as ``wire.audit`` packs it, from its place in the store."""

    place: int
    block: bytes


Item = TypeVar("Item", bound=Struct)


class Written(NamedTuple):
    """What was written: items, frames, and the SHA-256 of all bytes, in hex."""

    items: int
    frames: int
    sha256: str


def flaw(name: str, first: int, last: int) -> str:
    """In words: the bytes of an object from *first* to *last*, both included and from 0, are not what was written."""
    return f"{name} is damaged between its bytes {first} and {last}"


class Writing:
    """The bytes of the object *name*, made of items that are given one by one; ``written`` once all were."""

    def __init__(self, name: str, box: aead.Box) -> None:
        self._name = name
        self._box = box
        self._digest = hashlib.sha256()
        self._frames = self._items = 0

    @property
    def written(self) -> Written:
        """What was written so far."""
        return Written(items=self._items, frames=self._frames, sha256=self._digest.hexdigest())

    async def pieces(self, items: AsyncIterator[Item]) -> AsyncIterator[bytes]:
        """Frames, each once it is full."""
        yield self._counted(MAGIC)
        gathered: list[bytes] = []
        size = 0
        async for item in items:
            encoded = _encoder.encode(item)
            gathered.append(encoded)
            size += len(encoded)
            self._items += 1
            if size >= FRAME_BYTES:
                yield self._frame(gathered, last=False)
                gathered, size = [], 0
        yield self._frame(gathered, last=True)

    def _frame(self, items: Sequence[bytes], *, last: bool) -> bytes:
        plain = _encoder.encode([msgspec.Raw(item) for item in items])
        nonce, sealed = self._box.seal(plain, context=_context(self._name, self._frames, last=last))
        self._frames += 1
        return self._counted(_LENGTH.pack(len(nonce) + len(sealed)) + nonce + sealed)

    def _counted(self, piece: bytes) -> bytes:
        self._digest.update(piece)
        return piece


class Reading:
    """The items of the object *name* from its bytes; ``sha256`` (hex) of what was read, complete once all was."""

    def __init__(self, name: str, box: aead.Box) -> None:
        self._name = name
        self._box = box
        self._digest = hashlib.sha256()
        self._buffer = bytearray()
        self._at = 0

    @property
    def sha256(self) -> str:
        """Of what was read so far."""
        return self._digest.hexdigest()

    async def items(self, pieces: AsyncIterable[bytes], form: type[Item]) -> AsyncGenerator[list[Item], None]:
        """The items of each frame, of *form*.

        Raises:
            Damaged: a frame is not what was written, or the end is missing, or something follows it.
        """
        decoder = msgspec.msgpack.Decoder(list[form])  # type: ignore[valid-type]  # built once for a whole object
        source = aiter(pieces)
        if await self._take(source, len(MAGIC), of=len(MAGIC)) != MAGIC:
            raise self._flaw(0, len(MAGIC))
        number, last = 0, False
        while not last:
            start = self._at
            (length,) = _LENGTH.unpack(await self._take(source, _LENGTH.size, of=_LENGTH.size))
            if not aead.NONCE_BYTES < length <= _LONGEST:
                raise self._flaw(start, _LENGTH.size)
            # a length that was changed within bounds asks for more than there is: then it is the length that is found, with what it is of
            body = await self._take(source, length, of=length + _LENGTH.size, since=start)
            plain, last = self._opened(body, number, start)
            try:
                yield decoder.decode(plain)
            except msgspec.MsgspecError as error:
                raise self._flaw(start, length) from error
            number += 1
        if self._buffer or await _next(source):
            raise self._flaw(self._at, 1)

    def _opened(self, body: bytes, number: int, start: int) -> tuple[bytes, bool]:
        nonce, sealed = body[: aead.NONCE_BYTES], body[aead.NONCE_BYTES :]
        for last in (False, True):
            try:
                return self._box.open(nonce, sealed, context=_context(self._name, number, last=last)), last
            except aead.TamperedError:
                continue
        raise self._flaw(start, len(body) + _LENGTH.size)

    async def _take(self, source: AsyncIterator[bytes], size: int, *, of: int, since: int | None = None) -> bytes:
        while len(self._buffer) < size:
            piece = await _next(source)
            if not piece:
                raise self._flaw(self._at if since is None else since, max(1, of))
            self._digest.update(piece)
            self._buffer += piece
        found = bytes(self._buffer[:size])
        del self._buffer[:size]
        self._at += size
        return found

    def _flaw(self, first: int, length: int) -> Damaged:
        return Damaged(flaw(self._name, first, first + length - 1))


async def _next(source: AsyncIterator[bytes]) -> bytes:
    """The next piece; nothing at the end."""
    async for piece in source:
        return piece
    return b""


def _context(name: str, number: int, *, last: bool) -> bytes:
    return f"kalends backup frame\0{name}\0{number}\0{int(last)}".encode()
