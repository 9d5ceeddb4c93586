"""The calendar in SQLite.

Belongs here: opening the file, answering questions, marking what is due and what is done. Does not belong here: how a batch of the log
changes the tables (``calendar_tables``). A newcomer would get wrong: what is due is kept here and not in memory, so work that a kill
interrupted is simply still due.
"""

import json
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from kalends.adapters.embedded import calendar_erasing as erasing
from kalends.adapters.embedded import calendar_inventory as maintenance
from kalends.adapters.embedded import calendar_tables as tables
from kalends.adapters.embedded import database as files
from kalends.adapters.embedded.database import Database, in_pieces, placeholders
from kalends.domain import versions
from kalends.domain.events import EventId, EventKey
from kalends.domain.periods import LEVELS, Level, Period
from kalends.domain.positions import Position
from kalends.domain.queries import Digest, Held
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.ports.calendar import (
    Backlog,
    CalendarStats,
    DuePeriod,
    DueUnit,
    KnownNode,
    NodeHistory,
    NodesErased,
    NodeStored,
    Touched,
    Unit,
)
from kalends.ports.timeline import Erased

_MEMORY = "(SELECT id FROM memories WHERE scope = ?)"
_NODE = """
SELECT n.key, n.level, n.first, n.name, n.number, st.name, n.sequence, n.epoch, n.mac, n.inputs, n.session_id, n.first_us, n.last_us,
    n.events, n.degraded, n.gone, n.recorded_us
FROM nodes n JOIN streams st ON st.id = n.stream
"""
_UNIT = """
SELECT m.tenant, m.name, u.session_id, u.day, u.version, u.last_us, u.since_us, u.until_us, u.forced
FROM units u JOIN memories m ON m.id = u.memory
"""
_UNIT_ID = f"SELECT id FROM units WHERE memory = {_MEMORY} AND session_id = ? AND day = ?"  # noqa: S608 - no value
_IN_ORDER = "ORDER BY n.first, n.first_us, n.name LIMIT ?"
_AFTER = "(n.first, n.first_us, n.name) > (?, ?, ?)"


class SqliteCalendar:
    """The calendar of one process; see ``ports.calendar.Calendar``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    async def open(cls, path: Path) -> "SqliteCalendar":
        """Open the file at *path*, or make it.

        Raises:
            Misconfigured: another version of Kalends made it. Damaged: it cannot be read; delete it and it is rebuilt from the log.
        """
        return cls(await Database.open(path, name="calendar", schema=tables.SCHEMA, version=tables.SCHEMA_VERSION))

    async def compact(self) -> int:
        """Fold the write-ahead log into the file and cut it off; if something was erased, write the file anew first; the bytes freed."""
        return await self._database.compact()

    async def close(self) -> None:
        """Close the file; twice is no error."""
        await self._database.close()

    async def floors(self) -> Mapping[str, int]:
        """Per stream, how far the log has been followed."""
        return await self._database.ask(files.floors)

    async def put(self, changes: Sequence[Touched | NodeStored | NodesErased | Erased], *, floors: Mapping[str, int]) -> None:
        """Apply *changes* and *floors* in one transaction."""
        await self._database.write(tables.apply, changes, floors)

    async def histories(self, units: Sequence[Unit]) -> Sequence[NodeHistory]:
        """Every node whose period holds one of *units*."""
        return await self._database.ask(erasing.histories, units)

    async def histories_by_keys(self, scope: Scope, keys: Sequence[EventKey]) -> Sequence[NodeHistory]:
        """The nodes of *keys*, by key."""
        return await self._database.ask(erasing.histories_by_keys, scope, keys)

    async def erased(self, scope: Scope, period: Period) -> int:
        """The number up to which a node's versions were erased."""
        return await self._database.ask(erasing.erased, scope, period)

    async def newest(self, scope: Scope, periods: Sequence[Period]) -> Mapping[Period, KnownNode]:
        """The newest version of each of *periods* that has one."""
        return await self._database.ask(_newest, scope, periods)

    async def by_keys(self, scope: Scope, keys: Sequence[EventKey]) -> Mapping[EventKey, KnownNode]:
        """The newest versions of the nodes of *keys* that are not gone."""
        return await self._database.ask(_by_keys, scope, keys)

    async def version(self, scope: Scope, period: Period, number: int) -> Position | None:
        """Where version *number* of a node stands."""
        return await self._database.ask(_version, scope, period, number)

    async def years(self, scope: Scope, *, after: Period | None = None, limit: int = 1000) -> Sequence[KnownNode]:
        """The years, oldest first."""
        return await self._database.ask(_years, scope, after, limit)

    async def children(self, scope: Scope, period: Period, *, after: Period | None = None, limit: int = 1000) -> Sequence[KnownNode]:
        """The children, oldest first."""
        return await self._database.ask(_children, scope, period, after, limit)

    async def segments(self, unit: Unit) -> Sequence[KnownNode]:
        """The segments of a unit, oldest first."""
        return await self._database.ask(_segments, unit)

    async def grips(self, scope: Scope, ids: Sequence[str]) -> Mapping[str, Position]:
        """Where a node stands that has each of the grips."""
        return await self._database.ask(_grips, scope, ids)

    async def grips_of(self, scope: Scope, events: Sequence[EventId]) -> Mapping[EventId, Sequence[str]]:
        """The grips of each of *events*, by id."""
        return await self._database.ask(_grips_of, scope, events)

    async def due_units(
        self, *, quiet_before_us: int, ended_before: date, settled_before_us: int, limit: int, held: Collection[Scope] = ()
    ) -> Sequence[DueUnit]:
        """Units to be cut, oldest day first."""
        bounds = (quiet_before_us, ended_before.toordinal(), settled_before_us)
        return await self._database.ask(_due_units, bounds, limit, _keys(held))

    async def due_periods(self, level: Level, *, limit: int, held: Collection[Scope] = ()) -> Sequence[DuePeriod]:
        """Periods to be rolled, oldest first."""
        return await self._database.ask(_due_periods, level, limit, _keys(held))

    async def settle_unit(self, unit: Unit, *, version: int, forced: bool = True) -> None:
        """The unit was cut as of *version*."""
        query = f"""
        UPDATE units SET done = max(done, ?), due = version > max(done, ?) OR forced > ?, forced = forced > ? WHERE id = ({_UNIT_ID})
        """  # noqa: S608 - no value
        await self._run(query, (version, version, int(forced), int(forced), *_place(unit)))

    async def settle_period(self, scope: Scope, period: Period, *, version: int, forced: bool = True) -> None:
        """The period was rolled as of *version*."""
        query = f"""
        DELETE FROM periods WHERE level = ? AND first = ? AND memory = {_MEMORY} AND version <= ? AND forced <= ?
        """  # noqa: S608 - no value
        await self._run(query, (tables.NUMBER_OF[period.level], period.first.toordinal(), scope.key, version, int(forced)))

    async def tokens(self, unit: Unit) -> Mapping[EventKey, int]:
        """Tokens of the unit's events as far as they were counted."""
        return await self._database.ask(_tokens, unit)

    async def remember_tokens(self, unit: Unit, tokens: Mapping[EventKey, int]) -> None:
        """Keep counts for the next time."""
        await self._database.write(_remember, unit, tokens)

    async def force(self, *, scope: Scope | None, since: date | None) -> int:
        """Make units and the periods above them due again."""
        return await self._database.write(_force, scope, since)

    async def units(self, *, scope: Scope | None, since: date | None, after: Unit | None, limit: int) -> Sequence[Unit]:
        """Every unit, by memory, day and session."""
        return await self._database.ask(_units, scope, since, after, limit)

    async def retry_degraded(self, reasons: Sequence[str], *, before_us: int, limit: int) -> int:
        """Make degraded nodes due again."""
        return await self._database.write(_retry_degraded, reasons, before_us, limit)

    async def backlog(self) -> Backlog:
        """What is still to be done."""
        return await self._database.ask(_backlog)

    async def forced(self) -> int:
        """What is due by force."""
        return await self._database.ask(_forced)

    async def stats(self, scope: Scope) -> CalendarStats:
        """Counts of one memory, from counters."""
        return await self._database.ask(_stats, scope)

    async def digest(self) -> Digest:
        """The nodes of all memories."""
        return await self._database.ask(_digest)

    async def scopes(self) -> Sequence[str]:
        """The calendars that have a node."""
        return await self._database.ask(maintenance.scopes)

    async def inventory(self, scope_key: str, *, after: EventKey | None, limit: int) -> Sequence[Held]:
        """The nodes of one calendar, by key."""
        return await self._database.ask(maintenance.inventory, scope_key, after=after, limit=limit)

    async def held(self, scope_key: str, keys: Sequence[EventKey]) -> Sequence[Held]:
        """What is known of *keys*."""
        return await self._database.ask(maintenance.held, scope_key, keys)

    async def _run(self, query: str, values: Sequence[object]) -> None:
        change: Callable[[sqlite3.Connection], object] = lambda database: database.execute(query, values)  # noqa: E731
        await self._database.write(change)


def _newest(database: sqlite3.Connection, scope: Scope, periods: Sequence[Period]) -> dict[Period, KnownNode]:
    found = {}
    query = f"{_NODE} WHERE n.memory = {_MEMORY} AND n.level = ? AND n.first = ? AND n.name = ?"
    for period in periods:
        row = database.execute(query, (scope.key, tables.NUMBER_OF[period.level], period.first.toordinal(), period.name)).fetchone()
        if row is not None:
            found[period] = _known(row)
    return found


def _by_keys(database: sqlite3.Connection, scope: Scope, keys: Sequence[EventKey]) -> dict[EventKey, KnownNode]:
    found = {}
    for piece in in_pieces(list(dict.fromkeys(keys))):
        query = f"{_NODE} WHERE n.memory = {_MEMORY} AND n.gone = 0 AND n.key IN ({placeholders(piece)})"
        for row in database.execute(query, (scope.key, *(bytes.fromhex(key) for key in piece))):
            node = _known(row)
            found[node.key] = node
    return found


def _version(database: sqlite3.Connection, scope: Scope, period: Period, number: int) -> Position | None:
    query = f"""
    SELECT st.name, v.sequence, v.epoch FROM versions v JOIN streams st ON st.id = v.stream
    WHERE v.number = ? AND v.node = (SELECT id FROM nodes WHERE memory = {_MEMORY} AND level = ? AND first = ? AND name = ?)
    """  # noqa: S608 - no value
    values = (number, scope.key, tables.NUMBER_OF[period.level], period.first.toordinal(), period.name)
    row = database.execute(query, values).fetchone()
    return None if row is None else Position(stream=row[0], sequence=row[1], epoch=row[2])


def _years(database: sqlite3.Connection, scope: Scope, after: Period | None, limit: int) -> list[KnownNode]:
    first = -1 if after is None else after.first.toordinal()
    query = f"{_NODE} WHERE n.memory = {_MEMORY} AND n.level = ? AND n.gone = 0 AND n.first > ? {_IN_ORDER}"
    return [_known(row) for row in database.execute(query, (scope.key, tables.NUMBER_OF["year"], first, limit))]


def _children(database: sqlite3.Connection, scope: Scope, period: Period, after: Period | None, limit: int) -> list[KnownNode]:
    if period.level == "segment":
        return []
    level = tables.NUMBER_OF[period.level] + 1
    start, end = period.days
    query = f"{_NODE} WHERE n.memory = {_MEMORY} AND n.level = ? AND n.gone = 0 AND n.first >= ? AND n.first < ?"
    values: list[object] = [scope.key, level, start, end]
    if after is not None:
        place = _newest(database, scope, [after]).get(after)
        if place is None:
            return []
        query += f" AND {_AFTER}"
        values += [after.first.toordinal(), place.first_us, after.name]
    return [_known(row) for row in database.execute(f"{query} {_IN_ORDER}", (*values, limit))]


def _segments(database: sqlite3.Connection, unit: Unit) -> list[KnownNode]:
    # said outright: the planner would rather read every segment of the day, whosever it is
    rows = _NODE.replace("nodes n", "nodes n INDEXED BY nodes_by_session")
    query = f"{rows} WHERE n.memory = {_MEMORY} AND n.session_id = ? AND n.first = ?"
    rest = f"AND n.level = {tables.SEGMENT} AND n.gone = 0 ORDER BY n.first_us, n.name"
    return [_known(row) for row in database.execute(f"{query} {rest}", _place(unit))]


def _grips(database: sqlite3.Connection, scope: Scope, ids: Sequence[str]) -> dict[str, Position]:
    found = {}
    for piece in in_pieces(list(dict.fromkeys(ids))):
        query = f"""
        SELECT g.id, st.name, g.sequence, g.epoch FROM grips g JOIN streams st ON st.id = g.stream
        WHERE g.memory = {_MEMORY} AND g.id IN ({placeholders(piece)})
        """  # noqa: S608 - no value
        for grip, stream, sequence, epoch in database.execute(query, (scope.key, *piece)):
            found[grip] = Position(stream=stream, sequence=sequence, epoch=epoch)
    return found


def _grips_of(database: sqlite3.Connection, scope: Scope, events: Sequence[EventId]) -> dict[EventId, list[str]]:
    found: dict[EventId, list[str]] = {}
    for piece in in_pieces(list(dict.fromkeys(events))):
        query = f"SELECT event, id FROM grips WHERE memory = {_MEMORY} AND event IN ({placeholders(piece)}) ORDER BY event, id"  # noqa: S608
        for event, grip in database.execute(query, (scope.key, *piece)):
            found.setdefault(EventId(event), []).append(grip)
    return found


def _keys(scopes: Collection[Scope]) -> str:
    """The keys of *scopes* as JSON, for any number of them in one parameter."""
    return json.dumps(sorted(scope.key for scope in scopes))


def _due_units(database: sqlite3.Connection, bounds: tuple[int, int, int], limit: int, held: str) -> list[DueUnit]:
    query = f"""
    {_UNIT} WHERE u.due = 1 AND (u.forced = 1 OR (u.last_us < ? OR u.day < ?) AND u.until_us < ?)
    AND m.scope NOT IN (SELECT value FROM json_each(?)) ORDER BY u.day, u.id LIMIT ?
    """  # noqa: S608 - no value
    return [
        DueUnit(
            unit=_unit(row),
            version=row[4],
            last_us=row[5],
            since_us=row[6],
            until_us=row[7],
            forced=bool(row[8]),
        )
        for row in database.execute(query, (*bounds, held, limit))
    ]


def _due_periods(database: sqlite3.Connection, level: Level, limit: int, held: str) -> list[DuePeriod]:
    query = """
    SELECT m.tenant, m.name, p.first, p.version, p.forced FROM periods p JOIN memories m ON m.id = p.memory
    WHERE p.level = ? AND m.scope NOT IN (SELECT value FROM json_each(?)) ORDER BY p.first, p.memory LIMIT ?
    """
    return [
        DuePeriod(scope=_scope(row), period=Period(level, date.fromordinal(row[2])), version=row[3], forced=bool(row[4]))
        for row in database.execute(query, (tables.NUMBER_OF[level], held, limit))
    ]


def _tokens(database: sqlite3.Connection, unit: Unit) -> dict[EventKey, int]:
    query = f"SELECT key, tokens FROM tokens WHERE unit = ({_UNIT_ID})"  # noqa: S608 - no value
    return {EventKey(key.hex()): tokens for key, tokens in database.execute(query, _place(unit))}


def _remember(database: sqlite3.Connection, unit: Unit, tokens: Mapping[EventKey, int]) -> None:
    row = database.execute(_UNIT_ID, _place(unit)).fetchone()
    if row is not None:
        rows = [(row[0], bytes.fromhex(key), count) for key, count in tokens.items()]
        database.executemany("INSERT OR REPLACE INTO tokens VALUES (?, ?, ?)", rows)


def _force(database: sqlite3.Connection, scope: Scope | None, since: date | None) -> int:
    conditions, values = _which(scope, since)
    changed = database.execute(f"UPDATE units SET due = 1, forced = 1 WHERE {conditions}", values).rowcount  # noqa: S608 - no value
    for level in LEVELS[:-1]:
        # the period that *since* lies in began before it
        period = None if since is None else next(one for one in Period("segment", since).ancestors if one.level == level)
        conditions, values = _which(scope, None if period is None else period.first, column="first")
        changed += database.execute(
            f"""
            INSERT INTO periods (memory, level, first, version, forced, since_us)
            SELECT memory, level, first, seen, 1, recorded_us FROM nodes WHERE level = ? AND gone = 0 AND {conditions}
            ON CONFLICT (level, first, memory) DO UPDATE SET forced = 1
            """,  # noqa: S608 - no value
            (tables.NUMBER_OF[level], *values),
        ).rowcount
    return changed


def _which(scope: Scope | None, since: date | None, column: str = "day") -> tuple[str, list[object]]:
    conditions, values = ["1"], list[object]()
    if scope is not None:
        conditions.append(f"memory = {_MEMORY}")
        values.append(scope.key)
    if since is not None:
        conditions.append(f"{column} >= ?")
        values.append(since.toordinal())
    return " AND ".join(conditions), values


def _units(database: sqlite3.Connection, scope: Scope | None, since: date | None, after: Unit | None, limit: int) -> list[Unit]:
    conditions, values = _which(scope, since)
    if after is not None:
        conditions += f" AND (u.memory, u.day, u.session_id) > ({_MEMORY}, ?, ?)"
        values += [after.scope.key, after.day.toordinal(), after.session_id]
    query = f"{_UNIT} WHERE {conditions} ORDER BY u.memory, u.day, u.session_id LIMIT ?"
    return [_unit(row) for row in database.execute(query, (*values, limit))]


def _retry_degraded(database: sqlite3.Connection, reasons: Sequence[str], before_us: int, limit: int) -> int:
    if not reasons:
        return 0  # of an empty list the planner makes a query that cannot use the index
    query = f"""
    SELECT id, memory, level, first, session_id, seen, recorded_us FROM nodes INDEXED BY nodes_degraded
    WHERE degraded <> '' AND gone = 0 AND retry_us < ? AND degraded IN ({placeholders(reasons)}) ORDER BY retry_us, id LIMIT ?
    """  # noqa: S608 - no value
    rows = database.execute(query, (before_us, *reasons, limit)).fetchall()
    # a node that comes out the same again is not written again: without this, the first few would be all that is ever tried
    database.executemany("UPDATE nodes SET retry_us = ? WHERE id = ?", [(before_us, row[0]) for row in rows])
    for _, memory, level, first, session_id, seen, recorded_us in rows:
        if level == tables.SEGMENT:
            update = "UPDATE units SET due = 1, forced = 1 WHERE memory = ? AND session_id = ? AND day = ?"
            database.execute(update, (memory, session_id, first))
        else:
            period = Period(LEVELS[level], date.fromordinal(first))
            tables.mark(database, memory, period, version=seen, forced=True, since_us=recorded_us)
    return len(rows)


def _backlog(database: sqlite3.Connection) -> Backlog:
    units, unit_us = database.execute("SELECT count(*), min(since_us) FROM units WHERE due = 1").fetchone()
    periods, period_us = database.execute("SELECT count(*), min(since_us) FROM periods").fetchone()
    since = [one for one in (unit_us, period_us) if one is not None]
    return Backlog(units=units, periods=periods, since_us=min(since, default=None))


def _forced(database: sqlite3.Connection) -> int:
    query = "SELECT (SELECT count(*) FROM units WHERE forced = 1) + (SELECT count(*) FROM periods WHERE forced = 1)"
    found: int = database.execute(query).fetchone()[0]
    return found


def _stats(database: sqlite3.Connection, scope: Scope) -> CalendarStats:
    query = "SELECT grips, versions, level0, level1, level2, level3, level4 FROM memories WHERE scope = ?"
    row = database.execute(query, (scope.key,)).fetchone() or (0,) * (2 + len(LEVELS))
    return CalendarStats(grips=row[0], versions=row[1], nodes=dict(zip(LEVELS, row[2:], strict=True)))


def _digest(database: sqlite3.Connection) -> Digest:
    live: list[tuple[str, int]] = []
    gone: list[tuple[str, int]] = []
    for key, seen, is_gone in database.execute("SELECT key, seen, gone FROM nodes"):
        (gone if is_gone else live).append((key.hex(), seen))
    return versions.fold(live, gone)


def _place(unit: Unit) -> tuple[str, str, int]:
    return unit.scope.key, unit.session_id, unit.day.toordinal()


def _scope(row: Sequence[Any]) -> Scope:
    return Scope(tenant=Tenant(row[0]), memory=MemoryName(row[1]))


def _unit(row: Sequence[Any]) -> Unit:
    return Unit(scope=_scope(row), session_id=row[2], day=date.fromordinal(row[3]))


def _known(row: Sequence[Any]) -> KnownNode:
    key, level, first, name, number, stream, sequence, epoch, mac, inputs, session_id, first_us, last_us, events, degraded, gone, at = row
    return KnownNode(
        key=EventKey(key.hex()),
        period=Period(LEVELS[level], date.fromordinal(first), name),
        number=number,
        position=Position(stream=stream, sequence=sequence, epoch=epoch),
        content_mac=mac,
        inputs=inputs,
        session_id=session_id,
        first_us=first_us,
        last_us=last_us,
        event_count=events,
        degraded=degraded,
        gone=bool(gone),
        recorded_us=at,
    )
