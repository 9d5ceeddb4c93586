"""Small files that must survive a power cut.

Belongs here: writing a whole file so that it is either the old or the new one. Does not belong here: what is in it. A newcomer would get
wrong: a rename is only durable once the *folder* has been synced too.
"""

import contextlib
import fcntl
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

from kalends.domain.errors import Misconfigured, Occupied, Unavailable

_BLOCK = 512
"""Bytes of what the system calls a block of a file, whatever the disk's own blocks are."""

ROOM_BYTES = 64 << 20
"""Free space below which the engines write nothing more."""


def need_room(folder: Path, *, beside: int = 0) -> None:
    """Refuse to write where little room is left: Edge writes to memory-mapped files with holes, and a full disk would kill the process.

    Raises:
        Unavailable: less than ``ROOM_BYTES`` are free, *beside* so many bytes that are about to be written.
    """
    free, needed = shutil.disk_usage(folder).free, ROOM_BYTES + beside
    if free < needed:
        # named as the disk's fault, for building a projection anew would need still more room
        raise Unavailable(f"the disk is full: {free >> 20} MiB free of the {needed >> 20} needed", dependency="disk")


def wait_for_disk(folder: Path) -> None:
    """Return once the disk of *folder* takes a change: of its times, in memory, for a frozen file system takes not even that.

    For a thread that is about to call an engine that holds the interpreter's lock: it waits here without the lock, and others go on.
    """
    os.utime(folder)


def sync_folder(folder: Path) -> None:
    """Make the names in *folder* durable; Windows has no such call and needs none."""
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_file(path: Path) -> None:
    """Make the content of *path* durable."""
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let *write* fill a temporary file beside *path*, then put it in place durably."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(temporary)
        sync_file(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def bytes_on_disk(*paths: Path) -> int:
    """What files take up on the disk, those in folders included; Edge's files have holes, which take up nothing."""
    found = 0
    for path in paths:
        for one in path.rglob("*") if path.is_dir() else (path,):
            # an engine may let a file go at any time
            with contextlib.suppress(FileNotFoundError):
                found += one.stat().st_blocks * _BLOCK
    return found


def hold(folder: Path) -> IO[bytes]:
    """Own *folder* for as long as the returned file is open; the system gives it free when the process ends, however it ends.

    Raises:
        Occupied: somebody else owns it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / "owner").open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise Occupied(f"{folder} is open already, here or in another process") from error
    return file


def claim_identity(folder: Path, identity: str) -> None:
    """Mark an empty *folder* as made for *identity*, or check that it was.

    Raises:
        Misconfigured: the folder was made for another identity.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / "identity"
    try:
        found = mark.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        write_whole(mark, lambda temporary: temporary.write_text(identity + "\n", encoding="utf-8"))
        sync_folder(folder.parent)
        return
    if found != identity:
        raise Misconfigured(f"the index in {folder} was made for {found}, not for {identity}; rebuild it or use another folder")
