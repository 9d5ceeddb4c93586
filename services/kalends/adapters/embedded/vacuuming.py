"""Writing an Edge shard anew, without anything that is not held any more, in a process of its own.

Belongs here: copying a shard's folder, and what the other process does to the copy. Does not belong here: what is written meanwhile, and
how the copy takes the shard's place (``vectors``). A newcomer would get wrong: Edge's ``optimize`` holds the interpreter's lock for as long
as it runs (15 s for 50,000 events), which is why it is never called where questions are answered; and it leaves the write-ahead log as it
was, in which every point that was ever written may still stand, so that log is filled with zeros until Edge lets the old part go.

Run as ``python -m kalends.adapters.embedded.vacuuming FOLDER DIMENSION``.
"""

import asyncio
import contextlib
import json
import os
import sys
from pathlib import Path

from kalends.adapters.embedded import files, shards
from kalends.domain.errors import DeadlineExceeded, Unavailable

DEADLINE_S = 3600.0
"""For the other process; 50,000 events take it about 20 s."""

_FILLING_BYTES = 8_000_000
_FILLINGS_PER_FLUSH = 5
_MOST_FILLINGS = 40
_COPIED_BYTES = 4 << 20
_EVERY_POINT = 10**9


async def vacuum(path: Path, *, dimension: int) -> None:
    """Write the shard at *path*, which nobody has open, anew in a process of its own.

    Raises:
        Unavailable: it failed. DeadlineExceeded: it took too long.
    """
    command = [sys.executable, "-m", "kalends.adapters.embedded.vacuuming", str(path), str(dimension)]
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*command, stdin=quiet, stdout=quiet, stderr=quiet)
    try:
        async with asyncio.timeout(DEADLINE_S):
            status = await process.wait()
    except TimeoutError as error:
        raise DeadlineExceeded("vector: writing the index anew took too long", dependency="vector") from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if status:
        raise Unavailable(f"vector: writing the index anew ended with status {status}", dependency="vector")


def copy(source: Path, target: Path) -> None:
    """Copy a shard's folder, holes as holes: its files are made large and are mostly empty."""
    for folder, _, names in os.walk(source):
        below = target / Path(folder).relative_to(source)
        below.mkdir(parents=True)
        for name in names:
            _copy_file(Path(folder) / name, below / name)


def _copy_file(source: Path, target: Path) -> None:
    with source.open("rb", buffering=0) as reading, target.open("wb", buffering=0) as writing:
        end = os.fstat(reading.fileno()).st_size
        writing.truncate(end)
        place = 0
        while place < end:
            try:
                place = os.lseek(reading.fileno(), place, os.SEEK_DATA)
            except OSError:
                return  # nothing but a hole up to the end
            stop = os.lseek(reading.fileno(), place, os.SEEK_HOLE)
            while place < stop:
                piece = os.pread(reading.fileno(), min(_COPIED_BYTES, stop - place), place)
                if not piece:
                    return
                os.pwrite(writing.fileno(), piece, place)
                place += len(piece)


def rewrite(path: Path, dimension: int) -> None:
    """Write every segment of the shard at *path* anew, and clear its write-ahead log; blocks, and holds the interpreter's lock."""
    from qdrant_edge import EdgeOptimizersConfig, EdgeShard

    optimizers = EdgeOptimizersConfig(
        deleted_threshold=0.0, vacuum_min_vector_number=0, default_segment_number=1, indexing_threshold=_EVERY_POINT
    )
    shard = EdgeShard.load(str(path), shards.config(dimension, optimizers=optimizers))
    shard.flush()
    shard.optimize()
    shard.flush()
    _clear_log(shard, path / "wal")
    shard.close()
    # the settings that were there before are written back
    EdgeShard.load(str(path), shards.config(dimension)).close()
    for one in path.rglob("*"):
        if one.is_file():
            files.sync_file(one)
        else:
            files.sync_folder(one)
    files.sync_folder(path)


def _clear_log(shard: object, log: Path) -> None:
    """Fill the write-ahead log with changes of nothing until all parts of it are newer than what was in it."""
    from qdrant_edge import EdgeShard, UpdateOperation

    assert isinstance(shard, EdgeShard)  # noqa: S101 - typed so that this module can be read without the engine
    last = int(json.loads((log / "first-index").read_text(encoding="ascii"))["ack_index"])
    for number in range(1, _MOST_FILLINGS + 1):
        shard.update(UpdateOperation.set_payload([], {"filling": "0" * _FILLING_BYTES}))
        if number % _FILLINGS_PER_FLUSH == 0:
            shard.flush()
            closed = [int(path.name.rpartition("-")[2]) for path in log.glob("closed-*")]
            if closed and min(closed) > last:
                return
    raise RuntimeError("the engine keeps its old write-ahead log")


if __name__ == "__main__":
    rewrite(Path(sys.argv[1]), int(sys.argv[2]))
