"""Wrapped data keys as bytes: which key-encryption key one needs, and what only that key opens.

Belongs here: the form of what the key store holds. Does not belong here: wrapping (``ports.kek``), data keys themselves. A newcomer would
get wrong: keys that were wrapped before there were several key-encryption keys are 60 bytes without a name, and stay readable for ever; the
name says which key to ask and is bound to nothing, so a wrong one only means that the key does not open.
"""

from dataclasses import dataclass

from kalends.domain.errors import Damaged

PLAIN_BYTES = 60
"""A nonce of 12, a key of 32 and a tag of 16 bytes: the form without a name."""

_MAGIC = b"kek1"
_NAME_MAX = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class WrappedKey:
    """What is stored of a data key: *kek* names the key-encryption key (empty: the first one), *body* is what that one made of it."""

    kek: str
    body: bytes


def encode(wrapped: WrappedKey) -> bytes:
    """The bytes that are stored.

    Raises:
        ValueError: the name is empty or too long, which is a mistake of ours.
    """
    name = wrapped.kek.encode()
    if not 0 < len(name) <= _NAME_MAX:
        raise ValueError("the name of a key-encryption key has 1 to 200 bytes")
    return _MAGIC + bytes([len(name)]) + name + wrapped.body


def decode(stored: bytes) -> WrappedKey:
    """What :func:`encode` made, or a key from before there were names.

    Raises:
        Damaged: neither.
    """
    if len(stored) == PLAIN_BYTES:
        return WrappedKey(kek="", body=stored)
    start = len(_MAGIC) + 1
    if not stored.startswith(_MAGIC) or len(stored) <= start or not 0 < stored[start - 1] < len(stored) - start:
        raise Damaged("a wrapped data key cannot be read")
    end = start + stored[start - 1]
    try:
        return WrappedKey(kek=stored[start:end].decode(), body=stored[end:])
    except UnicodeDecodeError as error:
        raise Damaged("a wrapped data key cannot be read") from error


def kek_of(stored: bytes) -> str | None:
    """The name of the key-encryption key that *stored* needs, empty for the first; None if that cannot be read."""
    try:
        return decode(stored).kek
    except Damaged:
        return None
