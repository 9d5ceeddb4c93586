"""How far the token vectors of an Edge shard reach, put right before a shard is opened that was not closed.

Belongs here: the two files that say so, and raising the one. Does not belong here: opening (``shards``). A newcomer would get wrong: Edge
keeps the rows of all points in one long file, writes at once where a point's rows are, and only with a flush how many rows there are. After
a kill the first may be ahead of the second. What is then done again from the write-ahead log puts the rows of a known point where that
point had them last, but those of a new point behind the last row that Edge knows of: in the middle of a known point's place, which then
overwrites them. Seen with release 0.9.0, whose vectors of eight bits lack what other kinds have against it (github.com/qdrant/qdrant, pull
requests 9451 and 9501).
"""

import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kalends.domain.errors import Damaged

_COUNT = struct.Struct("<Q")
"""Of rows in ``tq_vectors``, of points in ``tq_offsets``: the whole of ``status.dat``."""
_PLACE = np.dtype([("first", "<u4"), ("used", "<u4"), ("taken", "<u4")])
"""Of one point: its first row, how many it has, and how many it may have there."""
_CHUNK = "chunk_{}.mmap"


def raise_to_what_is_taken(shard: Path) -> None:
    """Have every segment of *shard*, which nobody has open, know of all the rows that a point may use.

    Raises:
        Damaged: a file is missing, or not what Edge writes. OSError: one cannot be read or written.
    """
    for offsets in sorted(shard.glob("segments/*/vector_storage-*/tq_offsets")):
        try:
            _raise(offsets.with_name("tq_vectors"), offsets)
        except (FileNotFoundError, ValueError, KeyError, struct.error) as error:
            raise Damaged(f"vector: how long {offsets.parent} is cannot be told: {error}", dependency="vector") from error


def _raise(rows: Path, offsets: Path) -> None:
    status = rows / "status.dat"
    (known,) = _COUNT.unpack(status.read_bytes())
    # a place beyond the files is one that a power cut took, or damage: the file would be made as long as that
    room = _size_of_chunks(rows) * sum(1 for _ in _chunks(rows))
    taken = max((_end(places, room) for places in _places(offsets)), default=0)
    if taken > known:
        handle = os.open(status, os.O_WRONLY)
        try:
            os.pwrite(handle, _COUNT.pack(taken), 0)
        finally:
            os.close(handle)


def _end(places: NDArray[np.void], room: int) -> int:
    """Behind the last row that any of *places* may use, of those that end within *room* rows."""
    ends = places["first"].astype(np.uint64) + places["taken"]
    return int(ends[ends <= room].max(initial=0))


def _places(offsets: Path) -> Iterator[NDArray[np.void]]:
    """The places of the points that a flush knew of; those of others are not looked at, by Edge neither."""
    (left,) = _COUNT.unpack((offsets / "status.dat").read_bytes())
    size = _size_of_chunks(offsets)
    for chunk in _chunks(offsets):
        found = np.fromfile(chunk, dtype=_PLACE, count=min(left, size))
        left -= len(found)
        yield found


def _size_of_chunks(folder: Path) -> int:
    """How many vectors each chunk of *folder* holds."""
    return int(json.loads((folder / "config.json").read_text(encoding="ascii"))["chunk_size_vectors"])


def _chunks(folder: Path) -> Iterator[Path]:
    """The files of *folder* that hold vectors, in order."""
    number = 0
    while (chunk := folder / _CHUNK.format(number)).exists():
        yield chunk
        number += 1
