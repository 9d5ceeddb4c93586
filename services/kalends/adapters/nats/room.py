"""Room on the disk of a broker of our own: how much is left, what may still be written, and whether the disk takes anything at all.

Belongs here: looking, refusing, and telling from the broker's own log that it ran out. Does not belong here: ending such a broker
(``server``). A newcomer would get wrong: a stream that once found no room takes nothing more, not even when there is room again, until the
broker is started anew; so everything that we write is refused before that, and what users say sooner than our own bookkeeping, without
which nobody could erase anything to make room.
"""

import os
import shutil
from functools import partial
from pathlib import Path

from kalends.domain.errors import Unavailable
from kalends.kit.stalls import Stall

MIB = 1024 * 1024
ROOM_BYTES = 32 * MIB
"""Free space below which nothing is taken in."""
SPARE_BYTES = 8 * MIB
"""Free space below which nothing is written at all."""
STALLED_S = 3.0
"""Time after which a disk that takes nothing hangs; what is slower than that is refused, for it would wait in vain until its deadline."""
DEPENDENCY = "disk"

_RETRY_AFTER = 5.0
_OUT_OF_ROOM = (b"no space left on device", b"disk quota exceeded")
_TAIL = 1 * MIB


class Room:
    """The free space of *folder*; without a folder, which is the broker of somebody else, there is always room."""

    def __init__(self, folder: Path | None, *, needed: int = ROOM_BYTES, spare: int = SPARE_BYTES) -> None:
        self._folder = folder
        self._stall = None if folder is None else stall_of(folder)
        self._needed = needed
        self._spare = min(spare, needed)

    def need(self) -> None:
        """See that what users say may be written.

        Raises:
            Unavailable: there is too little room, or the disk hangs; nothing was written.
        """
        self._need(self._needed)

    def need_spare(self) -> None:
        """See that what Kalends notes for itself may be written.

        Raises:
            Unavailable: there is next to no room, or the disk hangs; nothing was written.
        """
        self._need(self._spare)

    def _need(self, least: int) -> None:
        if self._folder is None or self._stall is None:
            return
        hangs = self._stall.seconds()
        if hangs >= STALLED_S:
            detail = f"the disk of the log hangs: it has taken nothing for {hangs:.0f} s"
            raise Unavailable(detail, dependency=DEPENDENCY, retry_after=_RETRY_AFTER)
        # asked each time, for it takes microseconds and somebody else may take all the room at once
        free = free_bytes(self._folder)
        if free < least:
            detail = f"the disk of the log is full: {free // MIB} MiB free of the {least // MIB} needed"
            raise Unavailable(detail, dependency=DEPENDENCY, retry_after=_RETRY_AFTER)


class OutOfRoom:
    """Whether a broker that was started in *folder* ran out of room since; asked now and then, for it reads what is new in the log.

    Its log is on the same disk and may have had no room for the complaint, so a disk that was seen without any counts too.
    """

    def __init__(self, folder: Path, *, needed: int = ROOM_BYTES) -> None:
        self._folder = folder
        self._log = folder / "broker.log"
        self._needed = needed
        self._read_to = 0
        self.happened = False

    def begin(self) -> None:
        """A broker was started: only what it says from now on counts."""
        self._read_to = self._size()
        self.happened = False

    def is_mendable(self) -> bool:
        """Whether it ran out, and has room again."""
        free = free_bytes(self._folder)
        self.happened = self.happened or free < MIB or self._complained()
        return self.happened and free >= self._needed

    def _complained(self) -> bool:
        size = self._size()
        start = self._read_to if size >= self._read_to else 0
        if size == start:
            return False
        with self._log.open("rb") as file:
            file.seek(max(start, size - _TAIL))
            said = file.read().lower()
        self._read_to = size
        return any(words in said for words in _OUT_OF_ROOM)

    def _size(self) -> int:
        try:
            return self._log.stat().st_size
        except FileNotFoundError:
            return 0


def stall_of(folder: Path) -> Stall:
    """How long the disk of *folder* has taken nothing: told by a change of the folder's times, for a file system that hangs takes none."""
    return Stall(partial(os.utime, folder))


def free_bytes(folder: Path) -> int:
    """What may still be written to the disk of *folder*, in bytes."""
    return shutil.disk_usage(folder).free
