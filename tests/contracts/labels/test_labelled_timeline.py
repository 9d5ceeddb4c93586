"""The suite of the port ``timeline``, what it does about labels.

Belongs here: that whoever lacks a label gets the answers that there would be without what has it. Does not belong here: what ordinary
changes do (``test_timeline``). A newcomer would get wrong: counters are kept for everything, so each count for somebody who does not see
everything is compared with that of a timeline that never knew the rest.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contracts.projections import SCOPE, START_US, key_of, moment, seen_by
from tests.contracts.timelines import reopening

from kalends.adapters.embedded.timeline import SqliteTimeline
from kalends.domain.labels import UNLABELLED, Clearance
from kalends.domain.positions import Position
from kalends.domain.queries import Criteria
from kalends.ports.timeline import Known, MemoryStats, Retracted, SessionSummary

LABELLED = {"a": (), "b": ("hr",), "c": ("board", "hr"), "d": (), "e": ("board",)}


@pytest.fixture
async def timeline(tmp_path: Path) -> AsyncIterator[SqliteTimeline]:
    """An empty timeline."""
    async with reopening(tmp_path) as again:
        yield await again()


async def pages(timeline: SqliteTimeline, *, criteria: Criteria, limit: int = 100) -> list[str]:
    """The ids of everything that meets *criteria*, page by page."""
    found: list[Known] = []
    after = None
    while page := await timeline.page(SCOPE, criteria=criteria, after=after, descending=False, limit=limit):
        found += page
        after = (page[-1].occurred_us, page[-1].position.version)
    return ids(found)


def ids(found: Sequence[Known]) -> list[str]:
    """The ids of *found*, in order."""
    return [known.event_id for known in found]


async def labelled(timeline: SqliteTimeline) -> None:
    """Five events of one session, two of another that is all for ``hr``, a plain session, and two documents."""
    entries = [
        moment(name, version=at + 1, at=at, session="s", size=10, labels=labels) for at, (name, labels) in enumerate(LABELLED.items())
    ]
    entries += [moment(f"h{number}", version=10 + number, at=20 + number, session="h", size=100, labels=("hr",)) for number in range(2)]
    entries += [moment("p", version=20, at=9, session="p", size=1000)]
    entries += [moment("x", version=30, at=-5, session="document:x", document=True, size=5, labels=("hr",))]
    entries += [moment("y", version=31, at=30, session="document:y", document=True, size=7)]
    await timeline.put(entries, floors={})


async def test_labels_filter_lists_and_neighbours(timeline: SqliteTimeline) -> None:
    """One of several is enough; pages are full; whoever does not see an event sees nothing around it."""
    await labelled(timeline)

    assert await pages(timeline, criteria=seen_by(), limit=2) == ["a", "d", "p", "y"]
    assert await pages(timeline, criteria=seen_by("board", session_id=("s",))) == ["a", "c", "d", "e"]
    assert ids(await timeline.around(SCOPE, key_of("d"), before=1, after=5, criteria=seen_by())) == ["a", "d"]
    assert ids(await timeline.around(SCOPE, key_of("d"), before=1, after=1, criteria=seen_by("board"))) == ["c", "d", "e"]
    assert await timeline.around(SCOPE, key_of("b"), before=5, after=5, criteria=seen_by("board")) == []
    assert await timeline.matching(SCOPE, [key_of(name) for name in LABELLED], criteria=seen_by("hr")) == {key_of(one) for one in "abcd"}


async def test_counts_are_those_of_what_is_seen(timeline: SqliteTimeline) -> None:
    """Of sessions and of the memory, also page by page."""
    await labelled(timeline)
    board, nobody = Clearance(frozenset({"board"})), UNLABELLED

    found = await timeline.sessions(SCOPE, after=None, limit=10, clearance=nobody)
    assert [(one.session_id, one.events, one.first_us - START_US, one.last_us - START_US) for one in found] == [
        ("p", 1, 9, 9),
        ("s", 2, 0, 3),
    ]
    first = (await timeline.sessions(SCOPE, after=None, limit=1, clearance=board))[0]
    rest = await timeline.sessions(SCOPE, after=(first.last_us, first.session_id), limit=5, clearance=board)
    assert [first.session_id, *[(one.session_id, one.events) for one in rest]] == ["p", ("s", 4)]
    assert [one.session_id for one in await timeline.sessions(SCOPE, after=None, limit=5)] == ["h", "p", "s"]
    assert await timeline.session(SCOPE, "h", clearance=board) is None
    session = await timeline.session(SCOPE, "s", clearance=nobody)
    assert session == SessionSummary(session_id="s", events=2, first_us=START_US, last_us=START_US + 3)
    assert await timeline.stats(SCOPE, clearance=nobody) == MemoryStats(
        events=4, documents=1, sessions=2, log_bytes=1027, first_us=START_US, last_us=START_US + 30
    )
    everything = await timeline.stats(SCOPE)
    assert await timeline.stats(SCOPE, clearance=Clearance(frozenset({"board", "hr"}))) == everything
    assert (everything.events, everything.documents, everything.sessions, everything.log_bytes) == (10, 2, 3, 1262)


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("st"), st.sampled_from([(), ("x",), ("y",), ("x", "y")])), max_size=12),
    st.lists(st.sampled_from("abcdef"), max_size=4),
    st.sets(st.sampled_from("xy")),
)
@settings(max_examples=30, deadline=None)
def test_counts_are_right_after_any_changes(
    tmp_path_factory: pytest.TempPathFactory, written: list[tuple[str, str, tuple[str, ...]]], gone: list[str], held: set[str]
) -> None:
    """As if what may not be seen had never been written."""
    clearance = Clearance(frozenset(held))
    entries = [
        moment(name, version=number, at=number, session=session, labels=labels) for number, (name, session, labels) in enumerate(written, 1)
    ]
    newest = {one.key: one for one in entries}
    seen = [one for one in newest.values() if clearance.sees(one.facets.labels)]

    async def compare() -> None:
        folders = [tmp_path_factory.mktemp(name) for name in ("all", "seen")]
        async with reopening(folders[0]) as whole, reopening(folders[1]) as part:
            everything, visible = await whole(), await part()
            for timeline, entered in ((everything, entries), (visible, seen)):
                await timeline.put(entered, floors={})
                taken = {key_of(name) for name in gone}
                held_keys = sorted(taken & {one.key for one in entered})
                if held_keys:
                    await timeline.put([Retracted(scope=SCOPE, keys=tuple(held_keys), position=Position("EVENTS_0", 99))], floors={})
            found = await everything.sessions(SCOPE, after=None, limit=9, clearance=clearance)
            assert found == await visible.sessions(SCOPE, after=None, limit=9)
            assert await everything.stats(SCOPE, clearance=clearance) == await visible.stats(SCOPE)
            for session in "st":
                assert await everything.session(SCOPE, session, clearance=clearance) == await visible.session(SCOPE, session)

    asyncio.run(compare())
