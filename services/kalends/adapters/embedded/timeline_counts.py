"""Sessions and counts of the timeline, of a whole memory or of what somebody may see of it.

Belongs here: the questions that counters answer. Does not belong here: keeping the counters (``timeline_tables``), questions for single
events (``timeline``). A newcomer would get wrong: the counters count everything; for somebody who may not see everything, sessions that
have an event with a label are counted anew, and only those.
"""

import sqlite3
from typing import Any

from kalends.domain.labels import EVERYTHING, Clearance
from kalends.domain.queries import visible_tags
from kalends.domain.scope import Scope
from kalends.ports.timeline import MemoryStats, SessionSummary

_MEMORY = "(SELECT id FROM memories WHERE scope = ?)"
_COUNTED = f"SELECT session_id, events, first_us, last_us FROM sessions WHERE memory = {_MEMORY} AND events > 0"  # noqa: S608 - no value in it
_SEEN = f"""
SELECT se.session_id, count(*) AS events, min(e.at) AS first_us, max(e.at) AS last_us, sum(e.size) AS bytes, se.chunks > 0 AS document
FROM sessions se INDEXED BY sessions_labelled JOIN events e INDEXED BY events_by_session ON e.session = se.id
WHERE se.memory = {_MEMORY} AND se.labelled > 0 AND e.live = 1 AND (e.labelled = 0 OR {{tags}})
"""  # noqa: S608 - no value in it
_EITHER = """
SELECT session_id, events, first_us, last_us
FROM ({counted} UNION ALL SELECT session_id, events, first_us, last_us FROM ({seen})) WHERE 1
"""
_LABELLED = f"""
SELECT coalesce(sum(events), 0), coalesce(sum(chunks > 0), 0), coalesce(sum(chunks = 0), 0)
FROM sessions INDEXED BY sessions_labelled WHERE memory = {_MEMORY} AND labelled > 0
"""  # noqa: S608 - no value in it
_BYTES = f"""
SELECT coalesce(sum(e.size), 0) FROM sessions se INDEXED BY sessions_labelled
JOIN events e INDEXED BY events_by_session ON e.session = se.id WHERE se.memory = {_MEMORY} AND se.labelled > 0 AND e.live = 1
"""  # noqa: S608 - no value in it


def sessions(
    database: sqlite3.Connection, scope: Scope, *, after: tuple[int, str] | None, limit: int, clearance: Clearance = EVERYTHING
) -> list[SessionSummary]:
    """Sessions, the latest first, without those that are documents."""
    query, parameters = _summaries(scope, clearance, only="chunks = 0")
    if after is not None:
        query += " AND last_us <= ? AND (last_us < ? OR session_id > ?)"
        parameters += [after[0], *after]
    rows = database.execute(f"{query} ORDER BY last_us DESC, session_id LIMIT ?", (*parameters, limit))
    return [_summary(row) for row in rows]


def session(database: sqlite3.Connection, scope: Scope, session_id: str, *, clearance: Clearance = EVERYTHING) -> SessionSummary | None:
    """One session, if there is anything in it to be seen."""
    query, parameters = _summaries(scope, clearance)
    row = database.execute(f"{query} AND session_id = ?", (*parameters, session_id)).fetchone()
    return None if row is None else _summary(row)


def stats(database: sqlite3.Connection, scope: Scope, *, clearance: Clearance = EVERYTHING) -> MemoryStats:
    """Counts of one memory."""
    row = database.execute("SELECT id, events, documents, sessions, bytes FROM memories WHERE scope = ?", (scope.key,)).fetchone()
    if row is None:
        return MemoryStats()
    memory, *counted = row
    if clearance.labels is not None:
        return _stats_of_seen(database, scope, counted, clearance)
    events, documents, of_talk, size = counted
    query = "SELECT at FROM events WHERE memory = ? AND live = 1 ORDER BY at {} LIMIT 1"
    ends = [database.execute(query.format(order), (memory,)).fetchone() for order in ("ASC", "DESC")]
    first, last = (None if end is None else end[0] for end in ends)
    return MemoryStats(events=events, documents=documents, sessions=of_talk, log_bytes=size, first_us=first, last_us=last)


def _stats_of_seen(database: sqlite3.Connection, scope: Scope, counted: list[int], clearance: Clearance) -> MemoryStats:
    """The counters without the sessions that have an event with a label, and what may be seen of these."""
    events, documents, of_talk, size = counted
    labelled = database.execute(_LABELLED, (scope.key,)).fetchone()
    (bytes_of_labelled,) = database.execute(_BYTES, (scope.key,)).fetchone()
    query, parameters = _seen(scope, clearance)
    seen = database.execute(f"{query} GROUP BY se.id", parameters).fetchall()
    plain = "SELECT min(first_us), max(last_us) FROM sessions WHERE memory = {} AND events > 0 AND labelled = 0"
    first, last = database.execute(plain.format(_MEMORY), (scope.key,)).fetchone()
    firsts = [at for at in (first, *(row[2] for row in seen)) if at is not None]
    lasts = [at for at in (last, *(row[3] for row in seen)) if at is not None]
    return MemoryStats(
        events=events - labelled[0] + sum(row[1] for row in seen),
        documents=documents - labelled[1] + sum(row[5] for row in seen),
        sessions=of_talk - labelled[2] + sum(not row[5] for row in seen),
        log_bytes=size - bytes_of_labelled + sum(row[4] for row in seen),
        first_us=min(firsts, default=None),
        last_us=max(lasts, default=None),
    )


def _seen(scope: Scope, clearance: Clearance) -> tuple[str, list[Any]]:
    """What may be seen of the sessions that have an event with a label, not grouped yet."""
    tags = visible_tags(clearance.labels or ())
    return _SEEN.format(tags=" OR ".join(["instr(e.tags, ?) > 0"] * len(tags))), [scope.key, *(f" {tag} " for tag in tags)]


def _summaries(scope: Scope, clearance: Clearance, *, only: str = "1") -> tuple[str, list[Any]]:
    """A query for sessions, which takes further conditions at its end."""
    if clearance.labels is None:
        return f"{_COUNTED} AND {only}", [scope.key]
    seen, parameters = _seen(scope, clearance)
    return _EITHER.format(counted=f"{_COUNTED} AND {only} AND labelled = 0", seen=f"{seen} AND {only} GROUP BY se.id"), [
        scope.key,
        *parameters,
    ]


def _summary(row: tuple[str, int, int, int]) -> SessionSummary:
    session_id, events, first, last = row
    return SessionSummary(session_id=session_id, events=events, first_us=first, last_us=last)
