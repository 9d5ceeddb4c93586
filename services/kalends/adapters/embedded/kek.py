"""The key-encryption key in a file.

Belongs here: making, checking and using the key file. Does not belong here: data keys themselves. A newcomer would get wrong: losing
this file loses every memory, and a backup that holds both the file and the log protects nothing.
"""

import os
import secrets
import stat
import sys
from pathlib import Path

from kalends.adapters.embedded import files
from kalends.domain.errors import Damaged, Misconfigured
from kalends.kit import aead

_PRIVATE = 0o600


class FileWrapper:
    """Wraps data keys under one key from a file; see ``ports.keys.Wrapper``. A wrapped key is a nonce and what AES-256-GCM made."""

    def __init__(self, key: bytes) -> None:
        self._box = aead.Box(key)

    @classmethod
    def open(cls, path: Path) -> "FileWrapper":
        """Read the key from *path*, or make one there if there is no file.

        Raises:
            Misconfigured: the file is not private, not 32 bytes or cannot be read; the detail says how to mend it.
        """
        try:
            key = _read(path)
        except FileNotFoundError:
            key = _make(path)
        except OSError as error:
            raise Misconfigured(f"the key file {path} cannot be read: {error.strerror}") from error
        return cls(key)

    def wrap(self, key: bytes, *, context: bytes) -> bytes:
        """*key* wrapped under a fresh nonce and bound to *context*."""
        nonce, sealed = self._box.seal(key, context=context)
        return nonce + sealed

    def unwrap(self, wrapped: bytes, *, context: bytes) -> bytes:
        """The data key.

        Raises:
            Damaged: the bytes, the context or this key are not what it was wrapped with.
        """
        try:
            return self._box.open(wrapped[: aead.NONCE_BYTES], wrapped[aead.NONCE_BYTES :], context=context)
        except aead.TamperedError as error:
            raise Damaged("a wrapped data key does not open: its bytes, its place or the key file are not what they were") from error


def _read(path: Path) -> bytes:
    handle = os.open(path, os.O_RDONLY)
    try:
        status = os.fstat(handle)
        if sys.platform != "win32" and stat.S_IMODE(status.st_mode) & 0o077:
            raise Misconfigured(f"the key file {path} can be read by others; run: chmod 600 {path}")
        # one byte more than a key, so that a longer file is noticed
        key = os.read(handle, aead.KEY_BYTES + 1)
    finally:
        os.close(handle)
    if len(key) != aead.KEY_BYTES:
        detail = f"the key file {path} does not hold {aead.KEY_BYTES} bytes; put it back from your backup (a new key opens nothing old)"
        raise Misconfigured(detail)
    return key


def _make(path: Path) -> bytes:
    """Make the key under another name and link it into place: a crash leaves no short file, and of two makers one wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    key = aead.new_key()
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)
        try:
            os.write(handle, key)
            os.fsync(handle)
        finally:
            os.close(handle)
        os.link(temporary, path)
    except FileExistsError:
        return _read(path)
    except OSError as error:
        raise Misconfigured(f"the key file {path} cannot be made: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)
    files.sync_folder(path.parent)
    return key
