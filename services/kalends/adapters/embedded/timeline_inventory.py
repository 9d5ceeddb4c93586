"""What maintenance asks of the timeline: inventories, sessions, what has expired.

Belongs here: questions over whole memories, in pieces. Does not belong here: questions that somebody waits for (``timeline``). A newcomer
would get wrong: rows are never deleted, so there is nothing to vacuum; and SQLite is not asked to gather statistics (``PRAGMA optimize``),
because with them its planner scans all sessions where a filter names a hundred (seen at 20,000 events), and without them it does not.
"""

import sqlite3
from collections.abc import Sequence

from kalends.adapters.embedded import timeline_tables as tables
from kalends.domain.events import EventId, EventKey
from kalends.domain.queries import Held
from kalends.ports.timeline import Expired

_MEMORY = "(SELECT id FROM memories WHERE scope = ?)"
_HELD = f"SELECT key, version, gone, live FROM events WHERE memory = {_MEMORY}"  # noqa: S608 - no value in it
_EXPIRED = """
SELECT m.scope, se.session_id, e.key, e.event_id, e.expires
FROM events e INDEXED BY events_by_expiry JOIN memories m ON m.id = e.memory JOIN sessions se ON se.id = e.session
WHERE e.live = 1 AND e.expires IS NOT NULL AND e.expires <= ?
"""


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


def expired(database: sqlite3.Connection, now_us: int, *, after: tuple[int, EventKey] | None, limit: int) -> list[Expired]:
    """Live events that expired at *now_us* or before, by when they did."""
    query, parameters = _EXPIRED, [now_us]
    if after is not None:
        query += " AND (e.expires, e.key) > (?, ?)"
        parameters += [after[0], bytes.fromhex(after[1])]  # type: ignore[list-item]
    rows = database.execute(f"{query} ORDER BY e.expires, e.key LIMIT ?", (*parameters, limit))
    return [
        Expired(scope_key=scope, session=session, key=EventKey(key.hex()), event_id=EventId(event_id), expires_us=expires)
        for scope, session, key, event_id, expires in rows
    ]


def _held(key: bytes, version: int, gone: int, live: int) -> Held:
    return Held(key=EventKey(key.hex()), version=version if live else gone, live=bool(live))
