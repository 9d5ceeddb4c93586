"""Authenticated encryption of byte strings: AES-256-GCM with a random nonce, and a keyed digest derived from the same key.

A newcomer would get wrong: a random 96-bit nonce is safe for about 2^32 messages under one key, far more than one session has.
"""

import hashlib
import hmac
import os
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
NONCE_BYTES = 12
MAC_BYTES = 16
_NONCES = 256


class TamperedError(ValueError):
    """The bytes, the key or the context are not what was sealed."""


def new_key() -> bytes:
    """32 random bytes."""
    return secrets.token_bytes(KEY_BYTES)


class _Nonces:
    """Random nonces, drawn many at a time.

    Each question to the system gives the interpreter's lock away, and getting it back can take long.
    """

    def __init__(self) -> None:
        self._drawn: list[bytes] = []
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        """Give none of those out: a forked process has a copy of them."""
        self._drawn = []

    def next(self) -> bytes:
        """One that was never given out."""
        try:
            return self._drawn.pop()
        except IndexError:
            block = secrets.token_bytes(NONCE_BYTES * _NONCES)
            self._drawn = [block[start : start + NONCE_BYTES] for start in range(NONCE_BYTES, len(block), NONCE_BYTES)]
            return block[:NONCE_BYTES]


_nonces = _Nonces()


class Box:
    """One key, ready for use: ``seal`` and ``open`` bind a context that is not stored, ``digest`` tells whether contents are equal."""

    __slots__ = ("_cipher", "_digest_key")

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self._digest_key = hmac.digest(key, b"kalends content digest v1", hashlib.sha256)

    def seal(self, plain: bytes, *, context: bytes) -> tuple[bytes, bytes]:
        """*plain* sealed under a fresh nonce: (nonce, sealed)."""
        nonce = _nonces.next()
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
