"""Signatures: Ed25519 over byte strings, with raw keys of 32 bytes.

Belongs here: making keys, signing, checking. Does not belong here: what is signed, or where a key is kept. A newcomer would get wrong: a
signature says who signed, not when; a time stands in what is signed.
"""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

KEY_BYTES = 32


def new_key() -> bytes:
    """A fresh private key."""
    return Ed25519PrivateKey.generate().private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())


class Signer:
    """Signs with one private key of 32 bytes; any other length is a ``ValueError``."""

    __slots__ = ("_key", "public")

    def __init__(self, key: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(key)
        self.public: bytes = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def sign(self, message: bytes) -> bytes:
        """64 bytes; the same for the same message."""
        return self._key.sign(message)


def is_signed(message: bytes, signature: bytes, *, public: bytes) -> bool:
    """Whether the owner of the key *public* signed exactly *message*."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
