"""A SQLite file with one writer and a few readers, each in threads of their own.

Belongs here: opening, the version of the schema, transactions. Does not belong here: any table. A newcomer would get wrong: a power cut may
take the last transactions (``synchronous=NORMAL``), but never a part of one; so what belongs together, such as rows and the floor up to
which the log was followed, is written in one.
"""

import contextlib
import queue
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from kalends.adapters.embedded import file_sums, files
from kalends.adapters.embedded.failures import translated
from kalends.adapters.embedded.threads import Lane
from kalends.domain.errors import Misconfigured, Unavailable

READERS = 2
WRITER_CACHE_KIB = 8_000
READER_CACHE_KIB = 4_000
BUSY_SECONDS = 5.0
FOLD_WAIT_MS = 200
"""How long the next write waits at most because somebody still reads what is to be folded."""
PURGE_TRIES = 25
"""So often the write-ahead log is tried to be cut off after something was erased, each time for as long as a fold waits."""

_RESIDUE = "CREATE TABLE residue (one INTEGER PRIMARY KEY CHECK (one = 1))"

P = ParamSpec("P")
T = TypeVar("T")


class Database:
    """The file of one projection that is rows; *name* is what the status calls it."""

    def __init__(self, path: Path, name: str, writer: sqlite3.Connection, readers: Sequence[sqlite3.Connection]) -> None:
        self._path = path
        self._name = name
        self._connection = writer
        self._readers = readers
        self._idle: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        for reader in readers:
            self._idle.put(reader)
        self._writer = Lane(f"{name}-write")
        self._reader = Lane(f"{name}-read", threads=len(readers))

    @classmethod
    async def open(cls, path: Path, *, name: str, schema: str, version: int, writer_cache_kib: int = WRITER_CACHE_KIB) -> "Database":
        """Open the file at *path*, or make it with the tables of *schema*.

        Raises:
            Misconfigured: it has another version of the schema. Damaged: it cannot be read, or changed since it was closed; delete it and
                it is rebuilt from the log.
        """
        opener = Lane(f"{name}-open")
        try:
            writer = await opener.run(_open, path, name, schema, version, writer_cache_kib)
            readers = [await opener.run(_connect, path, name, READER_CACHE_KIB) for _ in range(READERS)]
        finally:
            await opener.close()
        return cls(path, name, writer, readers)

    async def ask(self, question: Callable[Concatenate[sqlite3.Connection, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run *question* on a reader, in one transaction, so that all its queries see one state."""
        return await self._reader.run(self._answer, lambda database: question(database, *args, **kwargs))

    async def write(self, change: Callable[Concatenate[sqlite3.Connection, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run *change* on the writer, in one transaction that is committed on return and undone by an exception."""
        return await self._writer.run(self._change, lambda database: change(database, *args, **kwargs))

    async def compact(self) -> int:
        """Fold the write-ahead log into the file and cut it off; the bytes that this freed.

        If something was erased since, the file is written anew first, for pages keep what was moved away from them; on return neither the
        file nor its log holds it.

        Raises:
            Unavailable: something was erased, and what still reads keeps the log from being cut off; again is safe.
        """
        return await self._writer.run(self._compact)

    async def close(self) -> None:
        """Fold the write-ahead log into the file, close it and leave its sum; once is enough, twice is no error."""
        if self._writer.closed:
            return
        await self._reader.close()
        for reader in self._readers:
            reader.close()
        await self._writer.run(self._close)
        await self._writer.close()

    def _close(self) -> None:
        self._connection.close()
        file_sums.leave(self._path)

    def _compact(self) -> int:
        beside = (self._path, self._path.with_name(f"{self._path.name}-wal"))
        before = files.bytes_on_disk(*beside)
        with translated(self._name):
            if self._connection.execute("SELECT 1 FROM residue").fetchone():
                _rewrite(self._connection, self._name)
            else:
                _fold(self._connection)
        return max(0, before - files.bytes_on_disk(*beside))

    def _answer(self, question: Callable[[sqlite3.Connection], T]) -> T:
        database = self._idle.get()
        try:
            with translated(self._name), _transaction(database, "BEGIN"):
                return question(database)
        finally:
            self._idle.put(database)

    def _change(self, change: Callable[[sqlite3.Connection], T]) -> T:
        with translated(self._name), _transaction(self._connection, "BEGIN IMMEDIATE"):
            return change(self._connection)


def leave_residue(database: sqlite3.Connection) -> None:
    """Note, in the caller's transaction, that the file holds what was erased until ``compact`` writes it anew."""
    database.execute("INSERT OR IGNORE INTO residue VALUES (1)")


def _rewrite(database: sqlite3.Connection, name: str) -> None:
    """Write the file anew, see to it that the write-ahead log is cut off, and only then say that nothing is left."""
    database.execute("VACUUM")
    for _ in range(PURGE_TRIES):
        if _fold(database):
            database.execute("DELETE FROM residue")
            return
    raise Unavailable(f"{name}: what is read just now keeps erased rows in the write-ahead log", dependency=name)


def _fold(database: sqlite3.Connection) -> bool:
    """Copy the write-ahead log into the file; then, if nobody reads it any more within a moment, cut it to nothing; whether it was cut."""
    (before,) = database.execute("PRAGMA busy_timeout").fetchone()
    database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    database.execute(f"PRAGMA busy_timeout={FOLD_WAIT_MS}").fetchall()
    try:
        ((busy, *_),) = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        database.execute(f"PRAGMA busy_timeout={before}").fetchall()
    return not busy


def placeholders(values: Sequence[object]) -> str:
    """As many question marks as there are *values*."""
    return ",".join("?" * len(values))


def in_pieces(values: Sequence[T], size: int = 500) -> Iterator[Sequence[T]]:
    """*values* in pieces that fit one query."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def floors(database: sqlite3.Connection) -> Mapping[str, int]:
    """Per stream, how far the log has been followed; for a schema with a table ``streams (name, floor)``."""
    return dict(database.execute("SELECT name, floor FROM streams WHERE floor > 0"))


def _open(path: Path, name: str, schema: str, version: int, cache_kib: int) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    file_sums.take(path, name=name)
    database = _connect(path, name, cache_kib)
    try:
        with translated(name):
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=NORMAL")
            database.execute("PRAGMA wal_autocheckpoint=4000")
            # what is deleted is overwritten in the pages that are written anyway; ``compact`` sees to the others
            database.execute("PRAGMA secure_delete=FAST")
            _prepare(path, database, name, schema, version)
    except BaseException:
        database.close()
        raise
    return database


def _prepare(path: Path, database: sqlite3.Connection, name: str, schema: str, version: int) -> None:
    with _transaction(database, "BEGIN IMMEDIATE"):
        (found,) = database.execute("PRAGMA user_version").fetchone()
        if found not in (0, version):
            raise Misconfigured(f"{path} is a {name} of version {found}, not {version}; delete it and it is rebuilt")
        if found == 0:
            for statement in (*schema.split(";"), _RESIDUE):
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {version}")


def _connect(path: Path, name: str, cache_kib: int) -> sqlite3.Connection:
    with translated(name):
        database = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        database.execute(f"PRAGMA cache_size=-{cache_kib}")
    return database


@contextlib.contextmanager
def _transaction(database: sqlite3.Connection, begin: str) -> Iterator[None]:
    database.execute(begin)
    try:
        yield
    except BaseException:
        database.rollback()
        raise
    database.commit()
