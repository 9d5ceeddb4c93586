"""The data folder: where things are, and that one process owns it.

Belongs here: paths and the lock. Does not belong here: what is in the files. A newcomer would get wrong: the lock is the operating system's
(``flock``), so a dead process never holds it; the file's text only says who does.
"""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from kalends.adapters.embedded import files
from kalends.domain.errors import Misconfigured, Occupied, Unavailable
from kalends.settings import Settings

_ROOM_BYTES = 64 << 20
"""Free space without which nothing is started; the broker needs it to write its first blocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """Paths of one instance."""

    data: Path
    token: Path
    key: Path

    @property
    def nats(self) -> Path:
        """The broker's folder."""
        return self.data / "nats"

    @property
    def lexical(self) -> Path:
        """Generations of the lexical projection."""
        return self.data / "lexical"

    @property
    def vector(self) -> Path:
        """Generations of the vector projection, one folder per model identity."""
        return self.data / "vector"

    @property
    def timeline(self) -> Path:
        """The timeline's database."""
        return self.data / "timeline"

    @property
    def calendar(self) -> Path:
        """The calendar's database."""
        return self.data / "calendar"

    @property
    def models(self) -> Path:
        """Graphs that were built from the weights."""
        return self.data / "models"

    @property
    def instance(self) -> Path:
        """Where a running instance says how to reach it."""
        return self.data / "instance.json"


def folders_of(settings: Settings) -> Folders:
    """The paths that *settings* name."""
    data = Path(settings.data).expanduser() if settings.data else Path(platformdirs.user_data_dir("kalends"))
    data = data.absolute()
    token = Path(settings.auth.token_file).expanduser() if settings.auth.token_file else data / "token"
    key = Path(settings.auth.key_file).expanduser() if settings.auth.key_file else data / "keys" / "kek"
    return Folders(data=data, token=token, key=key)


def prepare(folders: Folders) -> None:
    """Make the data folder for its owner only.

    Raises:
        Misconfigured: it cannot be made or written. Unavailable: the disk is full.
    """
    try:
        folders.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        folders.key.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = folders.data / ".probe"
        probe.write_bytes(b"kalends")
        probe.unlink()
    except OSError as error:
        raise Misconfigured(f"the data folder {folders.data} cannot be written: {error.strerror}; give this user the right to") from error
    free = shutil.disk_usage(folders.data).free
    if free < _ROOM_BYTES:
        raise Unavailable(f"the disk of {folders.data} is full: {free >> 20} MiB free; at least {_ROOM_BYTES >> 20} are needed")


def place(folders: Folders) -> str:
    """A name for the data folder that no other has, made once: long work on engines in the folder is for its process only."""
    path = folders.data / "place"
    try:
        name = path.read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        name = ""
    if not name:
        name = secrets.token_hex(8)
        files.write_whole(path, lambda temporary: temporary.write_text(name + "\n", encoding="ascii"))
    return name


@contextlib.contextmanager
def locked(folders: Folders) -> Iterator[None]:
    """Own the data folder for as long as the block runs.

    Raises:
        Occupied: a living process owns it; says which.
    """
    path = folders.data / "lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "r+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Occupied(f"the data folder {folders.data} is in use by {_holder(file.read())}") from error
        file.seek(0)
        file.truncate()
        file.write(json.dumps({"pid": os.getpid()}))
        file.flush()
        yield


def holder(folders: Folders) -> int | None:
    """The process that owns the data folder now, 0 if one does without saying which, None if none does."""
    path = folders.data / "lock"
    if not path.exists():
        return None
    with path.open(encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _pid(file.read())
    return None


def _pid(text: str) -> int:
    try:
        return int(json.loads(text)["pid"])
    except (ValueError, KeyError, TypeError):
        return 0


def _holder(text: str) -> str:
    pid = _pid(text)
    return f"process {pid}" if pid else "another process"
