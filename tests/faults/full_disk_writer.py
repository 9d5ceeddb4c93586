"""A process that writes vectors to a disk which is filled to the last block each time between its look and what it then writes.

Belongs here: the writing, and what is held of it in the end. Does not belong here: the disk, and what must hold (``test_disk_full``). A
newcomer would get wrong: a write that finds no block for a hole of a mapped file is no error that can be caught, but the end of the
process; hence a process of its own.

Run as ``python -m tests.faults.full_disk_writer DISK``.
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tests.contracts.projections import SCOPE, entry
from tests.support import disk

from kalends.adapters.embedded import files
from kalends.adapters.embedded.vectors import EdgeVectors
from kalends.domain.errors import Unavailable
from kalends.domain.queries import Held
from kalends.ports.vectors import VectorEntry, Window

DIMENSION = 384
ROUNDS = 60
EVENTS = 8
"""Of one write, with three windows at most: they fit one update, so all of it was begun before the disk was full."""
LONGEST = 16
"""Tokens of a window; all that is written fits the first part of the write-ahead log (32 MB), for the moment in which another is made
is not safe from this."""


def _some(source: np.random.Generator, number: int) -> list[VectorEntry]:
    def numbers(rows: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        made = source.standard_normal((rows, DIMENSION), dtype=np.float32)
        return made / np.linalg.norm(made, axis=1, keepdims=True)

    def one(name: str) -> VectorEntry:
        windows = [Window(dense=numbers(1)[0], tokens=numbers(int(source.integers(1, LONGEST)))) for _ in range(int(source.integers(1, 4)))]
        return VectorEntry(entry=entry(name), windows=windows)

    return [one(f"{number}-{place}") for place in range(EVENTS)]


class Filling:
    """Fills *folder*'s disk whenever an engine is about to be called, until it is told to stop."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._full = contextlib.ExitStack()
        self._look = files.wait_for_disk
        self._asked = False
        self.times = 0
        files.wait_for_disk = self._fill

    def _fill(self, folder: Path) -> None:
        self._look(folder)
        if self._asked:
            self._asked = False
            self._full.enter_context(disk.filled(self._folder))
            self.times += 1

    @contextlib.contextmanager
    def next_time(self):
        """From the next call of an engine until the end of the block."""
        self._asked = True
        try:
            with self._full:
                yield
        finally:
            self._asked = False


async def main(folder: Path) -> None:
    """Write, take out, and say what is held."""
    source, filling, written, refused = np.random.default_rng(7), Filling(folder), [], []
    index = await EdgeVectors.open(folder / "vectors", identity="test", dimension=DIMENSION)
    for number in range(ROUNDS):
        some = _some(source, number)
        # the first write makes the files that the others go on in, and is not safe from that
        with filling.next_time() if number else contextlib.nullcontext():
            try:
                await index.put(some)
            except Unavailable:
                refused.append(some)
        written += some
    for some in refused:
        await index.put(some)
    gone = [Held(key=one.entry.key, version=one.entry.version, live=True) for one in written[::5]]
    with filling.next_time(), contextlib.suppress(Unavailable):
        await index.remove(SCOPE.key, gone)
    await index.remove(SCOPE.key, gone)
    await index.close()
    held = await _held(folder, written)
    told = {
        "rounds": ROUNDS,
        "filled": filling.times,
        "written": len(written),
        "taken_out": len(gone),
        "refused": len(refused),
        "held": held,
    }
    sys.stdout.write(json.dumps(told))


async def _held(folder: Path, written: Sequence[VectorEntry]) -> int:
    """How many of *written* the index has after it was opened anew."""
    index = await EdgeVectors.open(folder / "vectors", identity="test", dimension=DIMENSION)
    try:
        return len(await index.held(SCOPE.key, [one.entry.key for one in written]))
    finally:
        await index.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
