"""Holds: what overlaps one is refused, and its name told."""

import pytest
from tests.unit.wire.test_erasures import HERE, THERE, Place
from tests.unit.wire.test_selecting import Timeline, known

from kalends.domain.erasures import Hold, Selector
from kalends.domain.errors import UnderHold
from kalends.domain.events import EventId
from kalends.domain.scope import Scope
from kalends.wire.holding import Holds
from kalends.wire.selecting import Select

SESSION = Selector(kind="session_id", session="s")
RANGE = Selector(kind="range", since_us=10, until_us=20)
EVERYTHING = Selector(kind="everything")


async def refused(hold: Selector, wanted: Selector, *, scope: Scope = HERE) -> bool:
    """Whether *hold*, which is of ``HERE``, keeps *wanted* from being erased."""
    place = Place()
    await place.store.hold(Hold(name="case-7", scope=HERE, selector=hold, set_by="t", set_us=1))
    timeline = Timeline(known("early", session="s", at=1), known("in", session="s", at=15), known("late", session="t", at=30))
    holds = Holds(store=place.store, select=Select(timeline=timeline, source=None, reader=None))
    try:
        await holds.check(scope, wanted)
    except UnderHold as error:
        return "case-7" in error.detail
    return False


@pytest.mark.parametrize(
    ("hold", "wanted", "kept"),
    [
        (EVERYTHING, Selector(kind="event_ids", event_ids=(EventId("late"),)), True),
        (SESSION, EVERYTHING, True),
        (RANGE, EVERYTHING, True),
        (SESSION, SESSION, True),
        (SESSION, Selector(kind="session_id", session="t"), False),
        (SESSION, RANGE, True),
        (SESSION, Selector(kind="range", since_us=25), False),
        (SESSION, Selector(kind="event_ids", event_ids=(EventId("early"),)), True),
        (SESSION, Selector(kind="event_ids", event_ids=(EventId("late"),)), False),
        (RANGE, SESSION, True),
        (RANGE, Selector(kind="session_id", session="t"), False),
        (RANGE, Selector(kind="range", until_us=10), False),
        (RANGE, Selector(kind="range", since_us=15), True),
    ],
)
async def test_what_overlaps_a_hold_by_one_event_is_refused(hold, wanted, kept):
    """And nothing else is."""
    assert await refused(hold, wanted) is kept


async def test_a_hold_is_of_its_memory_only():
    """Another memory's events go."""
    assert not await refused(EVERYTHING, EVERYTHING, scope=THERE)
