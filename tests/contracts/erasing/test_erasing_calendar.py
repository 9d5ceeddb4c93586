"""The suite of the port ``calendar``, what it does about erased nodes and events.

Belongs here: that an erased node leaves the number of its versions and their places and nothing else. Does not belong here: what ordinary
changes do (``test_calendar``). A newcomer would get wrong: an erased node is not deleted, for the number of its next version must go on,
also in a calendar that is built from a log in which the erased messages do not exist.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contracts.calendars import DAY, DAY_NODE, MONTH, WEEK, YEAR, id_of, segment, stored, touched, unit
from tests.contracts.projections import OTHER, SCOPE, key_of
from tests.support.files import files_with

from kalends.adapters.embedded.calendar import SqliteCalendar
from kalends.domain.events import EventId
from kalends.domain.periods import Period
from kalends.domain.positions import Position
from kalends.domain.queries import tag
from kalends.domain.scope import Scope
from kalends.ports.calendar import ErasedNode, NodesErased, NodeStored, Touched
from kalends.ports.timeline import Erased
from kalends.wire.nodes import node_key

Reopen = Callable[[], Awaitable[SqliteCalendar]]
Change = Touched | NodeStored | NodesErased | Erased
LATEST_US = 1 << 60


@pytest.fixture
async def reopen(tmp_path: Path) -> AsyncIterator[Reopen]:
    """Opens the calendar of this test anew, as after a restart."""
    opened: list[SqliteCalendar] = []

    async def again() -> SqliteCalendar:
        if opened:
            await opened.pop().close()
        opened.append(await SqliteCalendar.open(tmp_path / "calendar.db"))
        return opened[0]

    yield again
    for calendar in opened:
        await calendar.close()


@pytest.fixture
async def calendar(reopen: Reopen) -> SqliteCalendar:
    """An empty calendar."""
    return await reopen()


def nodes_erased(*nodes: tuple[Period, int], version: int, scope: Scope = SCOPE) -> NodesErased:
    """Nodes and the numbers of their newest versions, erased by the message at *version*."""
    gone = tuple(ErasedNode(key=node_key(scope, period), period=period, number=number) for period, number in nodes)
    return NodesErased(scope=scope, nodes=gone, position=Position("EVENTS_0", version), recorded_us=version)


def places(*sequences: int) -> tuple[Position, ...]:
    """Places in the first stream."""
    return tuple(Position("EVENTS_0", sequence) for sequence in sequences)


async def test_an_erased_node_is_gone_and_its_next_version_goes_on(calendar: SqliteCalendar, reopen: Reopen) -> None:
    """No version of it has a place any more, whoever asks is told up to where they were erased, and the next number is the next."""
    await calendar.put([stored(DAY_NODE, "one", version=1), stored(DAY_NODE, "two", version=2), stored(WEEK, version=3)], floors={})

    await calendar.put([nodes_erased((DAY_NODE, 2), version=4)], floors={"EVENTS_0": 4})

    calendar = await reopen()
    assert [await calendar.version(SCOPE, DAY_NODE, number) for number in (1, 2)] == [None, None]
    assert (await calendar.erased(SCOPE, DAY_NODE), await calendar.erased(SCOPE, WEEK)) == (2, 0)
    known = (await calendar.newest(SCOPE, [DAY_NODE]))[DAY_NODE]
    assert (known.gone, known.content_mac, known.inputs, known.event_count, known.number) == (True, b"", "", 0, 2)
    assert (await calendar.stats(SCOPE)).versions == 1
    await calendar.put([stored(DAY_NODE, "three", version=9)], floors={})
    assert await calendar.version(SCOPE, DAY_NODE, 3) == Position("EVENTS_0", 9)
    assert (await calendar.newest(SCOPE, [DAY_NODE]))[DAY_NODE].number == 3
    assert await calendar.erased(SCOPE, DAY_NODE) == 2


async def test_a_calendar_without_the_messages_counts_on_all_the_same(calendar: SqliteCalendar) -> None:
    """Where the erased messages are in the log no more, the erasure alone says how many there were; the same again changes nothing."""
    change = nodes_erased((DAY_NODE, 2), version=4)
    await calendar.put([change], floors={})
    await calendar.put([stored(DAY_NODE, "three", version=9), change], floors={})

    assert (await calendar.newest(SCOPE, [DAY_NODE]))[DAY_NODE].number == 3
    assert await calendar.version(SCOPE, DAY_NODE, 3) == Position("EVENTS_0", 9)
    assert await calendar.version(SCOPE, DAY_NODE, 1) is None


async def test_histories_tell_every_message_of_the_nodes_over_a_unit(calendar: SqliteCalendar) -> None:
    """Repeats and nodes that are gone included; those of another session's segments, another day and another memory are not."""
    other_day = DAY.replace(day=2)
    log: list[Change] = [
        stored(segment("a"), "one", version=1),
        stored(segment("a"), "one", version=2),
        stored(segment("b"), version=3, gone=True),
        stored(segment("c"), version=4, session="another"),
        stored(DAY_NODE, version=5),
        stored(segment("d", day=other_day), version=6),
        stored(DAY_NODE, "more", version=7, scope=OTHER),
        stored(YEAR, version=8),
    ]
    await calendar.put(log, floors={})

    found = {one.period: one for one in await calendar.histories([unit(), unit()])}

    assert {period: one.standing for period, one in found.items()} == {
        YEAR: places(8),
        DAY_NODE: places(5),
        segment("a"): places(1, 2),
        segment("b"): places(3),
    }
    assert found[segment("a")].number == 1
    keys = [one.key for one in found.values()]
    await calendar.put([nodes_erased(*((period, one.number) for period, one in found.items()), version=9)], floors={})
    again = {one.period: one for one in await calendar.histories_by_keys(SCOPE, keys)}
    assert {period: (one.standing, one.erased) for period, one in again.items()} == {
        period: ((), one.standing) for period, one in found.items()
    }
    await calendar.put([stored(DAY_NODE, "new", version=12)], floors={})
    [day] = await calendar.histories_by_keys(SCOPE, [node_key(SCOPE, DAY_NODE)])
    assert (day.standing, day.erased) == (places(12), places(5))


async def test_grips_of_erased_segments_are_unknown(calendar: SqliteCalendar) -> None:
    """And counted no more; those of other segments stay, and a new version brings its own back."""
    await calendar.put(
        [stored(segment("a"), version=1, grips=["e", "f"]), stored(segment("b"), version=2, grips=["g"]), stored(DAY_NODE, version=3)],
        floors={},
    )

    await calendar.put([nodes_erased((segment("a"), 1), (DAY_NODE, 1), version=4)], floors={})

    assert await calendar.grips(SCOPE, [id_of(name) for name in "efg"]) == {id_of("g"): Position("EVENTS_0", 2)}
    assert await calendar.grips_of(SCOPE, [EventId("e")]) == {}
    assert (await calendar.stats(SCOPE)).grips == 1
    await calendar.put([stored(segment("a"), "less", version=5, grips=["f"])], floors={})
    assert set(await calendar.grips(SCOPE, [id_of(name) for name in "efg"])) == {id_of("f"), id_of("g")}


async def test_what_an_erased_node_was_made_of_becomes_due(calendar: SqliteCalendar) -> None:
    """The unit of a segment and every period above anything that was erased."""
    await calendar.put([touched(version=1), stored(segment("a"), version=2), stored(DAY_NODE, version=3)], floors={})
    await calendar.settle_unit(unit(), version=1)
    for level, period in (("day", DAY_NODE), ("week", WEEK)):
        await calendar.settle_period(SCOPE, period, version=3)
        assert await calendar.due_periods(level, limit=9) == []  # type: ignore[arg-type]  # a level

    await calendar.put([nodes_erased((segment("a"), 1), (DAY_NODE, 1), (MONTH, 1), version=4)], floors={})

    due = await calendar.due_units(quiet_before_us=LATEST_US, ended_before=DAY, settled_before_us=LATEST_US, limit=9)
    assert [(one.unit, one.version) for one in due] == [(unit(), 4)]
    periods = [[one.period for one in await calendar.due_periods(level, limit=9)] for level in ("day", "week", "month", "year")]  # type: ignore[arg-type]  # levels
    assert periods == [[DAY_NODE], [WEEK], [MONTH], [YEAR]]


async def test_erased_events_have_no_counts_and_whole_sessions_no_units(calendar: SqliteCalendar) -> None:
    """What came to a session after it was erased is kept."""
    await calendar.put([touched("s", version=1), touched("t", version=2), touched("u", version=9)], floors={})
    for session in "st":
        await calendar.remember_tokens(unit(session), {key_of("e"): 3, key_of("f"): 4})
    whole = tuple(tag("session_id", session) for session in "su")

    await calendar.put([Erased(scope=SCOPE, keys=(key_of("e"),), position=Position("EVENTS_0", 5), sessions=whole)], floors={})

    assert [one.session_id for one in await calendar.units(scope=SCOPE, since=None, after=None, limit=9)] == ["t", "u"]
    assert await calendar.tokens(unit("t")) == {key_of("f"): 4}
    assert await calendar.tokens(unit("s")) == {}


async def test_no_byte_of_an_erased_node_is_left_in_the_files(calendar: SqliteCalendar, tmp_path: Path) -> None:
    """Not its MAC, not its session, not the events that its grips are of."""
    mine = [stored(segment("a"), f"words-{n}", version=n, session="secret-session", grips=["canary-event"]) for n in range(1, 200)]
    await calendar.put([touched("secret-session", version=200), *mine, stored(segment("b"), "kept-words", version=201)], floors={})
    await calendar.compact()
    needles = (b"secret-session", b"canary-event", b"words-199")
    assert all(files_with(tmp_path, needle) for needle in needles)

    whole = Erased(scope=SCOPE, keys=(), position=Position("EVENTS_0", 301), sessions=(tag("session_id", "secret-session"),))
    await calendar.put([nodes_erased((segment("a"), 199), version=300), whole], floors={})
    await calendar.compact()

    assert [files_with(tmp_path, needle) for needle in needles] == [[], [], []]
    assert files_with(tmp_path, b"kept-words")


_WRITES = st.tuples(st.sampled_from([DAY_NODE, segment("a")]), st.sampled_from(["one", "two"]))
_LOG = st.lists(st.one_of(_WRITES, st.just("erase")), max_size=14)


@given(drawn=_LOG, data=st.data())
@settings(max_examples=20)
async def test_versions_are_the_same_with_and_without_the_erased_messages(
    tmp_path_factory: pytest.TempPathFactory, drawn: Sequence[object], data: st.DataObject
) -> None:
    """However a log is cut into batches, and whether or not its erased messages are in it: the same numbers at the same places."""
    log: list[Change] = []
    first, numbers = 0, dict.fromkeys((DAY_NODE, segment("a")), 0)
    told: dict[Period, str] = {}
    for version, one in enumerate(drawn, start=1):
        if isinstance(one, tuple):
            period, words = one
            numbers[period] += told.get(period) != words
            told[period] = words
            log.append(stored(period, words, version=version))
        else:
            log.append(nodes_erased(*numbers.items(), version=version))
            told, first = {}, len(log)
    without = [one for place, one in enumerate(log) if isinstance(one, NodesErased) or place >= first]
    states = []
    for number, said in enumerate((log, without)):
        calendar = await SqliteCalendar.open(tmp_path_factory.mktemp(f"c{number}") / "calendar.db")
        try:
            done = 0
            while done < len(said):
                again, more = data.draw(st.integers(0, done)), data.draw(st.integers(1, 8))
                await calendar.put(said[again : done + more], floors={})
                done += more
            found = [[await calendar.version(SCOPE, period, count) for count in range(1, 9)] for period in numbers]
            ends = [await calendar.erased(SCOPE, period) for period in numbers]
            states.append((await calendar.digest(), await calendar.stats(SCOPE), found, ends))
        finally:
            await calendar.close()
    assert states[0] == states[1]
