"""What people hand over: files of events, files and folders of documents.

Belongs here: finding, reading and numbering what is to be stored. Does not belong here: storing it (``commands/write``). A newcomer would
get wrong: a dated line without an id gets one that follows from the line, so ingesting a file again, or the rest of it after an
interruption, stores nothing twice; an undated line cannot be told from its twin and gets a fresh one.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import click
import msgspec

from kalends.domain.errors import Malformed
from kalends.domain.events import new_ulid

EVENT_SUFFIXES = frozenset({".jsonl", ".ndjson"})
DOCUMENT_TYPES = {".md": "text/markdown", ".markdown": "text/markdown", ".txt": "text/plain"}
LINE_BYTES = 8 * 1024 * 1024
"""Longer lines are refused instead of being held in memory; the server takes no event near this size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One thing to take in: a file of events, or a document with the id it shall have. ``path`` None is standard input."""

    path: Path | None
    document_id: str | None = None

    @property
    def name(self) -> str:
        """What to call it in a message."""
        return "standard input" if self.path is None else str(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a file of events: the event it holds, or why it holds none. ``end`` is where it ends in the file, in bytes."""

    number: int
    end: int
    event: dict[str, Any] | None = None
    reason: str = ""


def sources(paths: Iterable[str]) -> list[Source]:
    """What *paths* name, folders opened up, in a stable order; hidden files and folders are left out.

    Raises:
        UsageError: a path is missing, or names a file of a kind that is not read here.
    """
    found: list[Source] = []
    for text in paths:
        path = Path(text)
        if text == "-":
            found.append(Source(path=None))
        elif path.is_dir():
            found += _in_folder(path)
        elif not path.is_file():
            raise click.UsageError(f"there is no file {text!r}")
        else:
            found.append(_of_file(path, path.name))
    return found


def _in_folder(folder: Path) -> Iterator[Source]:
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if any(part.startswith(".") for part in relative.parts) or not path.is_file():
            continue
        if path.suffix.lower() in EVENT_SUFFIXES or path.suffix.lower() in DOCUMENT_TYPES:
            yield _of_file(path, relative.as_posix())


def _of_file(path: Path, document_id: str) -> Source:
    suffix = path.suffix.lower()
    if suffix in EVENT_SUFFIXES:
        return Source(path=path)
    if suffix in DOCUMENT_TYPES:
        return Source(path=path, document_id=document_id)
    raise click.UsageError(f"{path}: events are read from {', '.join(sorted(EVENT_SUFFIXES))}, documents from {', '.join(DOCUMENT_TYPES)}")


def lines(stream: BinaryIO) -> Iterator[Line]:
    """The lines of a file of events; empty ones are skipped."""
    seen: Counter[bytes] = Counter()
    number, end = 0, 0
    while raw := stream.readline(LINE_BYTES + 1):
        number += 1
        end += len(raw)
        if len(raw) > LINE_BYTES:
            while raw and not raw.endswith(b"\n"):
                raw = stream.readline(LINE_BYTES)
                end += len(raw)
            yield Line(number=number, end=end, reason=f"is longer than {LINE_BYTES} bytes")
            continue
        content = raw.strip().removeprefix(b"\xef\xbb\xbf")
        if content:
            yield _line(content, number=number, end=end, seen=seen)


def _line(content: bytes, *, number: int, end: int, seen: Counter[bytes]) -> Line:
    try:
        event = msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return Line(number=number, end=end, reason=f"is not a JSON object: {error}")
    if event.get("event_id") is None:
        digest = hashlib.blake2b(content, digest_size=16).digest()
        seen[digest] += 1
        event["event_id"] = _id_of(event.get("occurred_at"), digest, twin=seen[digest])
    return Line(number=number, end=end, event=event)


def _id_of(occurred_at: object, digest: bytes, *, twin: int) -> str:
    try:
        moment = datetime.fromisoformat(str(occurred_at))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or moment.year < 1970:
        return str(new_ulid(datetime.now(UTC)))
    return str(new_ulid(moment, randomness=hashlib.blake2b(digest + twin.to_bytes(8), digest_size=10).digest()))


def document_text(source: Source) -> str:
    """The text of a document.

    Raises:
        Malformed: it cannot be read, or is not UTF-8.
    """
    if source.path is None:
        raise Malformed("standard input is read as events")
    try:
        return source.path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise Malformed(f"{source.path} cannot be read: {error}") from error


def title_of(text: str, *, fallback: str) -> str:
    """The first heading of a Markdown text, else *fallback*."""
    for line in text.splitlines()[:50]:
        if line.startswith("# "):
            return line.removeprefix("# ").strip()[:2000] or fallback
    return fallback
