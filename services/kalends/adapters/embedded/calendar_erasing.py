"""Taking what was erased out of the calendar's tables.

Belongs here: what a change that erases does to rows. Does not belong here: what becomes due by it (``calendar_tables``), questions
(``calendar``). A newcomer would get wrong: a node's row stays, and the places of its messages with it: the row so that the number of its
next version goes on, the places because the messages are only taken out of the log after everybody has heard of it.
"""

import sqlite3
from collections.abc import Sequence
from datetime import date
from typing import Any

from kalends.adapters.embedded.database import in_pieces, leave_residue, placeholders
from kalends.domain.events import EventKey
from kalends.domain.periods import LEVELS, Period
from kalends.domain.positions import Position
from kalends.domain.queries import tag
from kalends.domain.scope import Scope
from kalends.ports.calendar import ErasedNode, NodeHistory, NodesErased, Unit
from kalends.ports.timeline import Erased

_STRIPPED = """
number = :number, seen = :version, stream = :stream, sequence = :sequence, epoch = :epoch, mac = x'', inputs = '', session_id = '',
first_us = 0, last_us = 0, events = 0, degraded = '', gone = 1, recorded_us = :recorded_us, retry_us = 0,
erased = :number, erased_at = :version
"""
_PLACEHOLDER = """
INSERT INTO nodes (key, memory, level, first, name, number, seen, stream, sequence, epoch, mac, inputs, session_id, first_us, last_us,
    events, degraded, gone, recorded_us, retry_us, erased, erased_at)
VALUES (:key, :memory, :level, :first, :name, :number, :version, :stream, :sequence, :epoch, x'', '', '', 0, 0,
    0, '', 1, :recorded_us, 0, :number, :version)
"""
_MAKE_UNIT_DUE = """
UPDATE units SET since_us = CASE WHEN due = 1 THEN since_us ELSE ? END, due = 1, version = max(version, ?), until_us = max(until_us, ?)
WHERE memory = ? AND session_id = ? AND day = ?
"""
_PLACES = """
SELECT epoch, sequence, stream FROM versions WHERE node = ? UNION SELECT epoch, sequence, stream FROM places WHERE node = ? ORDER BY 1, 2
"""
_MEMORY = "(SELECT id FROM memories WHERE scope = ?)"
_SEGMENT = LEVELS.index("segment")
_NODES = "SELECT n.id, n.key, n.level, n.first, n.name, n.number, n.erased_at FROM nodes n"


def erase_nodes(database: sqlite3.Connection, memory: int, stream: int, change: NodesErased) -> None:
    """Leave of each node a row that says nothing but how many versions there were, and the places of its messages."""
    stripped = [node for one in change.nodes if (node := _erase_node(database, memory, stream, change, one)) is not None]
    for piece in in_pieces(stripped):
        query = f"""
        DELETE FROM grips WHERE memory = ?
            AND (stream, sequence, epoch) IN (SELECT stream, sequence, epoch FROM places WHERE node IN ({placeholders(piece)}))
        """  # noqa: S608 - only "?"
        gone = database.execute(query, (memory, *piece)).rowcount
        database.execute("UPDATE memories SET grips = grips - ? WHERE id = ?", (gone, memory))
    leave_residue(database)


def _erase_node(database: sqlite3.Connection, memory: int, stream: int, change: NodesErased, one: ErasedNode) -> int | None:
    """The row's number if it had anything to take away."""
    key, position, level = bytes.fromhex(one.key), change.position, LEVELS.index(one.period.level)
    held = database.execute("SELECT id, seen, gone, session_id, first, erased FROM nodes WHERE key = ?", (key,)).fetchone()
    values = {"stream": stream, "sequence": position.sequence, "epoch": position.epoch, "version": position.version}
    values |= {"number": one.number, "recorded_us": change.recorded_us}
    if held is None:
        place = {"key": key, "memory": memory, "level": level, "first": one.period.first.toordinal(), "name": one.period.name}
        database.execute(_PLACEHOLDER, {**values, **place})
        return None
    node, seen, was_gone, session_id, first, erased = held
    if seen >= position.version:
        return None
    database.execute("INSERT OR IGNORE INTO places SELECT node, epoch, sequence, stream FROM versions WHERE node = ?", (node,))
    dropped = database.execute("DELETE FROM versions WHERE node = ?", (node,)).rowcount
    values |= {"number": max(one.number, erased), "id": node}
    database.execute(f"UPDATE nodes SET {_STRIPPED} WHERE id = :id", values)  # noqa: S608 - names of columns
    query = f"UPDATE memories SET versions = versions - ?, level{level} = level{level} - ? WHERE id = ?"  # noqa: S608 - a number
    database.execute(query, (dropped, int(not was_gone), memory))
    if level == _SEGMENT:
        moment = change.recorded_us
        database.execute(_MAKE_UNIT_DUE, (moment, position.version, moment, memory, session_id, first))
    return int(node)


def forget_events(database: sqlite3.Connection, memory: int, change: Erased) -> None:
    """Forget the counts of tokens of erased events, and the units of the sessions that go whole, as far as nothing newer touched them."""
    for piece in in_pieces([bytes.fromhex(key) for key in change.keys]):
        marks = placeholders(piece)
        query = f"DELETE FROM tokens WHERE key IN ({marks}) AND unit IN (SELECT id FROM units WHERE memory = ?)"  # noqa: S608 - only "?"
        database.execute(query, (*piece, memory))
    if change.sessions:
        wanted = set(change.sessions)
        rows = database.execute("SELECT id, session_id FROM units WHERE memory = ? AND version <= ?", (memory, change.position.version))
        doomed = [(unit,) for unit, session_id in rows.fetchall() if tag("session_id", session_id) in wanted]
        database.executemany("DELETE FROM tokens WHERE unit = ?", doomed)
        database.executemany("DELETE FROM units WHERE id = ?", doomed)
    leave_residue(database)


def histories(database: sqlite3.Connection, units: Sequence[Unit]) -> list[NodeHistory]:
    """Every node whose period holds one of *units*, those that are gone included, each once, the widest first."""
    found: dict[bytes, tuple[object, ...]] = {}
    above: set[tuple[str, Period]] = set()
    for unit in units:
        segments = (
            f"{_NODES} INDEXED BY nodes_by_session WHERE n.level = {_SEGMENT} AND n.session_id = ? AND n.first = ? AND n.memory = {_MEMORY}"
        )
        rows = database.execute(segments, (unit.session_id, unit.day.toordinal(), unit.scope.key))
        found.update({row[1]: row for row in rows})
        day = Period("day", unit.day)
        above |= {(unit.scope.key, period) for period in (day, *day.ancestors)}
    for scope_key, period in above:
        place = (LEVELS.index(period.level), period.first.toordinal(), scope_key)
        rows = database.execute(f"{_NODES} WHERE n.level = ? AND n.first = ? AND n.name = '' AND n.memory = {_MEMORY}", place)
        found.update({row[1]: row for row in rows})
    return _histories(database, list(found.values()))


def histories_by_keys(database: sqlite3.Connection, scope: Scope, keys: Sequence[EventKey]) -> list[NodeHistory]:
    """The nodes of *keys* that are known, those that are gone or erased included."""
    found: list[tuple[object, ...]] = []
    for piece in in_pieces([bytes.fromhex(key) for key in dict.fromkeys(keys)]):
        query = f"{_NODES} WHERE n.memory = {_MEMORY} AND n.key IN ({placeholders(piece)})"
        found += database.execute(query, (scope.key, *piece)).fetchall()
    return _histories(database, found)


def _histories(database: sqlite3.Connection, rows: Sequence[Any]) -> list[NodeHistory]:
    streams: dict[int, str] = dict(database.execute("SELECT id, name FROM streams"))
    found = []
    for node, key, level, first, name, number, erased_at in sorted(rows, key=lambda row: (row[2], row[3], row[4])):
        places = database.execute(_PLACES, (node, node)).fetchall()
        positions = [Position(stream=streams[stream], sequence=sequence, epoch=epoch) for epoch, sequence, stream in places]
        found.append(
            NodeHistory(
                key=EventKey(key.hex()),
                period=Period(LEVELS[level], date.fromordinal(first), name),
                number=number,
                standing=tuple(one for one in positions if one.version > erased_at),
                erased=tuple(one for one in positions if one.version <= erased_at),
            )
        )
    return found


def erased(database: sqlite3.Connection, scope: Scope, period: Period) -> int:
    """The number up to which a node's versions were erased."""
    query = f"SELECT erased FROM nodes WHERE memory = {_MEMORY} AND level = ? AND first = ? AND name = ?"  # noqa: S608 - no value
    row = database.execute(query, (scope.key, LEVELS.index(period.level), period.first.toordinal(), period.name)).fetchone()
    return 0 if row is None else int(row[0])
