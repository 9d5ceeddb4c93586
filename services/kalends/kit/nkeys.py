"""NKeys: Ed25519 keys as NATS writes them, so that an agent's key opens the broker and the HTTP API alike.

Belongs here: reading and writing keys, signing, checking a signature. Does not belong here: what is signed (``edge.sessions``, the SDK). A
newcomer would get wrong: the letters are base32 over a kind, the key and a checksum; a text that was mistyped is found out before any
signature is looked at, and one key has exactly one text.
"""

import base64
import binascii
import secrets
from dataclasses import dataclass, field
from typing import Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

Kind = Literal["user", "account", "operator"]

_KINDS: dict[Kind, int] = {"user": 20 << 3, "account": 0, "operator": 14 << 3}
_SEED = 18 << 3
_KEY_BYTES = 32
_PUBLIC_LETTERS = 56
_SEED_LETTERS = 58


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPair:
    """A key that can sign; ``seed`` is the secret, ``public`` the text by which others know it."""

    public: str
    seed: str = field(repr=False)

    def sign(self, message: bytes) -> bytes:
        """The signature of *message*, 64 bytes."""
        return Ed25519PrivateKey.from_private_bytes(_seed_bytes(self.seed)[1]).sign(message)


def new_pair(kind: Kind) -> KeyPair:
    """A fresh key."""
    code, raw = _KINDS[kind], secrets.token_bytes(_KEY_BYTES)
    return pair_of(_text(bytes([_SEED | (code >> 5), (code & 31) << 3]) + raw))


def pair_of(seed: str) -> KeyPair:
    """The key of *seed*, a text such as ``SU…``.

    Raises:
        ValueError: it is no seed.
    """
    code, raw = _seed_bytes(seed)
    public = Ed25519PrivateKey.from_private_bytes(raw).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return KeyPair(public=_text(bytes([code]) + public), seed=seed)


def is_public(text: str, *, kind: Kind) -> bool:
    """Whether *text* is the public key of a user, an account or an operator."""
    try:
        _public_bytes(text, kind=kind)
    except ValueError:
        return False
    return True


def verify(public: str, message: bytes, signature: bytes) -> bool:
    """Whether the user with the key *public* signed *message*."""
    try:
        Ed25519PublicKey.from_public_bytes(_public_bytes(public, kind="user")).verify(signature, message)
    except (ValueError, InvalidSignature):
        return False
    return True


def _public_bytes(text: str, *, kind: Kind) -> bytes:
    raw = _checked(text, letters=_PUBLIC_LETTERS)
    if raw[0] != _KINDS[kind]:
        raise ValueError(f"no public key of a {kind}")
    return raw[1:]


def _seed_bytes(text: str) -> tuple[int, bytes]:
    """The kind of a seed's key, and its 32 bytes."""
    raw = _checked(text, letters=_SEED_LETTERS)
    code = (raw[0] & 7) << 5 | raw[1] >> 3
    if raw[0] & 0xF8 != _SEED or raw[1] & 7 or code not in _KINDS.values():
        raise ValueError("no seed of a key")
    return code, raw[2:]


def _text(raw: bytes) -> str:
    return base64.b32encode(raw + binascii.crc_hqx(raw, 0).to_bytes(2, "little")).decode().rstrip("=")


def _checked(text: str, *, letters: int) -> bytes:
    """The bytes of *text* without their checksum; only the one text that they would be written as is taken."""
    if len(text) != letters or not text.isascii():
        raise ValueError("a key has another length")
    try:
        raw = base64.b32decode(text + "=" * (-letters % 8))
    except binascii.Error as error:
        raise ValueError("a key is base32") from error
    if _text(raw[:-2]) != text:
        raise ValueError("a key with a wrong checksum")
    return raw[:-2]
