"""The timeline's tables and the one transaction that changes them.

Belongs here: the schema, applying a batch of changes, keeping the counters. Does not belong here: questions (``timeline``). What a
newcomer would get wrong: an event's row keeps two versions, of its newest writing and of its newest retraction, and is live while the
first is the larger; so changes may come in any order and a retraction may come before its event. An erased one is never live again: its
row keeps the key and the places of its messages, which whoever erases must know, also of those that come late.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from kalends.adapters.embedded.database import leave_residue
from kalends.domain.positions import Position
from kalends.domain.queries import tag
from kalends.domain.scope import Scope
from kalends.domain.versions import FOREVER
from kalends.ports.timeline import Erased, Retracted, TimelineEntry

SCHEMA_VERSION = 5

SCHEMA = """
CREATE TABLE streams (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, floor INTEGER NOT NULL DEFAULT 0);
CREATE TABLE memories (
    id INTEGER PRIMARY KEY, scope TEXT NOT NULL UNIQUE,
    events INTEGER NOT NULL DEFAULT 0, documents INTEGER NOT NULL DEFAULT 0,
    sessions INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY, memory INTEGER NOT NULL, session_id TEXT NOT NULL, tag TEXT NOT NULL,
    events INTEGER NOT NULL DEFAULT 0, chunks INTEGER NOT NULL DEFAULT 0, first_us INTEGER, last_us INTEGER,
    labelled INTEGER NOT NULL DEFAULT 0,
    heard_us INTEGER NOT NULL DEFAULT 0,
    UNIQUE (memory, session_id)
);
CREATE INDEX sessions_by_tag ON sessions (memory, tag);
CREATE INDEX sessions_by_end ON sessions (memory, last_us DESC, session_id) WHERE events > 0 AND chunks = 0;
CREATE INDEX sessions_labelled ON sessions (memory) WHERE labelled > 0;
CREATE TABLE events (
    id INTEGER PRIMARY KEY, key BLOB NOT NULL, memory INTEGER NOT NULL,
    version INTEGER NOT NULL, gone INTEGER NOT NULL, live INTEGER NOT NULL,
    event_id TEXT, stream INTEGER, sequence INTEGER, epoch INTEGER, mac BLOB,
    at INTEGER, session INTEGER, tags TEXT, size INTEGER, document INTEGER, length INTEGER, expires INTEGER,
    kind TEXT, recorded INTEGER, erased INTEGER NOT NULL DEFAULT 0, labelled INTEGER,
    UNIQUE (memory, key)
);
CREATE TABLE copies (
    memory INTEGER NOT NULL, key BLOB NOT NULL, epoch INTEGER NOT NULL, sequence INTEGER NOT NULL, stream INTEGER NOT NULL,
    PRIMARY KEY (memory, key, epoch, sequence, stream)
) WITHOUT ROWID;
CREATE INDEX events_by_time ON events (memory, at, version) WHERE live = 1;
CREATE INDEX events_by_session ON events (session, at, version) WHERE live = 1;
CREATE INDEX events_retracted ON events (session) WHERE live = 0 AND session IS NOT NULL;
CREATE INDEX events_by_expiry ON events (memory, expires, key) WHERE expires IS NOT NULL;
CREATE INDEX events_by_record ON events (memory, kind, recorded, key, expires) WHERE live = 1 AND document = 0;
"""

_KEYS_PER_QUERY = 500
_UPSERT = """
INSERT INTO events (key, memory, version, gone, live, event_id, stream, sequence, epoch, mac, at, session, tags, size, document,
    length, expires, labelled, kind, recorded)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (memory, key) DO UPDATE SET version = excluded.version, gone = excluded.gone, live = excluded.live,
    event_id = excluded.event_id, stream = excluded.stream, sequence = excluded.sequence, epoch = excluded.epoch,
    mac = excluded.mac, at = excluded.at,
    session = excluded.session, tags = excluded.tags, size = excluded.size, document = excluded.document,
    length = excluded.length, expires = excluded.expires, labelled = excluded.labelled, kind = excluded.kind, recorded = excluded.recorded
"""
_RETRACT = """
INSERT INTO events (key, memory, version, gone, live) VALUES (?, ?, 0, ?, 0)
ON CONFLICT (memory, key) DO UPDATE SET gone = excluded.gone, live = version > excluded.gone
"""
_ERASE = f"""
INSERT INTO events (key, memory, version, gone, live, erased, stream, sequence, epoch) VALUES (?, ?, ?, {FOREVER}, 0, 1, ?, ?, ?)
ON CONFLICT (memory, key) DO UPDATE SET version = excluded.version, gone = excluded.gone, live = 0, erased = 1,
    stream = excluded.stream, sequence = excluded.sequence, epoch = excluded.epoch, event_id = NULL, mac = NULL, at = NULL, session = NULL,
    tags = NULL, size = NULL, document = NULL, length = NULL, expires = NULL, labelled = NULL, kind = NULL, recorded = NULL
"""  # noqa: S608 - a number
_HELD = "SELECT key, version, gone, session, at, size, document, erased, stream, sequence, epoch, labelled FROM events"


class _Held(NamedTuple):
    """What the table holds of an event before the batch."""

    version: int
    gone: int
    session: int | None
    at: int | None
    size: int | None
    document: int | None
    erased: int = 0
    stream: int | None = None
    sequence: int | None = None
    epoch: int | None = None
    labelled: int | None = None


@dataclass(slots=True)
class _Tally:
    """What the batch adds to one session: numbers, bytes, the moments of what came and went, and when it was recorded."""

    events: int = 0
    chunks: int = 0
    labelled: int = 0
    size: int = 0
    came: list[int] = field(default_factory=list)
    went: bool = False
    heard: int = 0


_NOTHING = _Held(0, 0, None, None, None, None)


@dataclass(slots=True)
class _Batch:
    """A batch by key: the newest writing, all places of writings, the newest retraction, what is erased, and whose each key is."""

    entries: dict[bytes, TimelineEntry] = field(default_factory=dict)
    places: list[tuple[bytes, Position]] = field(default_factory=list)
    gone: dict[bytes, int] = field(default_factory=dict)
    erased: set[bytes] = field(default_factory=set)
    scopes: dict[bytes, Scope] = field(default_factory=dict)

    def add(self, change: TimelineEntry | Retracted | Erased) -> None:
        if isinstance(change, TimelineEntry):
            key = bytes.fromhex(change.key)
            known = self.entries.get(key)
            if known is None or known.position.version < change.position.version:
                self.entries[key] = change
            self.places.append((key, change.position))
            self.scopes[key] = change.scope
            return
        for key in map(bytes.fromhex, change.keys):
            if isinstance(change, Erased):
                self.erased.add(key)
            else:
                self.gone[key] = max(self.gone.get(key, 0), change.position.version)
            self.scopes[key] = change.scope


def apply(database: sqlite3.Connection, changes: Iterable[TimelineEntry | Retracted | Erased], floors: Mapping[str, int]) -> None:
    """Apply *changes* within the caller's transaction; an older one than what is held changes nothing."""
    batch = _Batch()
    for change in changes:
        batch.add(change)
    memories = _memory_ids(database, set(batch.scopes.values()))
    held = _held(database, memories, batch.scopes)
    erased = batch.erased | {key for key, one in held.items() if one.erased}
    entries = {key: entry for key, entry in batch.entries.items() if key not in erased}
    fresh = {key: entry for key, entry in entries.items() if entry.position.version > held.get(key, _NOTHING).version}
    newly_gone = {key: at for key, at in batch.gone.items() if at > held.get(key, _NOTHING).gone and key not in erased}
    sessions = _session_ids(database, memories, fresh.values())
    streams = _stream_ids(database, {position.stream for _, position in batch.places} | set(floors))
    tallies: defaultdict[int, _Tally] = defaultdict(_Tally)
    for key in {**fresh, **newly_gone, **dict.fromkeys(batch.erased)}:
        _take_away(tallies, held.get(key, _NOTHING))
    rows = []
    for key, entry in fresh.items():
        gone_at = max(newly_gone.get(key, 0), held.get(key, _NOTHING).gone)
        session = sessions[memories[entry.scope], entry.facets.session_id]
        rows.append(_row(key, entry, memories[entry.scope], session, streams[entry.position.stream], gone_at))
        tallies[session].heard = max(tallies[session].heard, entry.recorded_us)
        if entry.position.version > gone_at:
            _bring(tallies[session], entry.occurred_us, entry.size, chunk=entry.document, labelled=bool(entry.facets.labels))
    for key, version in newly_gone.items():
        before = held.get(key, _NOTHING)
        if key not in fresh and before.version > version:
            # an older retraction than the newest writing: remembered, and the event stays
            tally, chunk, labelled = tallies[before.session or 0], bool(before.document), bool(before.labelled)
            _bring(tally, before.at or 0, before.size or 0, chunk=chunk, labelled=labelled)
    database.executemany(_UPSERT, rows)
    database.executemany(_RETRACT, [(key, memories[batch.scopes[key]], at) for key, at in newly_gone.items() if key not in fresh])
    _erase(database, batch, erased, held, memories, streams)
    _keep_places(database, batch, held, memories, streams)
    _settle(database, tallies)
    _forget_sessions(database, {memories[batch.scopes[key]] for key in batch.erased})
    database.executemany("UPDATE streams SET floor = max(floor, ?) WHERE name = ?", [(floor, name) for name, floor in floors.items()])


def _erase(
    database: sqlite3.Connection,
    batch: _Batch,
    erased: set[bytes],
    held: Mapping[bytes, _Held],
    memories: Mapping[Scope, int],
    streams: Mapping[str, int],
) -> None:
    """Leave of each newly erased event its key and the place of its newest message, and of one erased before the place of a newer one."""
    rows = []
    for key in erased:
        one, entry = held.get(key, _NOTHING), batch.entries.get(key)
        place: tuple[int | None, ...]
        if entry is not None and entry.position.version > one.version:
            place = (entry.position.version, streams[entry.position.stream], entry.position.sequence, entry.position.epoch)
        elif one.erased:
            continue
        else:
            place = (one.version, one.stream, one.sequence, one.epoch)
        rows.append((key, memories[batch.scopes[key]], *place))
    if rows:
        database.executemany(_ERASE, rows)
        leave_residue(database)


def _keep_places(
    database: sqlite3.Connection,
    batch: _Batch,
    held: Mapping[bytes, _Held],
    memories: Mapping[Scope, int],
    streams: Mapping[str, int],
) -> None:
    """Remember where an event stands beside the place in its row: the same id may have been taken again, or moved to another stream."""
    rows = []
    for key, position in batch.places:
        one, memory = held.get(key, _NOTHING), memories[batch.scopes[key]]
        newest = max(one.version, batch.entries[key].position.version)
        if position.version < newest:
            rows.append((memory, key, position.epoch, position.sequence, streams[position.stream]))
        if one.stream is not None and one.version < newest:
            rows.append((memory, key, one.epoch or 0, one.sequence or 0, one.stream))
    database.executemany("INSERT OR IGNORE INTO copies VALUES (?, ?, ?, ?, ?)", rows)


def _forget_sessions(database: sqlite3.Connection, memories: Iterable[int]) -> None:
    """Take away the sessions of *memories* of which no event is left, retracted ones included: their names would say who was there."""
    query = """
    DELETE FROM sessions WHERE memory = ? AND events = 0
        AND NOT EXISTS (SELECT 1 FROM events INDEXED BY events_retracted WHERE session = sessions.id AND live = 0)
    """
    database.executemany(query, [(memory,) for memory in memories])


def chunks_of(values: Sequence[bytes]) -> Iterator[tuple[str, Sequence[bytes]]]:
    """*values* in pieces that fit one query, each with its placeholders."""
    for start in range(0, len(values), _KEYS_PER_QUERY):
        piece = values[start : start + _KEYS_PER_QUERY]
        yield ",".join("?" * len(piece)), piece


def _held(database: sqlite3.Connection, memories: Mapping[Scope, int], scopes: Mapping[bytes, Scope]) -> dict[bytes, _Held]:
    """What is held of the keys of *scopes*, which says whose each of them is."""
    keys: defaultdict[int, list[bytes]] = defaultdict(list)
    for key, scope in scopes.items():
        keys[memories[scope]].append(key)
    found = {}
    for memory, wanted in keys.items():
        for marks, piece in chunks_of(wanted):
            query = f"{_HELD} WHERE memory = ? AND key IN ({marks})"
            found.update({row[0]: _Held(*row[1:]) for row in database.execute(query, (memory, *piece))})
    return found


def _memory_ids(database: sqlite3.Connection, scopes: Iterable[Scope]) -> dict[Scope, int]:
    found: dict[Scope, int] = {}
    for scope in scopes:
        name = (scope.key,)
        database.execute("INSERT OR IGNORE INTO memories (scope) VALUES (?)", name)
        found[scope] = database.execute("SELECT id FROM memories WHERE scope = ?", name).fetchone()[0]
    return found


def _stream_ids(database: sqlite3.Connection, names: Iterable[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in names:
        database.execute("INSERT OR IGNORE INTO streams (name) VALUES (?)", (name,))
        found[name] = database.execute("SELECT id FROM streams WHERE name = ?", (name,)).fetchone()[0]
    return found


def _session_ids(
    database: sqlite3.Connection, memories: Mapping[Scope, int], entries: Iterable[TimelineEntry], /
) -> dict[tuple[int, str], int]:
    found: dict[tuple[int, str], int] = {}
    for entry in entries:
        name = (memories[entry.scope], entry.facets.session_id)
        if name in found:
            continue
        row = database.execute("SELECT id FROM sessions WHERE memory = ? AND session_id = ?", name).fetchone()
        if row is None:
            values = (*name, tag("session_id", name[1]))
            row = database.execute("INSERT INTO sessions (memory, session_id, tag) VALUES (?, ?, ?) RETURNING id", values).fetchone()
        found[name] = row[0]
    return found


def _row(key: bytes, entry: TimelineEntry, memory: int, session: int, stream: int, gone: int) -> tuple[object, ...]:
    position = entry.position
    return (
        key,
        memory,
        position.version,
        gone,
        int(position.version > gone),
        entry.event_id,
        stream,
        position.sequence,
        position.epoch,
        entry.content_mac,
        entry.occurred_us,
        session,
        f" {' '.join(entry.tags)} ",
        entry.size,
        int(entry.document),
        entry.length,
        entry.expires_us,
        int(bool(entry.facets.labels)),
        entry.facets.kind,
        entry.recorded_us,
    )


def _take_away(tallies: defaultdict[int, _Tally], held: _Held) -> None:
    if held.session is None or held.version <= held.gone:
        return
    tally = tallies[held.session]
    tally.events -= 1
    tally.chunks -= held.document or 0
    tally.labelled -= held.labelled or 0
    tally.size -= held.size or 0
    tally.went = True


def _bring(tally: _Tally, at: int, size: int, *, chunk: bool, labelled: bool) -> None:
    tally.events += 1
    tally.chunks += chunk
    tally.labelled += labelled
    tally.size += size
    tally.came.append(at)


def _settle(database: sqlite3.Connection, tallies: Mapping[int, _Tally]) -> None:
    """Bring the counters of sessions and memories up to date, after the events are."""
    totals: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for session, tally in tallies.items():
        query = "SELECT memory, events, chunks, first_us, last_us FROM sessions WHERE id = ?"
        memory, events, chunks, first, last = database.execute(query, (session,)).fetchone()
        if tally.went:
            first, last = _span(database, session)
        elif tally.came:
            first = min(tally.came) if first is None else min(first, *tally.came)
            last = max(tally.came) if last is None else max(last, *tally.came)
        after = (events + tally.events, chunks + tally.chunks)
        database.execute(
            "UPDATE sessions SET events = ?, chunks = ?, first_us = ?, last_us = ?, labelled = labelled + ?, heard_us = max(heard_us, ?) "
            "WHERE id = ?",
            (*after, first, last, tally.labelled, tally.heard, session),
        )
        was_document, is_document = chunks > 0, after[1] > 0
        was_session, is_session = events > 0 and not was_document, after[0] > 0 and not is_document
        deltas = (tally.events, is_document - was_document, is_session - was_session, tally.size)
        totals[memory] = [total + delta for total, delta in zip(totals[memory], deltas, strict=True)]
    update = "UPDATE memories SET events = events + ?, documents = documents + ?, sessions = sessions + ?, bytes = bytes + ? WHERE id = ?"
    database.executemany(update, [(*total, memory) for memory, total in totals.items()])


def _span(database: sqlite3.Connection, session: int) -> tuple[int | None, int | None]:
    query = "SELECT at FROM events WHERE session = ? AND live = 1 ORDER BY at {} LIMIT 1"
    ends = [database.execute(query.format(order), (session,)).fetchone() for order in ("ASC", "DESC")]
    first, last = (None if row is None else row[0] for row in ends)
    return first, last
