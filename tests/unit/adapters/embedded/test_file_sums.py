"""Sums beside files of rows: a byte that flips while nobody has the file open is found by whoever opens it next."""

import asyncio
import os
import sqlite3
from pathlib import Path

import pytest

from kalends.adapters.embedded import file_sums
from kalends.adapters.embedded.database import Database
from kalends.domain.errors import Damaged

SCHEMA = "CREATE TABLE said (word TEXT NOT NULL)"


async def opened(path: Path) -> Database:
    """The rows at *path*."""
    return await Database.open(path, name="words", schema=SCHEMA, version=1)


def _say(database: sqlite3.Connection, word: str) -> None:
    database.execute("INSERT INTO said VALUES (?)", (word,))


def _words(database: sqlite3.Connection) -> list[str]:
    return [word for (word,) in database.execute("SELECT word FROM said")]


@pytest.fixture
async def closed(tmp_path: Path) -> Path:
    """A file with a word in it, that nobody has open."""
    database = await opened(tmp_path / "words.db")
    await database.write(_say, "heron")
    await database.close()
    return tmp_path / "words.db"


def _flip(path: Path, word: bytes) -> None:
    content = path.read_bytes()
    assert content.count(word) == 1
    path.write_bytes(content.replace(word, bytes([word[0] ^ 1]) + word[1:]))


async def test_a_file_that_was_closed_and_opened_again_is_whole(closed: Path) -> None:
    """Its sum is there while nobody has it open, and only then."""
    assert file_sums.sum_of(closed).exists()

    database = await opened(closed)
    try:
        assert not file_sums.sum_of(closed).exists()
        assert await database.ask(_words) == ["heron"]
    finally:
        await database.close()
    assert file_sums.sum_of(closed).exists()


async def test_a_value_that_flipped_meanwhile_is_damage_whenever_it_is_opened(closed: Path) -> None:
    """SQLite itself would tell another word."""
    _flip(closed, b"heron")

    for _ in range(2):
        with pytest.raises(Damaged, match=r"words\.db changed since it was closed"):
            await opened(closed)


async def test_a_file_without_a_sum_is_taken_as_it_is(closed: Path) -> None:
    """Its last owner was killed."""
    file_sums.sum_of(closed).unlink()

    database = await opened(closed)
    try:
        assert await database.ask(_words) == ["heron"]
    finally:
        await database.close()


async def test_a_sum_without_its_file_is_forgotten(closed: Path) -> None:
    """Somebody deleted the file, to have it built anew."""
    await asyncio.to_thread(closed.unlink)

    database = await opened(closed)
    try:
        assert await database.ask(_words) == []
        assert not file_sums.sum_of(closed).exists()
    finally:
        await database.close()


def test_a_file_with_a_log_beside_it_gets_no_sum(tmp_path: Path) -> None:
    """What is in the log is not yet in the file."""
    path = tmp_path / "words.db"
    path.write_bytes(b"rows")
    (tmp_path / "words.db-wal").write_bytes(b"more rows")

    file_sums.leave(path)

    assert not file_sums.sum_of(path).exists()


def test_a_full_disk_costs_the_sum_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing is not what a full disk may hinder."""
    path = tmp_path / "words.db"
    path.write_bytes(b"rows")

    def full(_: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)

    file_sums.leave(path)

    assert [one.name for one in tmp_path.iterdir()] == ["words.db"]
