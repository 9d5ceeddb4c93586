"""Blocks of the disk for what Edge is about to write, without which a full disk ends the process (SIGBUS).

Edge's files are mapped into memory and made of holes. Belongs here: taking blocks for what comes next in each file. Does not belong here:
how much that is (``edge_points``), or refusing while there is still some room (``files``). A newcomer would get wrong: to look at the free
space is not enough, for somebody else may take all of it between the look and the write; and where a hole begins says only what has
blocks, not how far they are used, so we count.
"""

import errno
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kalends.domain.errors import Unavailable

FOLIO_BYTES = 2 << 20
"""The most that Linux keeps as one piece of a file in memory: a write into such a piece needs blocks for the whole of it."""

_WHOLE = 1 << 60
_OPEN = re.compile(r"open-([0-9]+)")
_POINT_BYTES = 64
"""Of one point in each of the files that keep only where something is, or whether: 1 to 16 were seen."""
_CANNOT = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
"""What a file system answers that has no such call, and whose room we therefore only look at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a write takes at most, in bytes: in the write-ahead log, of dense and of token vectors, of values; and of how many points."""

    log: int
    points: int
    dense: int = 0
    tokens: int = 0
    values: int = 0


class Reserve:
    """Blocks taken in advance in the files of the shard at *shard*."""

    def __init__(self, shard: Path) -> None:
        self._shard = shard
        self._left: dict[Path, tuple[int, int]] = {}
        """Of each file its size when blocks were taken, and how many of them may not be used yet, in bytes."""

    def ahead(self, need: Need) -> None:
        """Have blocks for *need*, so that writing that much finds them whatever others take of the disk.

        A file that Edge begins during the write itself (the first of each kind, then one in 32 MB) has none. Systems other than Linux
        lack the call, and nothing is taken there.

        Raises:
            Unavailable: the disk has too little room, or cannot be asked; nothing was written.
        """
        if sys.platform != "linux":
            return
        try:
            self._left = dict(self._taken(need))
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise Unavailable("the disk is full: no room for the vectors that would be written", dependency="disk") from error
            raise Unavailable(f"vector: {error.strerror}", dependency="vector") from error

    def _taken(self, need: Need) -> Iterator[tuple[Path, tuple[int, int]]]:
        for path, wanted, used in self._files(need):
            try:
                size = path.stat().st_size
                before, left = self._left.get(path, (size, 0))
                if before != size or left < wanted:
                    left = _take(path, wanted)
            except FileNotFoundError:
                continue  # the engine drops a full part of its log at any time
            yield path, (size, left - used)

    def _files(self, need: Need) -> Iterator[tuple[Path, int, int]]:
        """Each file, what must be there for it, and how much of that the write uses up."""
        parts = sorted((int(found[1]), path) for path in (self._shard / "wal").iterdir() if (found := _OPEN.fullmatch(path.name)))
        for place, (_, path) in enumerate(parts):
            # the next part is not begun before this one is full
            yield path, need.log, 0 if place else need.log
        for folder, _, names in os.walk(self._shard / "segments"):
            for name in names:
                wanted = _wanted(folder, name, need)
                yield Path(folder, name), wanted, wanted


def _wanted(folder: str, name: str, need: Need) -> int:
    if name.startswith("chunk_") and folder.endswith("vector_storage-dense/vectors"):
        return need.dense
    if name.startswith("chunk_") and folder.endswith("tq_vectors"):
        return need.tokens
    return need.values if name.startswith("page_") else _POINT_BYTES * need.points


def _take(path: Path, wanted: int) -> int:
    """Take blocks for *wanted* bytes or more in *path*, from its first hole on; returns for how many, or ``_WHOLE`` if no more can be."""
    handle = os.open(path, os.O_RDWR)
    try:
        size = os.fstat(handle).st_size
        first = os.lseek(handle, 0, os.SEEK_HOLE) if size else 0
        end = min(size, -(-(first + wanted) // FOLIO_BYTES) * FOLIO_BYTES)
        if end > first:
            os.posix_fallocate(handle, first, end - first)
    except OSError as error:
        if error.errno in _CANNOT:
            return _WHOLE
        raise
    finally:
        os.close(handle)
    return _WHOLE if end == size else end - first
