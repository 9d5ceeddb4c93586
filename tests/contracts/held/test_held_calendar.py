"""The suite of the port ``calendar``, what it does about memories whose calendar waits.

Belongs here: that nothing of them is due. Does not belong here: what makes them wait (``tests/unit/wire/test_arrivals``). A newcomer would
get wrong: what is held stays due, and is told as soon as it is not held any more.
"""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.contracts.calendars import DAY, DAY_NODE, stored, touched
from tests.contracts.projections import OTHER, SCOPE

from kalends.adapters.embedded.calendar import SqliteCalendar
from kalends.domain.scope import Scope


@pytest.fixture
async def calendar(tmp_path: Path) -> AsyncIterator[SqliteCalendar]:
    """In which a unit of two memories is due, and a week of one."""
    opened = await SqliteCalendar.open(tmp_path / "calendar.db")
    other = touched("s", version=2, scope=OTHER)
    await opened.put([touched("s", version=1), other, stored(DAY_NODE, "a day", version=3)], floors={})
    yield opened
    await opened.close()


async def due(calendar: SqliteCalendar, *held: Scope) -> tuple[set[Scope], set[Scope]]:
    """Of which memories units and weeks are due."""
    units = await calendar.due_units(quiet_before_us=0, ended_before=DAY + timedelta(days=1), settled_before_us=1 << 60, limit=9, held=held)
    weeks = await calendar.due_periods("week", limit=9, held=held)
    return {one.unit.scope for one in units}, {one.scope for one in weeks}


async def test_nothing_of_a_memory_that_is_held_is_due(calendar: SqliteCalendar) -> None:
    """Neither its units nor its periods; those of others are."""
    assert await due(calendar, SCOPE) == ({OTHER}, set())
    assert await due(calendar, OTHER) == ({SCOPE}, {SCOPE})
    assert await due(calendar, SCOPE, OTHER) == (set(), set())


async def test_what_was_held_is_due_when_it_is_held_no_more(calendar: SqliteCalendar) -> None:
    """Nothing is forgotten meanwhile."""
    await due(calendar, SCOPE, OTHER)
    assert await due(calendar) == ({SCOPE, OTHER}, {SCOPE})
