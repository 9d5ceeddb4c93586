"""The timeline in SQLite.

Belongs here: opening the file and answering questions. Does not belong here: how a batch changes the tables (``timeline_tables``). A
newcomer would get wrong: a power cut may take the last batches (``synchronous=NORMAL``), but never a batch without its floor, so what is
missing is simply read from the log again.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from kalends.adapters.embedded import timeline_counts, timeline_inventory
from kalends.adapters.embedded import timeline_tables as tables
from kalends.adapters.embedded.database import Database
from kalends.adapters.embedded.database import floors as floors_of
from kalends.domain import versions
from kalends.domain.events import EventId, EventKey
from kalends.domain.labels import EVERYTHING, Clearance
from kalends.domain.positions import Position
from kalends.domain.queries import Criteria, Digest, Held
from kalends.domain.retention import Aged
from kalends.domain.scope import Scope
from kalends.ports.timeline import ANY, Erased, Known, MemoryStats, Retracted, SessionSummary, TimelineEntry

WRITER_CACHE_KIB = 16_000

T = TypeVar("T")

_KNOWN = """
SELECT e.key, e.event_id, st.name, e.sequence, e.epoch, e.mac, e.at, se.session_id, e.live, e.version, e.session
FROM events e JOIN streams st ON st.id = e.stream JOIN sessions se ON se.id = e.session
"""
# an erased event has no session, and no place if it was erased before it was seen
_LOOKED_UP = """
SELECT e.key, e.event_id, st.name, e.sequence, e.epoch, e.mac, e.at, se.session_id, e.live, e.version, e.session, e.erased
FROM events e LEFT JOIN streams st ON st.id = e.stream LEFT JOIN sessions se ON se.id = e.session
WHERE (e.stream IS NOT NULL OR e.erased = 1)
"""
_PLACES = """
SELECT e.key, e.epoch, e.sequence, e.stream FROM events e WHERE e.stream IS NOT NULL AND e.memory = {memory} AND e.key IN ({marks})
UNION SELECT c.key, c.epoch, c.sequence, c.stream FROM copies c WHERE c.memory = {memory} AND c.key IN ({marks})
ORDER BY 1, 2, 3
"""
_MEMORY = "(SELECT id FROM memories WHERE scope = ?)"
_SESSIONS_BY_TAG = "SELECT id FROM sessions WHERE memory = (SELECT id FROM memories WHERE scope = ?)"
_KEY_OF = "SELECT e.key FROM events e"
# Said outright: without statistics the planner may read a whole memory by time instead of a few keys, which it did at 50,000 events.
_BY_KEY = "INDEXED BY sqlite_autoindex_events_1"
_AT, _VERSION, _SESSION, _ERASED = 6, 9, 10, 11


class SqliteTimeline:
    """The timeline of one process; see ``ports.timeline.Timeline``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    async def open(cls, path: Path) -> "SqliteTimeline":
        """Open the file at *path*, or make it.

        Raises:
            Misconfigured: another version of Kalends made it. Damaged: it cannot be read; delete it and it is rebuilt from the log.
        """
        schema, version = tables.SCHEMA, tables.SCHEMA_VERSION
        return cls(await Database.open(path, name="timeline", schema=schema, version=version, writer_cache_kib=WRITER_CACHE_KIB))

    async def floors(self) -> Mapping[str, int]:
        """Per stream, how far the log has been followed."""
        return await self._database.ask(floors_of)

    async def put(self, changes: Sequence[TimelineEntry | Retracted | Erased], *, floors: Mapping[str, int]) -> None:
        """Apply *changes* and *floors* in one transaction."""
        await self._database.write(tables.apply, changes, floors)

    async def lookup(self, scope: Scope, keys: Sequence[EventKey]) -> Mapping[EventKey, Known]:
        """What is known of *keys*; a retraction that came before its event is not yet known."""
        return {known.key: known for known in await self._database.ask(_lookup, scope, keys)}

    async def positions(self, scope: Scope, keys: Sequence[EventKey]) -> Mapping[EventKey, Sequence[Position]]:
        """Every place at which each of *keys* was ever written."""
        return await self._database.ask(_positions, scope, keys)

    async def page(
        self, scope: Scope, *, criteria: Criteria, after: tuple[int, int] | None, descending: bool, limit: int
    ) -> Sequence[Known]:
        """Live events by (occurred_us, version); one session's are read in its own order, others are filtered while reading."""
        return await self._database.ask(_page, scope, criteria=criteria, after=after, descending=descending, limit=limit)

    async def around(self, scope: Scope, key: EventKey, *, before: int, after: int, criteria: Criteria = ANY) -> Sequence[Known]:
        """The event with up to *before* and *after* neighbours of its session."""
        return await self._database.ask(_around, scope, key, before=before, after=after, criteria=criteria)

    async def neighbours(self, scope: Scope, keys: Sequence[EventKey]) -> Mapping[EventKey, tuple[EventKey | None, EventKey | None]]:
        """The keys before and after each live one of *keys*."""
        return await self._database.ask(_neighbours, scope, keys)

    async def lengths(self, scope: Scope, keys: Sequence[EventKey]) -> Mapping[EventKey, int]:
        """Characters of each live event's text."""
        return await self._database.ask(_lengths, scope, keys)

    async def matching(self, scope: Scope, keys: Sequence[EventKey], *, criteria: Criteria) -> frozenset[EventKey]:
        """Those of *keys* that are live and meet *criteria*."""
        return await self._database.ask(_matching, scope, keys, criteria=criteria)

    async def sessions(
        self, scope: Scope, *, after: tuple[int, str] | None, limit: int, clearance: Clearance = EVERYTHING
    ) -> Sequence[SessionSummary]:
        """Sessions, the latest first; a document's chunks make a session too, but not one that is listed."""
        return await self._database.ask(timeline_counts.sessions, scope, after=after, limit=limit, clearance=clearance)

    async def session(self, scope: Scope, session_id: str, *, clearance: Clearance = EVERYTHING) -> SessionSummary | None:
        """One session, if it has a live event."""
        return await self._database.ask(timeline_counts.session, scope, session_id, clearance=clearance)

    async def stats(self, scope: Scope, *, clearance: Clearance = EVERYTHING) -> MemoryStats:
        """Counts of one memory; events include the chunks of documents, sessions do not include documents."""
        return await self._database.ask(timeline_counts.stats, scope, clearance=clearance)

    async def digest(self) -> Digest:
        """What is held, over all memories."""
        return await self._database.ask(_digest)

    async def scopes(self) -> Sequence[str]:
        """The scopes of which something is held, by key."""
        return await self._database.ask(timeline_inventory.scopes)

    async def inventory(self, scope_key: str, *, after: EventKey | None, limit: int) -> Sequence[Held]:
        """What is known of one memory, by key, after the given one."""
        return await self._database.ask(timeline_inventory.inventory, scope_key, after=after, limit=limit)

    async def held(self, scope_key: str, keys: Sequence[EventKey]) -> Sequence[Held]:
        """What is known of *keys* in one memory."""
        return await self._database.ask(timeline_inventory.held, scope_key, keys)

    async def session_ids(self, scope_key: str, *, after: str | None, limit: int) -> Sequence[str]:
        """Every session of one memory, by id, after the given one."""
        return await self._database.ask(timeline_inventory.session_ids, scope_key, after=after, limit=limit)

    async def expired(self, scope: Scope, now_us: int, *, after: tuple[int, EventKey] | None, limit: int) -> Sequence[Aged]:
        """Events whose own time is over, the longest first."""
        return await self._database.ask(timeline_inventory.expired, scope.key, now_us, after=after, limit=limit)

    async def census(self, scope: Scope, now_us: int) -> Mapping[str, int]:
        """Live events that have not expired, by kind."""
        return await self._database.ask(timeline_inventory.census, scope.key, now_us)

    async def oldest(self, scope: Scope, kind: str, now_us: int, *, after: tuple[int, EventKey] | None, limit: int) -> Sequence[Aged]:
        """Those of one kind, by when they were recorded."""
        return await self._database.ask(timeline_inventory.oldest, scope.key, kind, now_us, after=after, limit=limit)

    async def quiet(self, scope: Scope, before_us: int, *, after: str | None, limit: int) -> Sequence[SessionSummary]:
        """Sessions in which nothing was recorded since, by id."""
        return await self._database.ask(timeline_inventory.quiet, scope.key, before_us, after=after, limit=limit)

    async def compact(self) -> int:
        """Fold the write-ahead log into the file and cut it off; if something was erased, write the file anew first; the bytes freed."""
        return await self._database.compact()

    async def close(self) -> None:
        """Fold the write-ahead log into the file and close it; twice is no error."""
        await self._database.close()


def _lookup(database: sqlite3.Connection, scope: Scope, keys: Sequence[EventKey]) -> list[Known]:
    found: list[Known] = []
    for marks, piece in tables.chunks_of([bytes.fromhex(key) for key in dict.fromkeys(keys)]):
        rows = database.execute(f"{_LOOKED_UP} AND e.memory = {_MEMORY} AND e.key IN ({marks})", (scope.key, *piece))
        found += [_erased(row) if row[_ERASED] else _known(row) for row in rows]
    return found


def _positions(database: sqlite3.Connection, scope: Scope, keys: Sequence[EventKey]) -> dict[EventKey, list[Position]]:
    streams: dict[int, str] = dict(database.execute("SELECT id, name FROM streams"))
    found: dict[EventKey, list[Position]] = {}
    for marks, piece in tables.chunks_of([bytes.fromhex(key) for key in dict.fromkeys(keys)]):
        rows = database.execute(_PLACES.format(memory=_MEMORY, marks=marks), (scope.key, *piece, scope.key, *piece))
        for key, epoch, sequence, stream in rows:
            found.setdefault(EventKey(key.hex()), []).append(Position(stream=streams[stream], sequence=sequence, epoch=epoch))
    return found


def _page(
    database: sqlite3.Connection,
    scope: Scope,
    *,
    criteria: Criteria,
    after: tuple[int, int] | None,
    descending: bool,
    limit: int,
) -> list[Known]:
    conditions, parameters = _conditions(database, scope, criteria)
    if after is not None:
        conditions.append(f"(e.at, e.version) {'<' if descending else '>'} (?, ?)")
        parameters += after
    order = "DESC" if descending else "ASC"
    query = f"{_KNOWN} WHERE {' AND '.join(conditions)} ORDER BY e.at {order}, e.version {order} LIMIT ?"
    return [_known(row) for row in database.execute(query, (*parameters, limit))]


def _conditions(database: sqlite3.Connection, scope: Scope, criteria: Criteria) -> tuple[list[str], list[object]]:
    """What a live event of *scope* must meet, as SQL over ``events e``."""
    conditions = [f"e.memory = {_MEMORY}", "e.live = 1"]
    parameters: list[object] = [scope.key]
    for group in criteria.any_of:
        sessions = _sessions_of(database, scope, group)
        if sessions:
            conditions.append(f"e.session IN ({','.join('?' * len(sessions))})")
            parameters += sessions
        else:
            conditions.append(f"({' OR '.join(['instr(e.tags, ?) > 0'] * len(group)) or '0'})")
            parameters += [f" {tag} " for tag in group]
    for bound, comparison in ((criteria.since_us, ">="), (criteria.until_us, "<")):
        if bound is not None:
            conditions.append(f"e.at {comparison} ?")
            parameters.append(bound)
    return conditions, parameters


def _lengths(database: sqlite3.Connection, scope: Scope, keys: Sequence[EventKey]) -> dict[EventKey, int]:
    found: dict[EventKey, int] = {}
    for marks, piece in tables.chunks_of([bytes.fromhex(key) for key in keys]):
        query = f"SELECT key, length FROM events {_BY_KEY} WHERE memory = {_MEMORY} AND live = 1 AND key IN ({marks})"  # noqa: S608 - only "?"
        found.update({EventKey(key.hex()): length for key, length in database.execute(query, (scope.key, *piece))})
    return found


def _matching(database: sqlite3.Connection, scope: Scope, keys: Sequence[EventKey], *, criteria: Criteria) -> frozenset[EventKey]:
    conditions, parameters = _conditions(database, scope, criteria)
    found: set[EventKey] = set()
    for marks, piece in tables.chunks_of([bytes.fromhex(key) for key in dict.fromkeys(keys)]):
        rows = database.execute(f"{_KEY_OF} {_BY_KEY} WHERE e.key IN ({marks}) AND {' AND '.join(conditions)}", (*piece, *parameters))
        found.update(EventKey(row[0].hex()) for row in rows)
    return frozenset(found)


def _sessions_of(database: sqlite3.Connection, scope: Scope, tags: Sequence[str]) -> list[int]:
    """The sessions that *tags* name; none for tags of another facet."""
    marks = ",".join("?" * len(tags))
    return [row[0] for row in database.execute(f"{_SESSIONS_BY_TAG} AND tag IN ({marks})", (scope.key, *tags))]


def _live(database: sqlite3.Connection, scope: Scope, key: EventKey) -> Sequence[Any] | None:
    query = f"{_KNOWN} WHERE e.memory = {_MEMORY} AND e.key = ? AND e.live = 1"
    found: Sequence[Any] | None = database.execute(query, (scope.key, bytes.fromhex(key))).fetchone()
    return found


def _beside(comparison: str, order: str, more: str = "") -> str:
    place = f" WHERE e.session = ? AND e.live = 1 AND (e.at, e.version) {comparison} (?, ?)"
    return f"{place}{more} ORDER BY e.at {order}, e.version {order} LIMIT ?"


_EARLIER, _LATER = _beside("<", "DESC"), _beside(">", "ASC")


def _around(database: sqlite3.Connection, scope: Scope, key: EventKey, *, before: int, after: int, criteria: Criteria = ANY) -> list[Known]:
    row = _live(database, scope, key)
    if row is None or (criteria != ANY and key not in _matching(database, scope, [key], criteria=criteria)):
        return []
    place = (row[_SESSION], row[_AT], row[_VERSION])
    conditions, parameters = _conditions(database, scope, criteria)
    more = f" AND {' AND '.join(conditions)}"
    earlier = database.execute(_KNOWN + _beside("<", "DESC", more), (*place, *parameters, before)).fetchall()
    later = database.execute(_KNOWN + _beside(">", "ASC", more), (*place, *parameters, after)).fetchall()
    return [_known(found) for found in (*reversed(earlier), row, *later)]


def _neighbours(
    database: sqlite3.Connection, scope: Scope, keys: Sequence[EventKey]
) -> dict[EventKey, tuple[EventKey | None, EventKey | None]]:
    found: dict[EventKey, tuple[EventKey | None, EventKey | None]] = {}
    for key in keys:
        row = _live(database, scope, key)
        if row is not None:
            place = (row[_SESSION], row[_AT], row[_VERSION], 1)
            ends = [database.execute(_KEY_OF + side, place).fetchone() for side in (_EARLIER, _LATER)]
            previous, following = (None if end is None else EventKey(end[0].hex()) for end in ends)
            found[key] = (previous, following)
    return found


def _digest(database: sqlite3.Connection) -> Digest:
    live: list[tuple[str, int]] = []
    gone: list[tuple[str, int]] = []
    for key, version, retracted, alive in database.execute("SELECT key, version, gone, live FROM events"):
        if alive:
            live.append((key.hex(), version))
        else:
            gone.append((key.hex(), retracted))
    return versions.fold(live, gone)


def _known(row: Sequence[Any]) -> Known:
    key, event_id, stream, sequence, epoch, mac, at, session, live = row[:9]
    return Known(
        key=EventKey(key.hex()),
        event_id=EventId(event_id),
        position=Position(stream=stream, sequence=sequence, epoch=epoch),
        content_mac=mac,
        occurred_us=at,
        session=session,
        retracted=not live,
    )


def _erased(row: Sequence[Any]) -> Known:
    return Known(
        key=EventKey(row[0].hex()),
        event_id=EventId(""),
        position=Position(stream=row[2] or "", sequence=row[3] or 0, epoch=row[4] or 0),
        content_mac=b"",
        occurred_us=0,
        session="",
        retracted=True,
        erased=True,
    )
