"""Notes of erasures beside the backups: what was erased since they were made, so that it stays out of whatever is restored from them.

Belongs here: the form of one note. Does not belong here: when it is written or taken away (``backups.notes``). A newcomer would get wrong:
a note is written when an erasure ends and not with the next backup, because the installation may be lost before there is one.
"""

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from kalends.domain.errors import Damaged, KalendsError, Misconfigured
from kalends.kit import aead
from kalends.ports.kek import Bound, Wrapper
from kalends.wire.archived import CopiedErasure

PREFIX = "erasures/"

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[CopiedErasure])


class Note(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As it is stored: when the erasure ended (microseconds), a key of its own under the key-encryption key, and what is sealed with it."""

    format: int
    erased_us: int
    wrapped: str
    sealed: str


_notes = msgspec.json.Decoder(Note)


def name_of(erasure_id: str) -> str:
    """The name of the note of an erasure."""
    return f"{PREFIX}{erasure_id}"


async def seal(erasure_id: str, entries: Sequence[CopiedErasure], *, erased_us: int, wrapper: Wrapper) -> bytes:
    """The note of an erasure.

    Raises:
        Unavailable, DeadlineExceeded: the keeper of the key-encryption key does not answer.
    """
    key = aead.new_key()
    (wrapped,) = await wrapper.wrap([Bound(key=key, context=_context(erasure_id))])
    nonce, sealed = aead.Box(key).seal(_encoder.encode(list(entries)), context=_context(erasure_id))
    return msgspec.json.encode(Note(format=1, erased_us=erased_us, wrapped=wrapped.hex(), sealed=(nonce + sealed).hex()))


def read(content: bytes) -> Note:
    """A note from its bytes, still sealed.

    Raises:
        Damaged: they are none.
    """
    try:
        found = _notes.decode(content)
        bytes.fromhex(found.wrapped + found.sealed)
    except (msgspec.MsgspecError, ValueError) as error:
        raise Damaged("the note of an erasure beside the backups cannot be read") from error
    if found.format != 1:
        raise Damaged(f"the note of an erasure has format {found.format}, which this version does not read")
    return found


async def opened(erasure_id: str, note: Note, wrapper: Wrapper) -> Sequence[CopiedErasure]:
    """What a note says.

    Raises:
        Misconfigured: its key-encryption key is not here. Damaged: it does not open. Unavailable, DeadlineExceeded: the keeper is away.
    """
    (key,) = await wrapper.unwrap([Bound(key=bytes.fromhex(note.wrapped), context=_context(erasure_id))])
    if isinstance(key, KalendsError):
        raise Misconfigured("the note of an erasure beside the backups needs a key-encryption key that is not here") from key
    sealed = bytes.fromhex(note.sealed)
    try:
        plain = aead.Box(key).open(sealed[: aead.NONCE_BYTES], sealed[aead.NONCE_BYTES :], context=_context(erasure_id))
        return _decoder.decode(plain)
    except (aead.TamperedError, msgspec.MsgspecError) as error:
        raise Damaged("the note of an erasure beside the backups does not open") from error


def _context(erasure_id: str) -> bytes:
    return f"kalends erasure note\0{erasure_id}".encode()
