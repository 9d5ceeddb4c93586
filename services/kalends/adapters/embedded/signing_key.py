"""The key that signs receipts, in a file.

Belongs here: making, checking and reading that file. Does not belong here: what is signed. A newcomer would get wrong: without this file no
new receipt can be signed, but every old one is still good, for it is checked with the public key, which stands in each of them.
"""

import os
import secrets
import stat
import sys
from pathlib import Path

from kalends.adapters.embedded import files
from kalends.domain.errors import Misconfigured
from kalends.kit import signatures

_PRIVATE = 0o600


def open_signer(path: Path) -> signatures.Signer:
    """The key from *path*, or a new one there if there is no file.

    Raises:
        Misconfigured: the file is not private, not 32 bytes, or cannot be read or made; the detail says how to mend it.
    """
    try:
        return signatures.Signer(_read(path))
    except FileNotFoundError:
        return signatures.Signer(_make(path))
    except OSError as error:
        raise Misconfigured(f"the signing key {path} cannot be read: {error.strerror}") from error


def _read(path: Path) -> bytes:
    handle = os.open(path, os.O_RDONLY)
    try:
        status = os.fstat(handle)
        if sys.platform != "win32" and stat.S_IMODE(status.st_mode) & 0o077:
            raise Misconfigured(f"the signing key {path} can be read by others; run: chmod 600 {path}")
        key = os.read(handle, signatures.KEY_BYTES + 1)
    finally:
        os.close(handle)
    if len(key) != signatures.KEY_BYTES:
        raise Misconfigured(f"the signing key {path} does not hold {signatures.KEY_BYTES} bytes; put it back, or delete it for a new one")
    return key


def _make(path: Path) -> bytes:
    """Make the key under another name and link it into place: of two makers one wins."""
    key = signatures.new_key()
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
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
        raise Misconfigured(f"the signing key {path} cannot be made: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)
    files.sync_folder(path.parent)
    return key
