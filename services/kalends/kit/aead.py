"""Authenticated encryption of byte strings: AES-256-GCM with a random nonce, and a keyed digest derived from the same key.

A newcomer would get wrong: a random 96-bit nonce is safe for about 2^32 messages under one key, far more than one session has.
"""

import hashlib
import hmac
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
NONCE_BYTES = 12
MAC_BYTES = 16


class TamperedError(ValueError):
    """The bytes, the key or the context are not what was sealed."""


def new_key() -> bytes:
    """32 random bytes."""
    return secrets.token_bytes(KEY_BYTES)


class Box:
    """One key, ready for use: ``seal`` and ``open`` bind a context that is not stored, ``digest`` tells whether contents are equal."""

    __slots__ = ("_cipher", "_digest_key")

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self._digest_key = hmac.digest(key, b"kalends content digest v1", hashlib.sha256)

    def seal(self, plain: bytes, *, context: bytes) -> tuple[bytes, bytes]:
        """*plain* sealed under a fresh nonce: (nonce, sealed)."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce, self._cipher.encrypt(nonce, plain, context)

    def open(self, nonce: bytes, sealed: bytes, *, context: bytes) -> bytes:
        """What was sealed.

        Raises:
            TamperedError: bytes, key or context differ.
        """
        try:
            return self._cipher.decrypt(nonce, sealed, context)
        except (InvalidTag, ValueError) as error:
            raise TamperedError("sealed bytes do not open") from error

    def digest(self, content: bytes) -> bytes:
        """16 bytes of HMAC-SHA256 of *content* under a key derived from this one."""
        return hmac.digest(self._digest_key, content, hashlib.sha256)[:MAC_BYTES]
