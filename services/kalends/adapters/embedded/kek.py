"""Key-encryption keys in files: one file with its successors beside it, or a mounted folder with a file for each version.

Belongs here: making, checking, reading again and using the key files. Does not belong here: data keys themselves. A newcomer would get
wrong: losing these files loses every memory, and a backup that holds both them and the log protects nothing; a key's name is a digest of
the key, so that a file may be renamed or mounted elsewhere.
"""

import asyncio
import base64
import binascii
import hashlib
import os
import re
import secrets
import stat
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from kalends.adapters.embedded import files
from kalends.domain import wrapped_keys
from kalends.domain.errors import Damaged, KalendsError, Misconfigured, Unavailable
from kalends.domain.wrapped_keys import WrappedKey
from kalends.kit import aead
from kalends.ports.kek import Bound

log = structlog.get_logger(__name__)

CURRENT = "current"
"""The file of a folder that names the version that wraps; without it the highest number does."""

FIRST = "1"
_PRIVATE = 0o600
_OTHERS = 0o077
_WORLD = 0o007
_FILE_BYTES = 256
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """Key-encryption keys (32 bytes each) by version, oldest first, and which of them wraps."""

    keys: Mapping[str, bytes]
    newest: str


class FileWrapper:
    """Wraps data keys under keys from files; see ``ports.kek.Wrapper``. What is stored is a nonce and what AES-256-GCM made."""

    def __init__(self, key: bytes, *, read: Callable[[], Versions] | None = None) -> None:
        """With one *key* for ever; or with whatever *read* gives, each time that somebody needs to know."""
        self._read = read or (lambda: Versions(keys={FIRST: key}, newest=FIRST))
        self._boxes: dict[str, aead.Box] = {}
        self._labels: dict[str, str] = {}
        self._newest = ""
        self._take(self._read())

    @classmethod
    def open(cls, path: Path) -> "FileWrapper":
        """Read the key from *path*, or make one there if there is no file; ``<path>.2``, ``<path>.3`` beside it are its successors.

        Raises:
            Misconfigured: a file is not private, not 32 bytes or cannot be read; the detail says how to mend it.
        """
        if not _successors(path) and not path.exists():
            _make(path)
        return cls(b"", read=lambda: read_file(path))

    @classmethod
    def open_folder(cls, folder: Path) -> "FileWrapper":
        """Read every version from *folder*, such as a mounted Kubernetes Secret; nothing is ever made there.

        Raises:
            Misconfigured: there is none, or a file is readable by everybody, holds no key or cannot be read.
        """
        return cls(b"", read=lambda: read_folder(folder.expanduser()))

    async def wrap(self, keys: Sequence[Bound]) -> Sequence[bytes]:
        """Each of *keys* wrapped under a fresh nonce and bound to its context."""
        box, name = self._boxes[self._newest], self._newest
        sealed = (box.seal(one.key, context=one.context) for one in keys)
        return [wrapped_keys.encode(WrappedKey(kek=name, body=nonce + body)) for nonce, body in sealed]

    async def unwrap(self, wrapped: Sequence[Bound]) -> Sequence[bytes | KalendsError]:
        """For each the data key, or why there is none; a version that is not known is looked for once more."""
        found = [self._unwrap(one) for one in wrapped]
        if any(isinstance(one, Unavailable) for one in found):
            await self._refresh()
            found = [self._unwrap(one) for one in wrapped]
        return found

    async def newest(self) -> str:
        """The version that wraps, from the files as they are now."""
        await self._refresh()
        return self._newest

    def knows(self, kek: str) -> bool:
        """Whether the key is among those read; the first one's name is empty."""
        return not kek or kek in self._boxes

    def label(self, kek: str) -> str:
        """The version and the beginning of the key's digest."""
        if not kek:
            return "key file without a version"
        return f"version {self._labels[kek]} ({kek[:8]})" if kek in self._labels else f"a version that is not here ({kek[:8]})"

    async def _refresh(self) -> None:
        try:
            self._take(await asyncio.to_thread(self._read))
        except Misconfigured as error:
            # while files are exchanged they may be unreadable for a moment; what was read before goes on to serve
            log.warning("key files cannot be read again", reason=error.detail)

    def _take(self, versions: Versions) -> None:
        named = {name_of(key): (version, key) for version, key in versions.keys.items()}
        newest = name_of(versions.keys[versions.newest])
        if set(named) == set(self._boxes) and newest == self._newest:
            return
        if self._newest and newest != self._newest:
            log.info("another key-encryption key wraps from now on", version=versions.newest)
        self._boxes = {name: self._boxes.get(name) or aead.Box(key) for name, (_, key) in named.items()}
        self._labels = {name: version for name, (version, _) in named.items()}
        self._newest = newest

    def _unwrap(self, one: Bound) -> bytes | KalendsError:
        try:
            wrapped = wrapped_keys.decode(one.key)
        except Damaged as error:
            return error
        if not self.knows(wrapped.kek):
            detail = f"the key-encryption key {wrapped.kek[:8]}, which some data keys need, is not among the key files here; put it back"
            return Unavailable(detail, dependency="keys")
        boxes = [self._boxes[wrapped.kek]] if wrapped.kek else list(self._boxes.values())
        nonce, body = wrapped.body[: aead.NONCE_BYTES], wrapped.body[aead.NONCE_BYTES :]
        for box in boxes:
            try:
                return box.open(nonce, body, context=one.context)
            except aead.TamperedError:
                continue
        return Damaged("a wrapped data key does not open: its bytes, its place or the key file are not what they were")


def name_of(key: bytes) -> str:
    """The name of a key-encryption key: 16 hex digits that tell nothing of it."""
    return hashlib.blake2b(key, digest_size=8, person=b"kalends kek name").hexdigest()


def read_file(path: Path) -> Versions:
    """The key at *path* and its successors.

    Raises:
        Misconfigured: there is none, or a file is not private, not 32 bytes or cannot be read.
    """
    places = {FIRST: path} if path.exists() or not _successors(path) else {}
    places.update({str(number): place for number, place in _successors(path).items()})
    keys = {version: _checked(place, _private_bytes(place, forbidden=_OTHERS)) for version, place in places.items()}
    return Versions(keys=keys, newest=list(keys)[-1])


def add_successor(path: Path) -> Path:
    """Make the next version beside the key at *path*; the path of the new file.

    Raises:
        Misconfigured: it cannot be made, or a file that is there cannot be read.
    """
    successors = _successors(path)
    if not path.exists() and not successors:
        raise Misconfigured(f"there is no key file {path} yet; the first start makes it")
    read_file(path)
    made = path.with_name(f"{path.name}.{max(successors, default=1) + 1}")
    _make(made)
    return made


def _successors(path: Path) -> dict[int, Path]:
    pattern = re.compile(re.escape(path.name) + r"\.([1-9][0-9]{0,8})")
    try:
        names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    except OSError as error:
        raise Misconfigured(f"the folder {path.parent} cannot be read: {error.strerror}") from error
    found = {int(match[1]): path.with_name(name) for name in names if (match := pattern.fullmatch(name))}
    return {number: found[number] for number in sorted(found) if number > 1}


def read_folder(folder: Path) -> Versions:
    """Every version in *folder*: 32 bytes, or these as base64.

    Raises:
        Misconfigured: there is none, ``current`` names none, or a file is readable by everybody, holds no key or cannot be read.
    """
    try:
        # names with a dot in front are the mount's own
        names = sorted((entry.name for entry in folder.iterdir() if not entry.name.startswith(".")), key=_order)
    except OSError as error:
        raise Misconfigured(f"keys.folder: {folder} cannot be read: {error.strerror}") from error
    contents = {name: _private_bytes(folder / name, forbidden=_WORLD) for name in names}
    named = contents.pop(CURRENT, b"").decode("utf-8", "replace").strip()
    if not contents:
        raise Misconfigured(f"keys.folder: {folder} holds no key; put one there, as `1`: 32 random bytes, or these as base64")
    keys = {name: _checked(folder / name, _raw(content)) for name, content in contents.items()}
    newest = named or list(keys)[-1]
    if newest not in keys:
        raise Misconfigured(f"keys.folder: the file {CURRENT} names the version {newest!r}, which {folder} does not hold")
    return Versions(keys=keys, newest=newest)


def _order(name: str) -> tuple[list[int], str]:
    return [int(number) for number in _NUMBER.findall(name)], name


def _raw(content: bytes) -> bytes:
    if len(content) == aead.KEY_BYTES:
        return content
    try:
        return base64.b64decode(content.strip(), validate=True)
    except binascii.Error:
        return content


def _private_bytes(path: Path, *, forbidden: int) -> bytes:
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            if sys.platform != "win32" and stat.S_IMODE(os.fstat(handle).st_mode) & forbidden:
                mend = f"run: chmod 600 {path}" if forbidden == _OTHERS else "give the Secret's volume the defaultMode 0440"
                raise Misconfigured(f"the key file {path} can be read by others; {mend}")
            # more than a key in any form, so that a longer file is noticed
            return os.read(handle, _FILE_BYTES)
        finally:
            os.close(handle)
    except OSError as error:
        raise Misconfigured(f"the key file {path} cannot be read: {error.strerror}") from error


def _checked(path: Path, key: bytes) -> bytes:
    if len(key) != aead.KEY_BYTES:
        detail = f"the key file {path} does not hold {aead.KEY_BYTES} bytes; put it back from your backup (a new key opens nothing old)"
        raise Misconfigured(detail)
    return key


def _make(path: Path) -> None:
    """Make the key under another name and link it into place: a crash leaves no short file, and of two makers one wins."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Misconfigured(f"the folder {path.parent} cannot be made: {error.strerror}") from error
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)
        try:
            os.write(handle, aead.new_key())
            os.fsync(handle)
        finally:
            os.close(handle)
        os.link(temporary, path)
    except FileExistsError as error:
        if not path.exists():
            raise Misconfigured(f"the key file {path} cannot be made: {error.strerror}") from error
    except OSError as error:
        raise Misconfigured(f"the key file {path} cannot be made: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)
    files.sync_folder(path.parent)
