"""What maintenance asks of the timeline: inventories, sessions, what is kept no longer.

Belongs here: questions over whole memories, in pieces. Does not belong here: questions that somebody waits for (``timeline``). A newcomer
would get wrong: rows are never deleted, so there is nothing to vacuum; and SQLite is not asked to gather statistics (``PRAGMA optimize``),
because with them its planner scans all sessions where a filter names a hundred (seen at 20,000 events), and without them it does not.
"""

import sqlite3
from collections.abc import Sequence

from kalends.adapters.embedded import timeline_tables as tables
from kalends.domain.events import EventId, EventKey
from kalends.domain.queries import Held
from kalends.domain.retention import Aged
from kalends.ports.timeline import SessionSummary

_MEMORY = "(SELECT id FROM memories WHERE scope = ?)"
_HELD = f"SELECT key, version, gone, live FROM events WHERE memory = {_MEMORY}"  # noqa: S608 - no value in it
_AGED = "SELECT e.key, e.event_id, se.session_id, e.at, e.recorded, e.expires FROM events e"
_EXPIRED = f"""
{_AGED} INDEXED BY events_by_expiry JOIN sessions se ON se.id = e.session
WHERE e.memory = {_MEMORY} AND e.expires IS NOT NULL AND e.expires <= ?
"""
_OF_KIND = "live = 1 AND document = 0 AND (expires IS NULL OR expires > ?)"
_OLDEST = f"""
{_AGED} INDEXED BY events_by_record JOIN sessions se ON se.id = e.session
WHERE e.memory = {_MEMORY} AND e.kind = ? AND {_OF_KIND}
"""
_CENSUS = f"""
SELECT kind, count(*) FROM events INDEXED BY events_by_record WHERE memory = {_MEMORY} AND {_OF_KIND} GROUP BY kind
"""  # noqa: S608 - no value in it
_QUIET = f"""
SELECT session_id, events, coalesce(first_us, 0), coalesce(last_us, 0) FROM sessions
WHERE memory = {_MEMORY} AND chunks = 0 AND substr(session_id, 1, 9) <> 'document:' AND heard_us <= ? AND session_id > ?
ORDER BY session_id LIMIT ?
"""  # noqa: S608 - no value in it


def scopes(database: sqlite3.Connection) -> list[str]:
    """The scopes that have a row, by key."""
    query = "SELECT scope FROM memories m WHERE EXISTS (SELECT 1 FROM events WHERE memory = m.id) ORDER BY scope"
    return [row[0] for row in database.execute(query)]


def inventory(database: sqlite3.Connection, scope_key: str, *, after: EventKey | None, limit: int) -> list[Held]:
    """What is known of one memory, by key, after the given one."""
    start = bytes.fromhex(after) if after else b""
    rows = database.execute(f"{_HELD} AND key > ? ORDER BY key LIMIT ?", (scope_key, start, limit))
    return [_held(*row) for row in rows]


def held(database: sqlite3.Connection, scope_key: str, keys: Sequence[EventKey]) -> list[Held]:
    """What is known of *keys* in one memory."""
    found: list[Held] = []
    for marks, piece in tables.chunks_of([bytes.fromhex(key) for key in dict.fromkeys(keys)]):
        found += [_held(*row) for row in database.execute(f"{_HELD} AND key IN ({marks})", (scope_key, *piece))]
    return found


def session_ids(database: sqlite3.Connection, scope_key: str, *, after: str | None, limit: int) -> list[str]:
    """Every session of one memory, by id, after the given one; a session without a live event is one too."""
    query = f"SELECT session_id FROM sessions WHERE memory = {_MEMORY} AND session_id > ? ORDER BY session_id LIMIT ?"  # noqa: S608 - no value
    return [row[0] for row in database.execute(query, (scope_key, after or "", limit))]


def expired(database: sqlite3.Connection, scope_key: str, now_us: int, *, after: tuple[int, EventKey] | None, limit: int) -> list[Aged]:
    """Events that expired at *now_us* or before, by when they did; the row of an erased one does not say that it did."""
    return _aged(database, _EXPIRED, [scope_key, now_us], by="expires", after=after, limit=limit)


def census(database: sqlite3.Connection, scope_key: str, now_us: int) -> dict[str, int]:
    """Live events that have not expired, by kind."""
    return dict(database.execute(_CENSUS, (scope_key, now_us)))


def oldest(
    database: sqlite3.Connection, scope_key: str, kind: str, now_us: int, *, after: tuple[int, EventKey] | None, limit: int
) -> list[Aged]:
    """Live events of one kind that have not expired, by when they were recorded."""
    return _aged(database, _OLDEST, [scope_key, kind, now_us], by="recorded", after=after, limit=limit)


def quiet(database: sqlite3.Connection, scope_key: str, before_us: int, *, after: str | None, limit: int) -> list[SessionSummary]:
    """Sessions that heard nothing since *before_us*."""
    rows = database.execute(_QUIET, (scope_key, before_us, after or "", limit))
    return [SessionSummary(session_id=name, events=events, first_us=first, last_us=last) for name, events, first, last in rows]


def _aged(
    database: sqlite3.Connection, query: str, parameters: list[object], *, by: str, after: tuple[int, EventKey] | None, limit: int
) -> list[Aged]:
    if after is not None:
        query += f" AND (e.{by}, e.key) > (?, ?)"
        parameters += [after[0], bytes.fromhex(after[1])]
    rows = database.execute(f"{query} ORDER BY e.{by}, e.key LIMIT ?", (*parameters, limit))
    return [
        Aged(key=EventKey(key.hex()), event_id=EventId(event_id), session=session, occurred_us=at, recorded_us=recorded, expires_us=expires)
        for key, event_id, session, at, recorded, expires in rows
    ]


def _held(key: bytes, version: int, gone: int, live: int) -> Held:
    return Held(key=EventKey(key.hex()), version=version if live else gone, live=bool(live))
