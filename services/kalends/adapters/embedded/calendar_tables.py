"""The calendar's tables and the one transaction that changes them.

Belongs here: the schema, applying a batch of changes, what becomes due by it. Does not belong here: questions (``calendar``). What a
newcomer would get wrong: a message that repeats what its node says is no version, but it still moves ``seen``, because the search
projections hold the newest message of a node and not the newest version; the place moves with it. ``places`` has what ``versions`` has not:
messages that repeat, and those that were erased.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from kalends.adapters.embedded import calendar_erasing as erasing
from kalends.domain.periods import LEVELS, Level, Period
from kalends.domain.positions import Position
from kalends.domain.scope import Scope
from kalends.ports.calendar import NodesErased, NodeStored, Touched, Unit
from kalends.ports.timeline import Erased

SCHEMA_VERSION = 2

SCHEMA = """
CREATE TABLE streams (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, floor INTEGER NOT NULL DEFAULT 0);
CREATE TABLE memories (
    id INTEGER PRIMARY KEY, scope TEXT NOT NULL UNIQUE, tenant TEXT NOT NULL, name TEXT NOT NULL,
    grips INTEGER NOT NULL DEFAULT 0, versions INTEGER NOT NULL DEFAULT 0,
    level0 INTEGER NOT NULL DEFAULT 0, level1 INTEGER NOT NULL DEFAULT 0, level2 INTEGER NOT NULL DEFAULT 0,
    level3 INTEGER NOT NULL DEFAULT 0, level4 INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE units (
    id INTEGER PRIMARY KEY, memory INTEGER NOT NULL, session_id TEXT NOT NULL, day INTEGER NOT NULL,
    version INTEGER NOT NULL, done INTEGER NOT NULL DEFAULT 0, due INTEGER NOT NULL, forced INTEGER NOT NULL DEFAULT 0,
    last_us INTEGER NOT NULL, since_us INTEGER NOT NULL, until_us INTEGER NOT NULL,
    UNIQUE (memory, session_id, day)
);
CREATE INDEX units_due ON units (day, id) WHERE due = 1;
CREATE INDEX units_forced ON units (id) WHERE forced = 1;
CREATE INDEX units_by_day ON units (memory, day);
CREATE TABLE tokens (unit INTEGER NOT NULL, key BLOB NOT NULL, tokens INTEGER NOT NULL, PRIMARY KEY (unit, key)) WITHOUT ROWID;
CREATE INDEX tokens_by_key ON tokens (key);
CREATE TABLE nodes (
    id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, memory INTEGER NOT NULL, level INTEGER NOT NULL, first INTEGER NOT NULL,
    name TEXT NOT NULL, number INTEGER NOT NULL, seen INTEGER NOT NULL,
    stream INTEGER NOT NULL, sequence INTEGER NOT NULL, epoch INTEGER NOT NULL, mac BLOB NOT NULL, inputs TEXT NOT NULL,
    session_id TEXT NOT NULL, first_us INTEGER NOT NULL, last_us INTEGER NOT NULL, events INTEGER NOT NULL,
    degraded TEXT NOT NULL, gone INTEGER NOT NULL, recorded_us INTEGER NOT NULL, retry_us INTEGER NOT NULL,
    erased INTEGER NOT NULL DEFAULT 0, erased_at INTEGER NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX nodes_by_place ON nodes (memory, level, first, name);
CREATE INDEX nodes_by_time ON nodes (memory, level, first, first_us, name) WHERE gone = 0;
CREATE INDEX nodes_by_session ON nodes (memory, session_id, first) WHERE level = 4;
CREATE INDEX nodes_degraded ON nodes (retry_us) WHERE degraded <> '' AND gone = 0;
CREATE TABLE versions (
    node INTEGER NOT NULL, number INTEGER NOT NULL, stream INTEGER NOT NULL, sequence INTEGER NOT NULL, epoch INTEGER NOT NULL,
    PRIMARY KEY (node, number)
) WITHOUT ROWID;
CREATE TABLE places (
    node INTEGER NOT NULL, epoch INTEGER NOT NULL, sequence INTEGER NOT NULL, stream INTEGER NOT NULL,
    PRIMARY KEY (node, epoch, sequence, stream)
) WITHOUT ROWID;
CREATE TABLE grips (
    memory INTEGER NOT NULL, id TEXT NOT NULL, event TEXT NOT NULL,
    stream INTEGER NOT NULL, sequence INTEGER NOT NULL, epoch INTEGER NOT NULL,
    PRIMARY KEY (memory, id)
) WITHOUT ROWID;
CREATE INDEX grips_by_event ON grips (memory, event);
CREATE TABLE periods (
    memory INTEGER NOT NULL, level INTEGER NOT NULL, first INTEGER NOT NULL, version INTEGER NOT NULL,
    forced INTEGER NOT NULL DEFAULT 0, since_us INTEGER NOT NULL,
    PRIMARY KEY (level, first, memory)
) WITHOUT ROWID;
"""

NUMBER_OF: Mapping[Level, int] = {level: number for number, level in enumerate(LEVELS)}
"""Levels as numbers, the widest first."""

SEGMENT = NUMBER_OF["segment"]

_TOUCH = """
INSERT INTO units (memory, session_id, day, version, due, last_us, since_us, until_us) VALUES (?, ?, ?, ?, 1, ?, ?, ?)
ON CONFLICT (memory, session_id, day) DO UPDATE SET
    since_us = CASE WHEN due = 1 THEN since_us ELSE excluded.since_us END,
    due = due OR excluded.version > done,
    version = max(version, excluded.version), last_us = max(last_us, excluded.last_us), until_us = max(until_us, excluded.until_us)
    WHERE excluded.version > version
"""
_DUE_PERIOD = """
INSERT INTO periods (memory, level, first, version, forced, since_us) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (level, first, memory) DO UPDATE SET version = max(version, excluded.version), forced = max(forced, excluded.forced)
"""
_MOVE_GRIP = """
UPDATE grips SET stream = ?, sequence = ?, epoch = ? WHERE memory = ? AND id = ? AND (epoch, sequence) < (?, ?)
"""
_NODE_COLUMNS = (
    *("number", "seen", "stream", "sequence", "epoch", "mac", "inputs", "session_id"),
    *("first_us", "last_us", "events", "degraded", "gone", "recorded_us", "retry_us"),
)
_INSERT_NODE = (
    f"INSERT INTO nodes (key, memory, level, first, name, {', '.join(_NODE_COLUMNS)}) "  # noqa: S608 - names of columns
    f"VALUES ({', '.join('?' * (5 + len(_NODE_COLUMNS)))}) RETURNING id"
)
_UPDATE_NODE = f"UPDATE nodes SET {', '.join(f'{column} = ?' for column in _NODE_COLUMNS)} WHERE id = ?"  # noqa: S608 - names of columns


def apply(database: sqlite3.Connection, changes: Iterable[Touched | NodeStored | NodesErased | Erased], floors: Mapping[str, int]) -> None:
    """Apply *changes* within the caller's transaction; an older one than what is held changes nothing."""
    memories: dict[Scope, int] = {}
    streams = {name: _stream_id(database, name) for name in floors}
    touched: dict[Unit, _Touches] = {}
    for change in changes:
        if isinstance(change, Touched):
            touched.setdefault(change.unit, _Touches(change)).add(change)
            continue
        memory = _memory_id(database, memories, change.scope)
        if isinstance(change, Erased):
            # what was touched before it comes to the tables before it, so that its units are there to be forgotten
            _touch(database, memories, touched)
            touched = {}
            erasing.forget_events(database, memory, change)
            continue
        stream = streams.setdefault(change.position.stream, _stream_id(database, change.position.stream))
        if isinstance(change, NodesErased):
            _touch(database, memories, touched)
            touched = {}
            erasing.erase_nodes(database, memory, stream, change)
            _make_due(database, memory, change)
        else:
            _store(database, memory, stream, change)
    _touch(database, memories, touched)
    database.executemany("UPDATE streams SET floor = max(floor, ?) WHERE name = ?", [(floor, name) for name, floor in floors.items()])


def _touch(database: sqlite3.Connection, memories: dict[Scope, int], touched: Mapping[Unit, "_Touches"]) -> None:
    for unit, touch in touched.items():
        memory = _memory_id(database, memories, unit.scope)
        row = (memory, unit.session_id, unit.day.toordinal(), touch.version, touch.last_us, touch.since_us, touch.until_us)
        database.execute(_TOUCH, row)


def _make_due(database: sqlite3.Connection, memory: int, change: NodesErased) -> None:
    """Erased periods are rolled again, and so is what stands above anything that was erased."""
    periods = {one.period for one in change.nodes if one.period.level != "segment"}
    periods |= {parent for one in change.nodes if (parent := one.period.parent) is not None}
    for period in periods:
        mark(database, memory, period, version=change.position.version, forced=False, since_us=change.recorded_us)


def mark(database: sqlite3.Connection, memory: int, period: Period, *, version: int, forced: bool, since_us: int) -> None:
    """Make a period due."""
    row = (memory, NUMBER_OF[period.level], period.first.toordinal(), version, int(forced), since_us)
    database.execute(_DUE_PERIOD, row)


class _Touches:
    """The changes of one unit in a batch as one, which leaves the same as they do one after the other."""

    __slots__ = ("last_us", "since_us", "until_us", "version")

    def __init__(self, first: Touched) -> None:
        self.version, self.last_us = first.version, first.occurred_us
        self.since_us = self.until_us = first.recorded_us

    def add(self, change: Touched) -> None:
        self.version = max(self.version, change.version)
        self.last_us = max(self.last_us, change.occurred_us)
        self.until_us = max(self.until_us, change.recorded_us)


def _store(database: sqlite3.Connection, memory: int, stream: int, change: NodeStored) -> None:
    key = bytes.fromhex(change.key)
    held = database.execute("SELECT id, number, seen, mac, gone, inputs FROM nodes WHERE key = ?", (key,)).fetchone()
    position = change.position
    if held is not None and position.version <= held[2]:
        return
    number = 1 if held is None else held[1] + 1
    if held is not None and (held[3], bool(held[4])) == (change.content_mac, change.gone):
        # it says what is known: no version, and nothing above it changes; the node is read where it was said last, as engines hold it
        query = "UPDATE nodes SET seen = ?, stream = ?, sequence = ?, epoch = ?, inputs = ?, recorded_us = ?, retry_us = ? WHERE id = ?"
        said_at = (position.version, stream, position.sequence, position.epoch)
        database.execute(query, (*said_at, change.inputs, change.recorded_us, change.recorded_us, held[0]))
        database.execute("INSERT OR IGNORE INTO places VALUES (?, ?, ?, ?)", (held[0], position.epoch, position.sequence, stream))
        return
    values = _values(change, number, stream)
    if held is None:
        place = (key, memory, NUMBER_OF[change.period.level], change.period.first.toordinal(), change.period.name)
        (node,) = database.execute(_INSERT_NODE, (*place, *values)).fetchone()
    else:
        node = held[0]
        database.execute(_UPDATE_NODE, (*values, node))
    database.execute("INSERT INTO versions VALUES (?, ?, ?, ?, ?)", (node, number, stream, position.sequence, position.epoch))
    _count(database, memory, change, was_live=held is not None and not held[4])
    _keep_grips(database, memory, stream, change)
    parent = change.period.parent
    if parent is not None:
        mark(database, memory, parent, version=position.version, forced=False, since_us=change.recorded_us)


def _values(change: NodeStored, number: int, stream: int) -> tuple[object, ...]:
    position = change.position
    return (
        number,
        position.version,
        stream,
        position.sequence,
        position.epoch,
        change.content_mac,
        change.inputs,
        change.session_id,
        change.first_us,
        change.last_us,
        change.event_count,
        change.degraded,
        int(change.gone),
        change.recorded_us,
        change.recorded_us,
    )


def _count(database: sqlite3.Connection, memory: int, change: NodeStored, *, was_live: bool) -> None:
    level = NUMBER_OF[change.period.level]
    delta = (not change.gone) - was_live
    query = f"UPDATE memories SET versions = versions + 1, level{level} = level{level} + ? WHERE id = ?"  # noqa: S608 - a number
    database.execute(query, (delta, memory))


def _keep_grips(database: sqlite3.Connection, memory: int, stream: int, change: NodeStored) -> None:
    """Every grip comes from a segment; what stands above cites it, and a later version of the segment may hold it again."""
    if change.period.level != "segment":
        return
    position: Position = change.position
    before = database.total_changes
    place = (stream, position.sequence, position.epoch)
    rows = [(memory, grip, event, *place) for grip, event in change.grips]
    database.executemany("INSERT OR IGNORE INTO grips VALUES (?, ?, ?, ?, ?, ?)", rows)
    database.execute("UPDATE memories SET grips = grips + ? WHERE id = ?", (database.total_changes - before, memory))
    # the newest segment that has it: of the old ones nobody knows whether they still stand
    newer = [(*place, memory, grip, position.epoch, position.sequence) for grip, _ in change.grips]
    database.executemany(_MOVE_GRIP, newer)


def _memory_id(database: sqlite3.Connection, known: dict[Scope, int], scope: Scope) -> int:
    if scope not in known:
        row = (scope.key, scope.tenant, scope.memory)
        database.execute("INSERT OR IGNORE INTO memories (scope, tenant, name) VALUES (?, ?, ?)", row)
        known[scope] = database.execute("SELECT id FROM memories WHERE scope = ?", (scope.key,)).fetchone()[0]
    return known[scope]


def _stream_id(database: sqlite3.Connection, name: str) -> int:
    database.execute("INSERT OR IGNORE INTO streams (name) VALUES (?)", (name,))
    found: Sequence[int] = database.execute("SELECT id FROM streams WHERE name = ?", (name,)).fetchone()
    return found[0]
