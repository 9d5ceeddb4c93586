"""Arrivals: whose calendar waits, and for how long."""

import pytest
from tests.support.clocks import SimulatedClock
from tests.support.records import MemoryRecords

from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.wire.arrivals import HELD_S, Arrivals

NOTES, DIARY = (Scope(Tenant("acme"), MemoryName(name)) for name in ("notes", "diary"))


@pytest.fixture
def clock() -> SimulatedClock:
    """Time that passes when the test says so."""
    return SimulatedClock()


async def test_a_calendar_waits_until_it_is_released(clock: SimulatedClock) -> None:
    """In every process, and only its own."""
    records = MemoryRecords()
    here, there = Arrivals(records=records, clock=clock), Arrivals(records=records, clock=clock)
    await here.hold(NOTES)
    await here.hold(DIARY)
    assert await there.held() == {NOTES, DIARY}

    await there.release(DIARY)
    assert await here.held() == {NOTES}


async def test_a_calendar_waits_a_minute_for_an_import_of_which_nothing_is_heard(clock: SimulatedClock) -> None:
    """And as long as something is."""
    arrivals = Arrivals(records=MemoryRecords(), clock=clock)
    for _ in range(5):
        await arrivals.hold(NOTES)
        await clock.advance(seconds=HELD_S * 0.6)
        assert await arrivals.held() == {NOTES}
    await clock.advance(seconds=HELD_S * 0.4)
    assert await arrivals.held() == frozenset()
