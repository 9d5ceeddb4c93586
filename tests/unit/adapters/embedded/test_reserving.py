"""Blocks for what is about to be written: where they are taken, how many, and when no more are."""

import errno
import os
from pathlib import Path

import pytest

from kalends.adapters.embedded.reserving import FOLIO_BYTES, Need, Reserve
from kalends.domain.errors import Unavailable

PART = 16 * FOLIO_BYTES


def sparse(path: Path, *, size: int = PART) -> Path:
    """A file of nothing but a hole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.truncate(path, size)
    return path


def taken(path: Path) -> int:
    """Bytes that *path* has blocks for."""
    return path.stat().st_blocks * 512


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    """Two parts of a log, token vectors, and a file that is smaller than any piece."""
    for name in ("wal/open-9", "wal/open-10", "segments/a/vector_storage-tokens/tq_vectors/chunk_0.mmap"):
        sparse(tmp_path / name)
    sparse(tmp_path / "segments/a/payload_storage/tracker.dat", size=FOLIO_BYTES // 2)
    (tmp_path / "wal/first-index").write_bytes(b"0")
    return tmp_path


def test_each_file_has_blocks_for_what_is_written_to_it(shard: Path) -> None:
    """As many as its kind needs, in whole pieces; a small file has them all, and what is no part of the log is left alone."""
    Reserve(shard).ahead(Need(log=3 * FOLIO_BYTES, tokens=1, points=1))

    assert taken(shard / "wal/open-9") == taken(shard / "wal/open-10") == 3 * FOLIO_BYTES
    assert taken(shard / "segments/a/vector_storage-tokens/tq_vectors/chunk_0.mmap") == FOLIO_BYTES
    assert taken(shard / "segments/a/payload_storage/tracker.dat") == FOLIO_BYTES // 2
    assert (shard / "wal/first-index").read_bytes() == b"0"


def test_what_is_written_already_is_kept_and_blocks_begin_behind_it(shard: Path) -> None:
    """The first hole is where the writing goes on."""
    with (shard / "wal/open-9").open("r+b") as file:
        file.write(b"x" * FOLIO_BYTES)
    Reserve(shard).ahead(Need(log=FOLIO_BYTES, points=1))

    assert taken(shard / "wal/open-9") == 2 * FOLIO_BYTES
    with (shard / "wal/open-9").open("rb") as file:
        assert file.read(FOLIO_BYTES) == b"x" * FOLIO_BYTES
        assert file.read(8) == bytes(8)


def test_more_are_taken_only_when_those_are_used_up(shard: Path) -> None:
    """Of the part of the log that is being written; the next one's last for as long."""
    reserve, half = Reserve(shard), Need(log=FOLIO_BYTES // 2, points=1)
    for _ in range(2):
        reserve.ahead(half)
    with (shard / "wal/open-9").open("r+b") as file:
        file.write(b"x" * FOLIO_BYTES)
    assert taken(shard / "wal/open-9") == FOLIO_BYTES

    reserve.ahead(half)
    assert taken(shard / "wal/open-9") == 2 * FOLIO_BYTES
    assert taken(shard / "wal/open-10") == FOLIO_BYTES


def test_a_file_that_grew_has_holes_again(shard: Path) -> None:
    """What was whole before is not for ever."""
    reserve, tracker = Reserve(shard), shard / "segments/a/payload_storage/tracker.dat"
    reserve.ahead(Need(log=1, points=1))
    os.truncate(tracker, 4 * FOLIO_BYTES)

    reserve.ahead(Need(log=1, points=1))
    assert taken(tracker) == FOLIO_BYTES


def test_a_disk_without_room_is_named_as_the_reason(shard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So nobody builds the projection anew for it."""

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(Unavailable, match="disk is full") as refused:
        Reserve(shard).ahead(Need(log=1, points=1))
    assert refused.value.dependency == "disk"


def test_a_file_system_without_the_call_is_written_to_as_ever(shard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its room is only looked at."""

    def unknown(*_: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", unknown)
    Reserve(shard).ahead(Need(log=1, points=1))
