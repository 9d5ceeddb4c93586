"""The suite of the port ``calendar``, over every adapter that runs without a server."""

import contextlib
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contracts.calendars import (
    DAY,
    DAY_NODE,
    DAY_US,
    EVERY,
    HOUR_US,
    LOG,
    MONTH,
    WEEK,
    YEAR,
    id_of,
    messages,
    opened,
    segment,
    stored,
    touched,
    unit,
)
from tests.contracts.projections import DIMENSION, OTHER, SCOPE, killed_writer, vectors, window

from kalends.adapters.embedded import file_sums
from kalends.adapters.embedded.calendar import SqliteCalendar
from kalends.adapters.embedded.lexicon import TantivyLexicon
from kalends.adapters.embedded.vectors import EdgeVectors
from kalends.domain.errors import Damaged, Misconfigured, Unavailable
from kalends.domain.events import EventId
from kalends.domain.periods import LEVELS, period_of
from kalends.domain.positions import Position
from kalends.ports.calendar import Backlog, CalendarStats, DuePeriod, DueUnit, KnownNode, NodeStored, Touched
from kalends.wire.nodes import node_key

Reopen = Callable[[], Awaitable[SqliteCalendar]]
FAR_US = 1 << 60
TODAY = DAY + timedelta(days=1)


@pytest.fixture
async def reopen(tmp_path: Path) -> AsyncIterator[Reopen]:
    """Opens the calendar of this test anew, as after a restart."""
    held: list[SqliteCalendar] = []

    async def again() -> SqliteCalendar:
        if held:
            await held.pop().close()
        held.append(await SqliteCalendar.open(tmp_path / "calendar.db"))
        return held[0]

    yield again
    for calendar in held:
        await calendar.close()


@pytest.fixture
async def calendar(reopen: Reopen) -> SqliteCalendar:
    """An empty calendar."""
    return await reopen()


async def ids(nodes: Awaitable[Sequence[KnownNode]]) -> list[str]:
    """The nodes' ids, in order."""
    return [node.period.id for node in await nodes]


async def due(calendar: SqliteCalendar, **changes: object) -> list[DueUnit]:
    """Every unit that is due the day after, whenever its last change came."""
    asked = {"quiet_before_us": 0, "ended_before": TODAY, "settled_before_us": FAR_US, "limit": 100}
    return list(await calendar.due_units(**{**asked, **changes}))  # type: ignore[arg-type]  # one dictionary for all


async def rolls(calendar: SqliteCalendar) -> list[str]:
    """The ids of all periods that are due, the narrowest first."""
    return [one.period.id for level in reversed(LEVELS) for one in await calendar.due_periods(level, limit=100)]


# nodes and versions


async def test_what_was_put_is_known(calendar: SqliteCalendar) -> None:
    """With everything that tells a repetition from another content."""
    one = stored(DAY_NODE, "a day", version=7)
    await calendar.put([one], floors={"EVENTS_0": 7})
    known = KnownNode(
        key=node_key(SCOPE, DAY_NODE),
        period=DAY_NODE,
        number=1,
        position=Position("EVENTS_0", 7),
        content_mac=one.content_mac,
        inputs="made of 7",
        session_id="",
        first_us=DAY_US,
        last_us=DAY_US + 1,
        event_count=1,
        degraded="",
        gone=False,
        recorded_us=7,
    )

    assert await calendar.newest(SCOPE, [DAY_NODE, WEEK]) == {DAY_NODE: known}
    assert await calendar.by_keys(SCOPE, [known.key, node_key(SCOPE, WEEK)]) == {known.key: known}
    assert await calendar.floors() == {"EVENTS_0": 7}


async def test_each_message_that_says_something_new_is_a_version(calendar: SqliteCalendar) -> None:
    """The old ones stay where they are; one that says what is known is none, though the node is read there from now on."""
    await calendar.put([stored(DAY_NODE, "one"), stored(DAY_NODE, "two", version=2)], floors={})
    await calendar.put(
        [stored(DAY_NODE, "two", version=3), stored(DAY_NODE, "three", version=4), stored(DAY_NODE, "x", version=2)], floors={}
    )
    await calendar.put([stored(DAY_NODE, "three", version=9)], floors={})

    known = (await calendar.newest(SCOPE, [DAY_NODE]))[DAY_NODE]
    assert (known.number, known.position.sequence, known.inputs, known.recorded_us) == (3, 9, "made of 9", 9)
    found = [await calendar.version(SCOPE, DAY_NODE, number) for number in (0, 1, 2, 3, 4)]
    assert [one and one.sequence for one in found] == [None, 1, 2, 4, None]
    assert (await calendar.stats(SCOPE)).versions == 3


async def test_a_node_that_is_gone_is_known_and_nothing_else(calendar: SqliteCalendar) -> None:
    """In no list; that it goes and comes back are versions of it."""
    days = [stored(one, words) for one, words in ((YEAR, "y"), (WEEK, "w"), (DAY_NODE, "d"), (segment("a"), "a"))]
    await calendar.put(days, floors={})
    gone = [stored(one.period, version=2, gone=True) for one in days]
    await calendar.put(gone, floors={})

    assert [known.gone for known in (await calendar.newest(SCOPE, [one.period for one in days])).values()] == [True] * 4
    assert await calendar.by_keys(SCOPE, [one.key for one in days]) == {}
    assert await calendar.years(SCOPE) == []
    assert [await calendar.children(SCOPE, one) for one in (MONTH, WEEK, DAY_NODE)] == [[], [], []]
    assert await calendar.segments(unit()) == []
    assert await calendar.stats(SCOPE) == CalendarStats(nodes=dict.fromkeys(LEVELS, 0), versions=8)
    await calendar.put([stored(DAY_NODE, "d", version=3)], floors={})
    assert (await calendar.newest(SCOPE, [DAY_NODE]))[DAY_NODE].number == 3
    assert await ids(calendar.children(SCOPE, WEEK)) == [DAY_NODE.id]


async def test_a_memory_never_sees_another(calendar: SqliteCalendar) -> None:
    """In no answer."""
    await calendar.put(
        [stored(DAY_NODE, scope=OTHER), stored(YEAR, scope=OTHER), stored(segment("a"), scope=OTHER, grips=["e"])], floors={}
    )
    await calendar.put([touched("s", version=5, scope=OTHER)], floors={})
    await calendar.remember_tokens(unit(scope=OTHER), {node_key(OTHER, DAY_NODE): 5})
    key = node_key(OTHER, DAY_NODE)

    assert await calendar.newest(SCOPE, [DAY_NODE]) == await calendar.by_keys(SCOPE, [key]) == {}
    assert await calendar.years(SCOPE) == await calendar.children(SCOPE, WEEK) == await calendar.segments(unit()) == []
    assert await calendar.version(SCOPE, DAY_NODE, 1) is None
    assert await calendar.grips(SCOPE, [id_of("e")]) == await calendar.grips_of(SCOPE, [EventId("e")]) == {}
    assert await calendar.tokens(unit()) == {}
    assert await calendar.stats(SCOPE) == CalendarStats(nodes=dict.fromkeys(LEVELS, 0))
    assert await calendar.force(scope=SCOPE, since=None) == 0
    assert await calendar.units(scope=SCOPE, since=None, after=None, limit=9) == []


@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_children_come_oldest_first_whatever_the_pages(calendar: SqliteCalendar, limit: int) -> None:
    """Segments by their first event, then by name; days and years by date; of exactly this parent."""
    hours = {"c": 3, "a": 9, "b": 3, "d": 1}
    nodes = [stored(segment(name), at_us=DAY_US + hour * HOUR_US) for name, hour in hours.items()]
    nodes += [stored(segment("e", day=DAY + timedelta(days=1))), *(stored(f"toc:day:2026-01-{day}") for day in (25, 26, 31))]
    nodes += [stored(DAY_NODE), *(stored(f"toc:year:{year}") for year in ("2027", "0001", "2025", "9999"))]
    await calendar.put(nodes, floors={})

    async def pages(list_: Callable[..., Awaitable[Sequence[KnownNode]]], *arguments: object) -> list[str]:
        found: list[KnownNode] = []
        while page := await list_(SCOPE, *arguments, after=found[-1].period if found else None, limit=limit):
            found += page
        return [node.period.id for node in found]

    assert await pages(calendar.children, DAY_NODE) == [segment(name).id for name in "dbca"]
    assert await pages(calendar.children, WEEK) == ["toc:day:2026-01-26", DAY_NODE.id, "toc:day:2026-01-31"]
    assert await pages(calendar.children, segment("a")) == []
    assert await pages(calendar.years) == ["toc:year:0001", "toc:year:2025", "toc:year:2027", "toc:year:9999"]


async def test_the_segments_of_a_unit_are_those_of_its_session_on_its_day(calendar: SqliteCalendar) -> None:
    """Oldest first."""
    await calendar.put(
        [
            stored(segment("a"), at_us=DAY_US + 2),
            stored(segment("b"), at_us=DAY_US + 1),
            stored(segment("c"), session="t"),
            stored(segment("d", day=TODAY)),
        ],
        floors={},
    )

    assert await ids(calendar.segments(unit())) == [segment("b").id, segment("a").id]
    assert await ids(calendar.segments(unit("t"))) == [segment("c").id]


# grips


async def test_a_grip_is_found_in_the_newest_segment_that_has_it(calendar: SqliteCalendar) -> None:
    """Also when its segment was cut anew; what an older version had is still found there; nodes above only cite."""
    await calendar.put([stored(segment("a"), "one", grips=["e", "f"]), stored(DAY_NODE, grips=["e", "other"], version=2)], floors={})
    await calendar.put([stored(segment("a"), "two", grips=["f", "g"], version=3)], floors={})
    await calendar.put([stored(segment("a"), version=4, gone=True), stored(segment("b"), grips=["f"], version=5)], floors={})

    found = await calendar.grips(SCOPE, [id_of(name) for name in ("e", "f", "g", "other", "never")])
    assert {name: one.sequence for name, one in found.items()} == {id_of("e"): 1, id_of("f"): 5, id_of("g"): 3}
    assert (await calendar.stats(SCOPE)).grips == 3


async def test_the_grips_of_an_event_are_those_whose_excerpt_is_of_it(calendar: SqliteCalendar) -> None:
    """By id; an event without one is left out, and a repetition adds none."""
    one = stored(segment("a"))
    pairs = tuple((f"grip:{number}", EventId(event)) for number, event in enumerate(["f", "e", "e"]))
    await calendar.put([replace(one, grips=pairs)], floors={})
    await calendar.put([replace(one, grips=pairs[:2], content_mac=b"new", position=Position("EVENTS_0", 2))], floors={})

    many = [EventId(f"n{number}") for number in range(1200)]
    found = await calendar.grips_of(SCOPE, [EventId("e"), EventId("g"), EventId("e"), *many, EventId("f")])
    assert found == {"e": ["grip:1", "grip:2"], "f": ["grip:0"]}
    assert await calendar.grips_of(SCOPE, []) == {}
    assert (await calendar.stats(SCOPE)).grips == 3


# what is to be done


async def test_a_unit_is_due_when_it_is_quiet_or_its_day_is_over(calendar: SqliteCalendar) -> None:
    """And its newest change came long enough ago; the oldest day first."""
    yesterday = DAY - timedelta(days=1)
    changes = [touched("s", version=3, recorded_us=50), touched("s", version=4, at_us=DAY_US, recorded_us=60), touched("t", version=5)]
    await calendar.put([*changes, touched("u", version=6, day=yesterday)], floors={})
    noon = DAY_US + 12 * HOUR_US

    assert (
        await due(calendar, ended_before=DAY, limit=1)
        == await due(calendar, ended_before=DAY)
        == [DueUnit(unit=unit("u", day=yesterday), version=6, last_us=noon - 24 * HOUR_US, since_us=6, until_us=6, forced=False)]
    )
    everything = await due(calendar)
    assert [one.unit.session_id for one in everything] == ["u", "s", "t"]
    assert everything[1] == DueUnit(unit=unit(), version=4, last_us=noon, since_us=50, until_us=60, forced=False)
    quiet = {"ended_before": yesterday, "quiet_before_us": noon}
    assert [one.unit.session_id for one in await due(calendar, **quiet)] == ["u"]
    assert len(await due(calendar, **{**quiet, "quiet_before_us": noon + 1})) == 3
    assert [one.unit.session_id for one in await due(calendar, settled_before_us=60)] == ["u", "t"]


async def test_a_settled_unit_is_due_again_only_for_something_newer(calendar: SqliteCalendar) -> None:
    """Neither for a repetition nor for what came before; a change during the work leaves it due."""
    await calendar.put([touched(version=3), touched(version=5)], floors={})
    await calendar.settle_unit(unit(), version=3)
    assert [one.version for one in await due(calendar)] == [5]
    await calendar.settle_unit(unit(), version=5)
    await calendar.settle_unit(unit(), version=3)
    await calendar.put([touched(version=5), touched(version=4)], floors={})
    assert await due(calendar) == []

    await calendar.put([touched(version=9)], floors={})
    assert [(one.version, one.since_us) for one in await due(calendar)] == [(9, 9)]


async def test_a_force_that_comes_during_the_work_leaves_it_due(calendar: SqliteCalendar) -> None:
    """Work that was not by force has written nothing that was there already, which is what a force is for."""
    await calendar.put([touched(version=3), stored(DAY_NODE, version=4)], floors={})
    (found,), (week,) = await due(calendar), await calendar.due_periods("week", limit=9)
    await calendar.force(scope=None, since=None)
    await calendar.put([stored(WEEK, version=5)], floors={})
    await calendar.force(scope=None, since=None)
    await calendar.settle_unit(found.unit, version=found.version, forced=found.forced)
    await calendar.settle_period(SCOPE, week.period, version=week.version, forced=week.forced)

    (found,), (week,) = await due(calendar), await calendar.due_periods("week", limit=9)
    assert (found.forced, week.forced) == (True, True)
    await calendar.settle_unit(found.unit, version=found.version, forced=found.forced)
    await calendar.settle_period(SCOPE, week.period, version=week.version, forced=week.forced)
    assert (await due(calendar), await calendar.due_periods("week", limit=9)) == ([], [])


async def test_a_new_version_makes_its_parent_due_and_nothing_else(calendar: SqliteCalendar) -> None:
    """One that says what is known does not; a year has no parent."""
    await calendar.put([stored(segment("a"), version=4), stored(segment("b"), version=6)], floors={})
    assert await rolls(calendar) == [DAY_NODE.id]
    assert await calendar.due_periods("day", limit=9) == [DuePeriod(scope=SCOPE, period=DAY_NODE, version=6, forced=False)]
    await calendar.settle_period(SCOPE, DAY_NODE, version=4)
    assert await rolls(calendar) == [DAY_NODE.id]
    await calendar.settle_period(SCOPE, DAY_NODE, version=6)
    await calendar.put([stored(segment("a"), version=7), stored(segment("b"), version=6)], floors={})
    assert await rolls(calendar) == []

    await calendar.put([stored(YEAR, version=8), stored(segment("a"), version=9, gone=True)], floors={})
    assert await rolls(calendar) == [DAY_NODE.id]


async def test_a_force_makes_everything_from_a_date_on_due(calendar: SqliteCalendar) -> None:
    """Quiet or not; what began before the date and goes on after it is above a unit too."""
    before, later = date(2026, 1, 28), date(2026, 2, 2)
    await calendar.put([touched(version=place, day=day) for place, day in enumerate((before, DAY, later), start=1)], floors={})
    await calendar.put(
        [stored(name, version=9) for name in (*EVERY, "toc:day:2026-01-28", "toc:day:2026-02-02", "toc:week:2026-W06")], floors={}
    )
    for one in await due(calendar, ended_before=date.max):
        await calendar.settle_unit(one.unit, version=one.version)
    for level in LEVELS:
        for period in await calendar.due_periods(level, limit=9):
            await calendar.settle_period(SCOPE, period.period, version=period.version)

    assert await calendar.force(scope=SCOPE, since=DAY) == 2 + 2 + 2 + 1 + 1 == await calendar.forced()
    assert [one.unit.day for one in await due(calendar, ended_before=date.min, settled_before_us=0)] == [DAY, later]
    assert await rolls(calendar) == [DAY_NODE.id, "toc:day:2026-02-02", WEEK.id, "toc:week:2026-W06", MONTH.id, YEAR.id]
    assert await calendar.force(scope=None, since=None) == 3 + 3 + 2 + 1 + 1 == await calendar.forced()
    assert (await calendar.backlog()).units == 3


async def test_units_are_listed_in_a_fixed_order_for_ever(calendar: SqliteCalendar) -> None:
    """Also the settled ones, over all memories."""
    changes = [touched(name, version=at + 1, day=DAY + timedelta(days=at % 2)) for at, name in enumerate("cab")]
    await calendar.put([*changes, touched("z", version=9, scope=OTHER)], floors={})
    await calendar.settle_unit(unit("a", day=TODAY), version=2)
    expected = [unit("b"), unit("c"), unit("a", day=TODAY), unit("z", scope=OTHER)]
    found = []
    while page := await calendar.units(scope=None, since=None, after=found[-1] if found else None, limit=1):
        found += page

    assert found == expected
    assert await calendar.units(scope=SCOPE, since=TODAY, after=None, limit=9) == [unit("a", day=TODAY)]


async def test_tokens_are_remembered_for_the_next_time(calendar: SqliteCalendar) -> None:
    """A later count replaces an earlier one; of a unit that never had an event nothing is kept."""
    one, other = node_key(SCOPE, DAY_NODE), node_key(SCOPE, WEEK)
    await calendar.put([touched(version=1)], floors={})
    await calendar.remember_tokens(unit(), {one: 5, other: 6})
    await calendar.remember_tokens(unit(), {one: 7})
    await calendar.remember_tokens(unit("never"), {one: 1})

    assert await calendar.tokens(unit()) == {one: 7, other: 6}
    assert await calendar.tokens(unit("never")) == {}


async def test_degraded_nodes_are_tried_again_one_after_the_other(calendar: SqliteCalendar) -> None:
    """Those that come out the same are not written, and must not keep the others from their turn."""
    await calendar.put([touched(version=1), *(touched(name, version=2) for name in "abc")], floors={})
    nodes = [stored(segment(name), session=name, degraded="away", version=5 + at) for at, name in enumerate("abc")]
    nodes += [stored(segment("d"), degraded="broken", version=8), stored(segment("e"), degraded="away", gone=True, version=9)]
    await calendar.put([*nodes, stored(WEEK, degraded="away", version=10)], floors={})
    for one in await due(calendar):
        await calendar.settle_unit(one.unit, version=one.version)
    tried = []
    for now in range(20, 24):
        assert await calendar.retry_degraded(["away", "slow"], before_us=now, limit=1) == 1
        tried += [one.unit.session_id for one in await due(calendar) if one.forced]
        tried += [one.period.id for one in await calendar.due_periods("week", limit=9) if one.forced]
        for unit_ in await due(calendar):
            await calendar.settle_unit(unit_.unit, version=unit_.version)

    assert tried == ["a", "b", "c", WEEK.id]
    assert await calendar.retry_degraded(["away"], before_us=5, limit=9) == 0
    assert await calendar.retry_degraded([], before_us=FAR_US, limit=9) == 0
    await calendar.put([stored(segment("a"), session="a", version=30)], floors={})
    assert await calendar.retry_degraded(["away"], before_us=FAR_US, limit=9) == 3


async def test_the_backlog_counts_what_is_due_and_since_when(calendar: SqliteCalendar) -> None:
    """Nothing is due in an empty calendar."""
    assert await calendar.backlog() == Backlog()
    await calendar.put([touched(version=3, recorded_us=40), touched("t", version=4, recorded_us=50)], floors={})
    await calendar.put([stored(DAY_NODE, version=5, recorded_us=30)], floors={})
    assert await calendar.backlog() == Backlog(units=2, periods=1, since_us=30)
    await calendar.settle_period(SCOPE, WEEK, version=5)
    await calendar.settle_unit(unit(), version=3)
    assert await calendar.backlog() == Backlog(units=1, periods=0, since_us=50)


# the log


async def test_a_batch_and_its_floors_are_one(calendar: SqliteCalendar) -> None:
    """A batch that fails leaves neither rows nor floors; a floor never falls."""
    broken = replace(stored(WEEK, version=2), content_mac=object())

    with pytest.raises(Unavailable):
        await calendar.put([stored(DAY_NODE), touched(version=1), broken], floors={"EVENTS_0": 2})
    assert (await calendar.floors(), await calendar.newest(SCOPE, [DAY_NODE]), await due(calendar), await rolls(calendar)) == (
        {},
        {},
        [],
        [],
    )
    await calendar.put([stored(DAY_NODE)], floors={"EVENTS_0": 4, "EVENTS_1": 9})
    await calendar.put([], floors={"EVENTS_0": 3, "EVENTS_1": 10})
    assert await calendar.floors() == {"EVENTS_0": 4, "EVENTS_1": 10}


async def test_killing_the_writer_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """And the floor is the one of the last batch that is there."""
    async with killed_writer("calendar", tmp_path, batches=40) as names:
        calendar = await SqliteCalendar.open(tmp_path / "calendar.db")
        try:
            sessions = {one.session_id for one in await calendar.units(scope=None, since=None, after=None, limit=1_000_000)}
            assert set(names) <= sessions
            assert await calendar.floors() == {"EVENTS_0": len(sessions) // 10}
        finally:
            await calendar.close()


@pytest.mark.parametrize(
    ("harm", "error"), [(b"no database at all" * 99, Damaged), (None, Misconfigured)], ids=["damaged", "another version"]
)
async def test_a_file_that_cannot_be_used_says_so(calendar: SqliteCalendar, tmp_path: Path, harm: bytes | None, error: type) -> None:
    """So that whoever opens it knows that deleting it helps."""
    await calendar.close()
    if harm is None:
        with contextlib.closing(sqlite3.connect(tmp_path / "calendar.db")) as database:
            database.execute("PRAGMA user_version = 99")
        file_sums.leave(tmp_path / "calendar.db")
    else:
        (tmp_path / "calendar.db").write_bytes(harm)

    with pytest.raises(error):
        await SqliteCalendar.open(tmp_path / "calendar.db")


async def test_what_was_put_is_there_after_a_restart(calendar: SqliteCalendar, reopen: Reopen) -> None:
    """Nodes, what is due, and the floor."""
    await calendar.put([stored(DAY_NODE), touched(version=2)], floors={"EVENTS_0": 2})
    before = await state(calendar)

    assert await state(await reopen()) == before


async def state(calendar: SqliteCalendar) -> list[object]:
    """Everything that the calendar can be asked for about the nodes and units of these tests."""
    places = [*(period_of(name) for name in EVERY), segment("a"), segment("b"), segment("c")]
    found: list[object] = [await calendar.digest(), await calendar.backlog(), await calendar.forced()]
    for scope in (SCOPE, OTHER):
        found += [await calendar.newest(scope, places), await calendar.stats(scope), await calendar.segments(unit(scope=scope))]
        found += [[await calendar.version(scope, place, number) for number in range(1, 6)] for place in places]
        names = [EventId(name) for name in "efg"]
        found += [await calendar.grips_of(scope, names), await calendar.grips(scope, [id_of(name) for name in "efg"])]
    for level in LEVELS:
        found.append(sorted(await calendar.due_periods(level, limit=99), key=lambda one: (one.scope, one.period)))
    found.append(sorted(await due(calendar), key=lambda one: (one.unit.scope, one.unit.day, one.unit.session_id)))
    return found


@given(drawn=LOG, data=st.data())
@settings(max_examples=40)
async def test_the_state_depends_on_the_log_alone(tmp_path_factory: pytest.TempPathFactory, drawn, data: st.DataObject) -> None:
    """Not on how it was cut into batches, nor on what was read twice, nor on how memories were mixed."""
    log = messages(drawn)
    one = await SqliteCalendar.open(tmp_path_factory.mktemp("one") / "calendar.db")
    other = await SqliteCalendar.open(tmp_path_factory.mktemp("other") / "calendar.db")
    try:
        for change in log:
            await one.put([change], floors={})
        by_memory = sorted(log, key=lambda change: (change.unit.scope if isinstance(change, Touched) else change.scope) != SCOPE)
        mixed = data.draw(st.sampled_from([log, by_memory]))
        done = 0
        while done < len(mixed):
            again, more = data.draw(st.integers(0, done)), data.draw(st.integers(1, 8))
            await other.put(mixed[again : done + more], floors={})
            done += more
        assert await state(one) == await state(other)
    finally:
        await one.close()
        await other.close()


@given(drawn=LOG, data=st.data())
@settings(max_examples=10)
async def test_the_digest_is_the_one_of_the_search_projections(
    tmp_path_factory: pytest.TempPathFactory, drawn, data: st.DataObject
) -> None:
    """For the same messages, each in an order of its own: the newest message of a node counts, whether or not it is a version."""
    log = [one for one in messages(drawn) if isinstance(one, NodeStored)]
    nodes = [opened(one.period, version=one.position.version, scope=one.scope, gone=one.gone) for one in log]
    calendar = await SqliteCalendar.open(tmp_path_factory.mktemp("calendar") / "calendar.db")
    lexicon = await TantivyLexicon.open(tmp_path_factory.mktemp("lexicon"))
    edge = await EdgeVectors.open(tmp_path_factory.mktemp("vectors"), identity="test", dimension=DIMENSION)
    try:
        for one in data.draw(st.permutations(log)):
            await calendar.put([one], floors={})
        for node in data.draw(st.permutations(nodes)):
            await lexicon.put(node.entries(), node.tombstones())
            await edge.put([vectors(entry, window("w")) for entry in node.entries()], node.tombstones())
        assert await calendar.digest() == await lexicon.digest() == await edge.digest()
    finally:
        await calendar.close()
        await lexicon.close()
        await edge.close()
