"""Whether a file of rows is what it was when it was closed.

Belongs here: the sum beside a file that nobody has open. Does not belong here: what becomes of a file that changed (``app.lineage``). A
newcomer would get wrong: SQLite keeps no sums, so a byte that flips in a row is another value to it; and the sum goes before the file is
opened, so that one that was killed has none and is taken as it is, as the write-ahead log, which has sums, leaves it.
"""

import hashlib
from pathlib import Path

import structlog

from kalends.adapters.embedded import files
from kalends.domain.errors import Damaged

log = structlog.get_logger(__name__)

_DIGEST = "blake2b"


def sum_of(path: Path) -> Path:
    """Where the sum of *path* is."""
    return path.with_name(f"{path.name}.sum")


def take(path: Path, *, name: str) -> None:
    """Compare *path* with the sum that its last owner left, if any, and take that away: from now on the file may change.

    Raises:
        Damaged: the file changed since; the sum stays, so that it is not taken for whole the next time.
    """
    try:
        expected = sum_of(path).read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        return
    if path.exists() and expected != _digest(path):
        raise Damaged(f"{path.name} changed since it was closed", dependency=name)
    sum_of(path).unlink()
    files.sync_folder(path.parent)


def leave(path: Path) -> None:
    """Leave the sum of *path*, which was closed; one that has a write-ahead log beside it gets none, nor one whose disk is full."""
    if path.with_name(f"{path.name}-wal").exists() or not path.exists():
        return
    digest = _digest(path)
    try:
        files.write_whole(sum_of(path), lambda temporary: temporary.write_text(digest + "\n", encoding="ascii"))
    except OSError as error:
        log.info("a closed file has no sum", file=path.name, reason=error.strerror)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, _DIGEST).hexdigest()
