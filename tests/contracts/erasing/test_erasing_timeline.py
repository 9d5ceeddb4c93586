"""The suite of the port ``timeline``, what it does about erased events.

Belongs here: that an erased event leaves its key and its places and nothing else. Does not belong here: what ordinary changes do
(``test_timeline``). A newcomer would get wrong: a scan of the files proves that no byte of a name is left in them, as SQLite compresses
nothing; so each scan first finds what it will look for.
"""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contracts.projections import OTHER, SCOPE, key_of, moment, retracted
from tests.contracts.timelines import Reopen, reopening
from tests.support.files import files_with

from kalends.adapters.embedded.timeline import SqliteTimeline
from kalends.domain.positions import Position
from kalends.domain.queries import Criteria, Held
from kalends.domain.scope import Scope
from kalends.domain.versions import FOREVER
from kalends.ports.timeline import Erased, Known, MemoryStats

ALL = Criteria()


@pytest.fixture
async def reopen(tmp_path: Path) -> AsyncIterator[Reopen]:
    """Opens the timeline of this test anew, as after a restart."""
    async with reopening(tmp_path) as again:
        yield again


@pytest.fixture
async def timeline(reopen: Reopen) -> SqliteTimeline:
    """An empty timeline."""
    return await reopen()


def erased(*names: str, version: int, scope: Scope = SCOPE) -> Erased:
    """The events called *names*, erased by the message at *version*."""
    return Erased(scope=scope, keys=tuple(key_of(name, scope=scope) for name in names), position=Position("EVENTS_0", version))


async def known(timeline: SqliteTimeline, name: str) -> Known | None:
    """What is known of one event."""
    return (await timeline.lookup(SCOPE, [key_of(name)])).get(key_of(name))


async def test_an_erased_event_is_known_as_erased_and_nothing_else(timeline: SqliteTimeline, reopen: Reopen) -> None:
    """In no list, and its session with it if that was all of it; also after a restart."""
    await timeline.put([moment("a", version=1, session="x", size=5), moment("b", version=2, session="y", size=7)], floors={})

    await timeline.put([erased("a", version=3)], floors={"EVENTS_0": 3})

    timeline = await reopen()
    found = await known(timeline, "a")
    assert found == Known(
        key=key_of("a"),
        event_id="",
        position=Position("EVENTS_0", 1),
        content_mac=b"",
        occurred_us=0,
        session="",
        retracted=True,
        erased=True,
    )
    assert [one.event_id for one in await timeline.page(SCOPE, criteria=ALL, after=None, descending=False, limit=9)] == ["b"]
    assert await timeline.session_ids(SCOPE.key, after=None, limit=9) == ["y"]
    stats = await timeline.stats(SCOPE)
    assert (stats.events, stats.sessions, stats.log_bytes) == (1, 1, 7)
    assert await timeline.held(SCOPE.key, [key_of("a")]) == [Held(key=key_of("a"), version=FOREVER, live=False)]


async def test_an_erased_id_stays_erased_whatever_comes(timeline: SqliteTimeline) -> None:
    """A newer writing, a retraction, the same erasure again, and one that was erased before it was ever seen, as in a rebuild."""
    await timeline.put([moment("a", version=1), erased("a", "b", version=2)], floors={})
    before = await timeline.digest()

    await timeline.put([moment("a", version=5), moment("b", version=6), retracted("a", version=7), erased("a", version=8)], floors={})

    for name in "ab":
        found = await known(timeline, name)
        assert found is not None
        assert found.erased
    assert await timeline.digest() == before
    assert await timeline.stats(SCOPE) == MemoryStats()


async def test_every_place_of_an_event_is_remembered(timeline: SqliteTimeline) -> None:
    """Of a second copy in the same stream and in another one, and of one that comes after it was erased; of other memories nothing."""
    moved = Position("EVENTS_1", 4, 1)
    await timeline.put([moment("a", version=1), moment("a", version=9)], floors={})
    await timeline.put([moment("a", version=5), moment("a", version=3, scope=OTHER)], floors={})
    await timeline.put([erased("a", version=10)], floors={})
    await timeline.put([replace(moment("a"), position=moved)], floors={})

    assert await timeline.positions(SCOPE, [key_of("a"), key_of("never")]) == {
        key_of("a"): [Position("EVENTS_0", 1), Position("EVENTS_0", 5), Position("EVENTS_0", 9), moved]
    }


async def test_a_session_stays_while_anything_is_left_of_it(timeline: SqliteTimeline) -> None:
    """A live event, or a retracted one that was not erased; and its ends follow what is left."""
    await timeline.put([moment("a", version=1, at=1), moment("b", version=2, at=2), moment("c", version=3, at=3)], floors={})
    await timeline.put([retracted("b", version=4), erased("a", version=5)], floors={})
    session = await timeline.session(SCOPE, "s")
    assert session is not None
    assert (session.events, session.first_us) == (1, session.last_us)

    await timeline.put([erased("c", version=6)], floors={})
    assert await timeline.session_ids(SCOPE.key, after=None, limit=9) == ["s"]
    await timeline.put([erased("b", version=7)], floors={})
    assert await timeline.session_ids(SCOPE.key, after=None, limit=9) == []


async def test_no_byte_of_an_erased_event_is_left_in_the_files(timeline: SqliteTimeline, tmp_path: Path) -> None:
    """Nor of its session: not in the file and not in its log, once it was compacted, and a reader in the way only delays that."""
    many = [moment(f"plain-{number}", version=number + 1, session=f"session-{number % 7}") for number in range(600)]
    gone = [moment(f"canary-{number}", version=1000 + number, session="a-secret-session") for number in range(300)]
    await timeline.put([*many, *gone], floors={})
    await timeline.compact()
    assert files_with(tmp_path, b"canary-7") == ["timeline.db"]
    assert files_with(tmp_path, b"a-secret-session")

    await timeline.put([erased(*(f"canary-{number}" for number in range(300)), version=2000)], floors={})
    await timeline.compact()

    for needle in (b"canary-", b"a-secret-session", b"canary-7".ljust(16)):
        assert files_with(tmp_path, needle) == []
    assert files_with(tmp_path, b"plain-7")
    assert (await timeline.stats(SCOPE)).events == 600


_NAMES = st.sampled_from("abc")
_LOG = st.lists(st.tuples(st.sampled_from(["put", "retract", "erase"]), _NAMES, st.sampled_from("st")), max_size=14)


@given(log=_LOG, data=st.data())
@settings(max_examples=20)
async def test_the_state_depends_on_the_log_alone(tmp_path_factory: pytest.TempPathFactory, log, data: st.DataObject) -> None:
    """Not on how it was cut into batches, nor on what was read twice; and a log without the erased messages says the same of the ids."""
    changes = [_change(kind, name, session, version) for version, (kind, name, session) in enumerate(log, start=1)]
    gone = {name for kind, name, _ in log if kind == "erase"}
    left = [change for change, (kind, name, _) in zip(changes, log, strict=True) if kind == "erase" or name not in gone]
    states = []
    for number, said in enumerate((changes, changes, left)):
        timeline = await SqliteTimeline.open(tmp_path_factory.mktemp(f"t{number}") / "timeline.db")
        try:
            done = 0
            while done < len(said):
                again, more = data.draw(st.integers(0, done)), data.draw(st.integers(1, 8))
                await timeline.put(said[again : done + more], floors={})
                done += more
            sessions = await timeline.sessions(SCOPE, after=None, limit=9)
            events = [(await known(timeline, name)) for name in "abc"]
            seen = [None if one is None else (one.event_id, one.session, one.retracted, one.erased) for one in events]
            states.append((await timeline.digest(), await timeline.stats(SCOPE), sessions, seen))
        finally:
            await timeline.close()
    assert states[0] == states[1] == states[2]


def _change(kind: str, name: str, session: str, version: int) -> object:
    if kind == "put":
        return moment(name, version=version, session=session)
    return retracted(name, version=version) if kind == "retract" else erased(name, version=version)
