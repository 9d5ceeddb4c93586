"""What maintenance asks of the calendar: inventories of its nodes, as the search projections hold them.

Belongs here: questions over whole memories, in pieces. Does not belong here: questions that somebody waits for (``calendar``). A newcomer
would get wrong: engines know a calendar by its own key, the memory's with a suffix, and so do these questions.
"""

import sqlite3
from collections.abc import Sequence

from kalends.adapters.embedded.database import in_pieces, placeholders
from kalends.domain.events import EventKey
from kalends.domain.queries import Held
from kalends.domain.scope import CALENDAR_SUFFIX

_HELD = "SELECT key, seen, gone FROM nodes WHERE memory = (SELECT id FROM memories WHERE scope = ?)"


def scopes(database: sqlite3.Connection) -> list[str]:
    """The calendars that have a node, by key."""
    query = "SELECT scope FROM memories m WHERE EXISTS (SELECT 1 FROM nodes WHERE memory = m.id) ORDER BY scope"
    return [row[0] + CALENDAR_SUFFIX for row in database.execute(query)]


def inventory(database: sqlite3.Connection, scope_key: str, *, after: EventKey | None, limit: int) -> list[Held]:
    """The nodes of one calendar, by key, after the given one."""
    start = bytes.fromhex(after) if after else b""
    rows = database.execute(f"{_HELD} AND key > ? ORDER BY key LIMIT ?", (scope_key.removesuffix(CALENDAR_SUFFIX), start, limit))
    return [_held(*row) for row in rows]


def held(database: sqlite3.Connection, scope_key: str, keys: Sequence[EventKey]) -> list[Held]:
    """What is known of *keys* in one calendar."""
    found: list[Held] = []
    for piece in in_pieces([bytes.fromhex(key) for key in dict.fromkeys(keys)]):
        query = f"{_HELD} AND key IN ({placeholders(piece)})"
        found += [_held(*row) for row in database.execute(query, (scope_key.removesuffix(CALENDAR_SUFFIX), *piece))]
    return found


def _held(key: bytes, seen: int, gone: int) -> Held:
    return Held(key=EventKey(key.hex()), version=seen, live=not gone)
