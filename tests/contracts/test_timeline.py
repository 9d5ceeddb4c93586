"""The suite of the port ``timeline``, over every adapter that runs without a server."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contracts.projections import OTHER, SCOPE, START_US, facets, key_of, killed_writer, moment, retracted
from tests.contracts.timelines import Reopen, reopening

from kalends.adapters.embedded import file_sums
from kalends.adapters.embedded.timeline import SqliteTimeline
from kalends.domain.errors import Damaged, Misconfigured, Unavailable
from kalends.domain.positions import Position
from kalends.domain.queries import Criteria, Filter, Held, tag, tags_of
from kalends.domain.retention import Aged
from kalends.ports.timeline import Erased, Known, MemoryStats, Retracted, SessionSummary, TimelineEntry

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


async def pages(timeline: SqliteTimeline, *, criteria: Criteria = ALL, descending: bool = False, limit: int = 100) -> list[str]:
    """The ids of everything, page by page."""
    found: list[Known] = []
    after = None
    while page := await timeline.page(SCOPE, criteria=criteria, after=after, descending=descending, limit=limit):
        found += page
        after = (page[-1].occurred_us, page[-1].position.version)
    return [known.event_id for known in found]


def ids(found: Sequence[Known]) -> list[str]:
    """The ids of *found*, in order."""
    return [known.event_id for known in found]


async def test_what_was_put_is_known(timeline: SqliteTimeline) -> None:
    """With everything that tells a repetition from another content; unknown keys are left out."""
    await timeline.put([moment("a", version=3, at=7, session="x")], floors={"EVENTS_0": 3})

    assert await timeline.lookup(SCOPE, [key_of("a"), key_of("b")]) == {
        key_of("a"): Known(
            key=key_of("a"),
            event_id="a",
            position=Position("EVENTS_0", 3),
            content_mac=b"a".ljust(16),
            occurred_us=START_US + 7,
            session="x",
        )
    }
    assert await timeline.floors() == {"EVENTS_0": 3}


async def test_a_memory_never_sees_another(timeline: SqliteTimeline) -> None:
    """In no answer."""
    await timeline.put([moment("a"), moment("b", scope=OTHER, version=2)], floors={})
    foreign = key_of("b", scope=OTHER)

    assert await timeline.lookup(SCOPE, [foreign]) == {}
    assert await pages(timeline) == ["a"]
    assert await timeline.around(SCOPE, foreign, before=1, after=1) == []
    assert await timeline.neighbours(SCOPE, [foreign]) == {}
    assert await timeline.matching(SCOPE, [key_of("a"), foreign], criteria=ALL) == {key_of("a")}
    assert (await timeline.stats(SCOPE)).events == (await timeline.stats(OTHER)).events == 1
    assert [session.events for session in await timeline.sessions(SCOPE, after=None, limit=5)] == [1]


async def test_the_same_again_changes_nothing(timeline: SqliteTimeline) -> None:
    """Not even a counter; a floor never falls."""
    batch = [moment("a", version=1), moment("b", version=2), retracted("a", version=3)]
    await timeline.put(batch, floors={"EVENTS_0": 3})
    before = (await timeline.stats(SCOPE), await timeline.digest(), await timeline.session(SCOPE, "s"))
    await timeline.put(batch, floors={"EVENTS_0": 2})

    assert (await timeline.stats(SCOPE), await timeline.digest(), await timeline.session(SCOPE, "s")) == before
    assert await timeline.floors() == {"EVENTS_0": 3}


async def test_a_newer_writing_moves_the_event_and_is_counted_once(timeline: SqliteTimeline) -> None:
    """Also when it moves to another session; an older writing that comes later changes nothing."""
    await timeline.put([moment("a", version=5, at=1, session="old", size=10)], floors={})
    await timeline.put([moment("a", version=9, at=2, session="new", size=30), moment("a", version=7, session="no")], floors={})
    await timeline.put([moment("a", version=8, session="no")], floors={})

    assert (await timeline.lookup(SCOPE, [key_of("a")]))[key_of("a")].session == "new"
    assert await timeline.stats(SCOPE) == MemoryStats(
        events=1, documents=0, sessions=1, log_bytes=30, first_us=START_US + 2, last_us=START_US + 2
    )
    assert await timeline.session(SCOPE, "old") is None


async def test_a_retracted_event_never_revives(timeline: SqliteTimeline, reopen: Reopen) -> None:
    """It stays known; no older writing brings it back, also if the retraction came first; a newer one does."""
    await timeline.put([moment("a", version=1), retracted("a", version=4), retracted("b", version=5)], floors={})
    timeline = await reopen()
    await timeline.put([moment("a", version=1), moment("b", version=2)], floors={})

    assert await pages(timeline) == []
    known = await timeline.lookup(SCOPE, [key_of("a"), key_of("b")])
    assert [(one.event_id, one.retracted) for one in known.values()] == [("a", True), ("b", True)]
    assert await timeline.stats(SCOPE) == MemoryStats()
    await timeline.put([moment("b", version=8)], floors={})
    assert await pages(timeline) == ["b"]
    await timeline.put([retracted("b", version=7)], floors={})
    assert await pages(timeline) == ["b"]


@pytest.mark.parametrize("limit", [1, 3, 100])
async def test_pages_run_in_order_both_ways(timeline: SqliteTimeline, limit: int) -> None:
    """By the time of the event, then by version; no event is skipped or repeated at a page's end."""
    times = [5, 3, 3, 3, 9, 1, 3]
    await timeline.put([moment(f"n{number}", version=number + 1, at=at) for number, at in enumerate(times)], floors={})

    expected = ["n5", "n1", "n2", "n3", "n6", "n0", "n4"]
    assert await pages(timeline, limit=limit) == expected
    assert await pages(timeline, limit=limit, descending=True) == expected[::-1]


async def test_filters_hold_for_every_facet(timeline: SqliteTimeline) -> None:
    """Several facets together, sessions among them, and times."""
    kinds = [facets("x", role="user"), facets("x", role="assistant", actor="Ann"), facets("y", actor="Ann"), facets("z", role="system")]
    await timeline.put(
        [
            replace(moment(f"n{place}", version=place + 1, at=place), facets=known, tags=tags_of(known, target="events"))
            for place, known in enumerate(kinds)
        ],
        floors={},
    )

    async def found(wanted: Criteria) -> list[str]:
        matching = await timeline.matching(SCOPE, [key_of(f"n{place}") for place in range(5)], criteria=wanted)
        listed = await pages(timeline, criteria=wanted, limit=2)
        assert matching == {key_of(name) for name in listed}
        return listed

    assert await found(Filter(session_id=("x",)).criteria()) == ["n0", "n1"]
    assert await found(Filter(session_id=("y", "x", "unknown")).criteria()) == ["n0", "n1", "n2"]
    assert await found(Filter(session_id=("unknown",)).criteria()) == []
    assert await found(Filter(actor=("Ann",)).criteria()) == ["n1", "n2"]
    assert await found(Filter(session_id=("x",), role=("assistant", "system")).criteria()) == ["n1"]
    assert await found(Filter(targets=("documents",)).criteria()) == []
    assert await found(Criteria(since_us=START_US + 1, until_us=START_US + 3)) == ["n1", "n2"]
    assert await found(Criteria(any_of=((tag("session_id", "x"),), (tag("session_id", "y"),)))) == []


async def test_neighbours_are_those_of_the_session(timeline: SqliteTimeline) -> None:
    """In the order in which things happened; what was retracted is skipped and has no neighbours."""
    names = ["a", "b", "c", "d", "e"]
    await timeline.put([moment(name, version=9 - place, at=place) for place, name in enumerate(names)], floors={})
    await timeline.put([moment("elsewhere", version=20, at=2, session="other"), retracted("b", version=21)], floors={})

    assert ids(await timeline.around(SCOPE, key_of("c"), before=5, after=1)) == ["a", "c", "d"]
    assert ids(await timeline.around(SCOPE, key_of("c"), before=0, after=0)) == ["c"]
    assert await timeline.around(SCOPE, key_of("b"), before=5, after=5) == []
    beside = await timeline.neighbours(SCOPE, [key_of(name) for name in ("a", "b", "d", "elsewhere")])
    assert beside == {
        key_of("a"): (None, key_of("c")),
        key_of("d"): (key_of("c"), key_of("e")),
        key_of("elsewhere"): (None, None),
    }


async def test_sessions_are_listed_latest_first(timeline: SqliteTimeline) -> None:
    """Page by page, those that end together by id; a session without live events and a document's chunks are not listed."""
    for place, name in enumerate(["x", "y", "z", "w"]):
        await timeline.put([moment(f"{name}{end}", version=10 * place + end + 1, at=end * 5, session=name) for end in range(2)], floors={})
    late = [moment("late", version=80, at=9, session="y"), moment("chunk", version=81, at=99, session="doc", document=True)]
    await timeline.put([*late, retracted("w0", "w1", version=90)], floors={})

    found: list[SessionSummary] = []
    after = None
    while page := await timeline.sessions(SCOPE, after=after, limit=1):
        found += page
        after = (page[-1].last_us, page[-1].session_id)
    assert [(one.session_id, one.events, one.last_us - START_US) for one in found] == [("y", 3, 9), ("x", 2, 5), ("z", 2, 5)]
    assert await timeline.session(SCOPE, "w") is None
    assert await timeline.session(SCOPE, "x") == SessionSummary(session_id="x", events=2, first_us=START_US, last_us=START_US + 5)


async def test_a_retraction_at_the_end_of_a_session_shortens_it(timeline: SqliteTimeline) -> None:
    """Its first and last moment are those of what is left."""
    await timeline.put([moment(f"n{at}", version=at + 1, at=at) for at in range(4)], floors={})
    await timeline.put([retracted("n0", "n3", version=9)], floors={})

    assert await timeline.session(SCOPE, "s") == SessionSummary(session_id="s", events=2, first_us=START_US + 1, last_us=START_US + 2)


async def test_documents_are_counted_apart(timeline: SqliteTimeline) -> None:
    """A document is the session of its chunks; events count everything."""
    chunks = [moment(f"c{at}", version=at + 1, session=f"document {at // 2}", document=True) for at in range(4)]
    await timeline.put([*chunks, moment("a", version=9)], floors={})

    stats = await timeline.stats(SCOPE)
    assert (stats.events, stats.documents, stats.sessions, stats.log_bytes) == (5, 2, 1, 500)
    await timeline.put([retracted("c0", "c1", version=10)], floors={})
    stats = await timeline.stats(SCOPE)
    assert (stats.events, stats.documents, stats.sessions, stats.log_bytes) == (3, 1, 1, 300)


async def test_a_batch_and_its_floors_are_one(timeline: SqliteTimeline) -> None:
    """A batch that fails leaves neither rows nor floors."""
    broken = replace(moment("b", version=2), content_mac=object())

    with pytest.raises(Unavailable):
        await timeline.put([moment("a"), broken], floors={"EVENTS_0": 2})
    assert await timeline.floors() == {}
    assert await pages(timeline) == []
    await timeline.put([moment("a")], floors={"EVENTS_0": 1})
    assert await pages(timeline) == ["a"]


async def test_killing_the_writer_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """And the floor is the one of the last batch that is there."""
    async with killed_writer("timeline", tmp_path, batches=40) as names:
        timeline = await SqliteTimeline.open(tmp_path / "timeline.db")
        try:
            held = await timeline.page(SCOPE, criteria=ALL, after=None, descending=False, limit=1_000_000)
            assert {key_of(name) for name in names} <= {known.key for known in held}
            assert await timeline.floors() == {"EVENTS_0": len(held) // 10}
        finally:
            await timeline.close()


async def test_a_damaged_file_is_said_to_be_damaged(tmp_path: Path) -> None:
    """So that whoever opens it knows that deleting it helps."""
    (tmp_path / "timeline.db").write_bytes(b"no database at all" * 99)

    with pytest.raises(Damaged):
        await SqliteTimeline.open(tmp_path / "timeline.db")


async def test_a_file_of_another_version_is_refused(timeline: SqliteTimeline, tmp_path: Path) -> None:
    """Its tables mean something else."""
    await timeline.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "timeline.db")) as database:
        database.execute("PRAGMA user_version = 99")
    file_sums.leave(tmp_path / "timeline.db")

    with pytest.raises(Misconfigured, match="99"):
        await SqliteTimeline.open(tmp_path / "timeline.db")


names = st.sampled_from("abcde")
entries = st.builds(
    # no two events of a memory are at one place of the log
    lambda name, turn, at, session, document: moment(
        name, version=5 * turn + "abcde".index(name), at=at, session=session, document=document
    ),
    names,
    st.integers(1, 30),
    st.integers(0, 3),
    st.sampled_from(["x", "y"]),
    st.booleans(),
)
retractions = st.builds(lambda gone, turn: retracted(*gone, version=5 * turn), st.sets(names, min_size=1), st.integers(1, 30))
histories = st.lists(st.lists(entries | retractions, max_size=6), max_size=6)


def live_of(changes: Sequence[TimelineEntry | Retracted]) -> dict[str, TimelineEntry]:
    """The rule in one place: the newest writing counts if no retraction is as new. Of equal versions the first is kept."""
    newest: dict[str, TimelineEntry] = {}
    gone: dict[str, int] = {}
    for change in changes:
        if isinstance(change, Retracted):
            gone |= {key: max(gone.get(key, 0), change.position.version) for key in change.keys}
        elif change.key not in newest or newest[change.key].position.version < change.position.version:
            newest[change.key] = change
    return {key: one for key, one in newest.items() if one.position.version > gone.get(key, 0)}


@given(history=histories)
@settings(max_examples=60)
async def test_counters_agree_with_the_events_after_any_history(tmp_path_factory: pytest.TempPathFactory, history) -> None:
    """Whatever came in whatever order and batches: the counts are those of the live events."""
    timeline = await SqliteTimeline.open(tmp_path_factory.mktemp("any") / "timeline.db")
    try:
        for batch in history:
            await timeline.put(batch, floors={})
        live = live_of([change for batch in history for change in batch])
        chunks = {one.facets.session_id for one in live.values() if one.document}
        sessions = {one.facets.session_id for one in live.values()}
        times = [one.occurred_us for one in live.values()]
        assert await timeline.stats(SCOPE) == MemoryStats(
            events=len(live),
            documents=len(chunks),
            sessions=len(sessions - chunks),
            log_bytes=100 * len(live),
            first_us=min(times, default=None),
            last_us=max(times, default=None),
        )
        ordered = sorted(live.values(), key=lambda one: (one.occurred_us, one.position.version))
        assert await pages(timeline, limit=2) == [one.event_id for one in ordered]
        for session in ("x", "y"):
            held = [one.occurred_us for one in live.values() if one.facets.session_id == session]
            known = await timeline.session(SCOPE, session)
            assert known == (SessionSummary(session_id=session, events=len(held), first_us=min(held), last_us=max(held)) if held else None)
    finally:
        await timeline.close()


@given(history=st.lists(entries | retractions, max_size=12, unique_by=lambda change: change.position.version), data=st.data())
@settings(max_examples=30)
async def test_the_digest_does_not_depend_on_the_order(tmp_path_factory: pytest.TempPathFactory, history, data: st.DataObject) -> None:
    """Two timelines that learned the same, each in its own order and batches, have one digest."""
    first = await SqliteTimeline.open(tmp_path_factory.mktemp("first") / "timeline.db")
    second = await SqliteTimeline.open(tmp_path_factory.mktemp("second") / "timeline.db")
    try:
        await first.put(history, floors={})
        for change in data.draw(st.permutations(history)):
            await second.put([change], floors={})
        assert await first.digest() == await second.digest()
        assert await first.stats(SCOPE) == await second.stats(SCOPE)
    finally:
        await first.close()
        await second.close()


@pytest.mark.parametrize("limit", [1, 7, 1000])
async def test_the_inventory_is_by_key_whatever_the_pieces(timeline: SqliteTimeline, limit: int) -> None:
    """What was taken back is in it in the version of the retraction; another memory is not."""
    await timeline.put([moment(f"n{number}", version=number + 1) for number in range(40)], floors={})
    await timeline.put([retracted("n0", "n1", "never", version=100), moment("a", scope=OTHER, version=101)], floors={})
    expected = [Held(key=key_of(f"n{number}"), version=number + 1, live=True) for number in range(2, 40)]
    expected += [Held(key=key_of(name), version=100, live=False) for name in ("n0", "n1", "never")]
    expected.sort(key=lambda one: one.key)

    found: list[Held] = []
    while piece := await timeline.inventory(SCOPE.key, after=found[-1].key if found else None, limit=limit):
        found += piece

    assert found == expected
    assert await timeline.scopes() == sorted([SCOPE.key, OTHER.key])
    assert await timeline.inventory("nowhere", after=None, limit=5) == []
    asked = [key_of(name) for name in ("n0", "n9", "never", "unheard")]
    assert sorted(await timeline.held(SCOPE.key, asked), key=lambda one: one.key) == [one for one in expected if one.key in asked]
    assert await timeline.held(OTHER.key, asked) == []


async def test_every_session_that_ever_was_is_listed_by_id(timeline: SqliteTimeline) -> None:
    """Emptied ones and documents too, for their messages are still in the log."""
    await timeline.put([moment(name, version=at + 1, session=f"s{name}") for at, name in enumerate("cab")], floors={})
    await timeline.put([moment("d", version=9, session="doc", document=True), retracted("a", version=10)], floors={})
    await timeline.put([moment("e", version=11, session="elsewhere", scope=OTHER)], floors={})

    assert await timeline.session_ids(SCOPE.key, after=None, limit=2) == ["doc", "sa"]
    assert await timeline.session_ids(SCOPE.key, after="sa", limit=9) == ["sb", "sc"]
    assert await timeline.session_ids(OTHER.key, after=None, limit=9) == ["elsewhere"]


async def test_what_has_expired_is_listed_until_it_is_erased(timeline: SqliteTimeline) -> None:
    """In the order in which it expired, also what was taken back; what expires later or never is not, nor what another memory holds."""
    expiring = {"a": 5, "b": 3, "c": 5, "later": 6}
    await timeline.put(
        [replace(moment(name, version=at + 1, recorded=at), expires_us=expires) for at, (name, expires) in enumerate(expiring.items())],
        floors={},
    )
    await timeline.put([moment("never", version=9), replace(moment("x", version=10, scope=OTHER, session="t"), expires_us=4)], floors={})

    listed = await timeline.expired(SCOPE, 5, after=None, limit=10)

    assert listed[0] == Aged(key=key_of("b"), event_id="b", session="s", occurred_us=START_US, recorded_us=START_US + 1, expires_us=3)
    assert [one.key for one in listed[1:]] == sorted([key_of("a"), key_of("c")])
    assert [one.event_id for one in await timeline.expired(OTHER, 5, after=None, limit=10)] == ["x"]
    assert await timeline.expired(SCOPE, 5, after=(listed[1].expires_us or 0, listed[1].key), limit=10) == listed[2:]
    assert await timeline.expired(SCOPE, 5, after=None, limit=1) == listed[:1]
    await timeline.put([retracted("b", version=20)], floors={})
    assert await timeline.expired(SCOPE, 5, after=None, limit=10) == listed
    await timeline.put([Erased(scope=SCOPE, keys=(key_of("a"), key_of("b")), position=Position("EVENTS_0", 21))], floors={})
    assert [one.event_id for one in await timeline.expired(SCOPE, 5, after=None, limit=10)] == ["c"]


async def test_the_oldest_of_a_kind_are_listed_by_when_they_were_recorded(timeline: SqliteTimeline) -> None:
    """Live ones only, none of a document, none that expired; and as many as are counted."""
    names = {"c": 3, "a": 1, "b": 2, "gone": 0, "expired": 0}
    events = [moment(name, version=at + 1, at=-at, recorded=recorded) for at, (name, recorded) in enumerate(names.items())]
    await timeline.put([*events[:-1], replace(events[-1], expires_us=7), moment("chunk", version=9, session="d", document=True)], floors={})
    note = moment("note", version=10, recorded=5)
    await timeline.put([replace(note, facets=replace(note.facets, kind="note")), retracted("gone", version=11)], floors={})

    listed = await timeline.oldest(SCOPE, "message", 7, after=None, limit=10)

    assert [one.event_id for one in listed] == ["a", "b", "c"]
    assert await timeline.oldest(SCOPE, "message", 7, after=(listed[0].recorded_us, listed[0].key), limit=1) == listed[1:2]
    assert [one.event_id for one in await timeline.oldest(SCOPE, "message", 6, after=None, limit=1)] == ["expired"]
    assert await timeline.census(SCOPE, 7) == {"message": 3, "note": 1}
    assert await timeline.census(OTHER, 7) == {}


async def test_sessions_that_went_quiet_are_listed_by_id(timeline: SqliteTimeline) -> None:
    """By when anything was last recorded in them, whenever it occurred; documents are none, an emptied one is until it is erased."""
    await timeline.put(
        [moment("a", version=1, session="s1", at=900, recorded=1), moment("b", version=2, session="s2", recorded=9)], floors={}
    )
    await timeline.put([moment("c", version=3, session="s3", recorded=2), moment("d", version=4, session="d", document=True)], floors={})
    await timeline.put([retracted("c", version=5), moment("x", version=6, scope=OTHER, session="s0")], floors={})

    async def quiet(before: int, *, after: str | None = None, limit: int = 10) -> list[tuple[str, int]]:
        found = await timeline.quiet(SCOPE, START_US + before, after=after, limit=limit)
        return [(one.session_id, one.events) for one in found]

    assert await quiet(8) == [("s1", 1), ("s3", 0)]
    assert await quiet(9) == [("s1", 1), ("s2", 1), ("s3", 0)]
    assert await quiet(9, after="s1", limit=1) == [("s2", 1)]
    await timeline.put([moment("e", version=7, session="s1", recorded=12)], floors={})
    assert await quiet(9) == [("s2", 1), ("s3", 0)]
    await timeline.put([Erased(scope=SCOPE, keys=(key_of("b"), key_of("c")), position=Position("EVENTS_0", 8))], floors={})
    assert await quiet(9) == []


async def test_compacting_changes_no_answer_and_folds_the_write_ahead_log(timeline: SqliteTimeline, tmp_path: Path, reopen: Reopen) -> None:
    """Writes and questions go on beside it."""
    for start in range(0, 400, 20):
        await timeline.put([moment(f"n{number}", version=number + 1, at=number) for number in range(start, start + 20)], floors={})
    beside = tmp_path / "timeline.db-wal"
    before = (await timeline.digest(), await pages(timeline), await timeline.stats(SCOPE))
    assert beside.stat().st_size > 0

    freed = await timeline.compact()

    assert freed >= 0
    assert beside.stat().st_size == 0
    assert (await timeline.digest(), await pages(timeline), await timeline.stats(SCOPE)) == before
    await asyncio.gather(timeline.compact(), timeline.put([moment("later", version=900)], floors={}), pages(timeline))
    timeline = await reopen()
    assert (await timeline.stats(SCOPE)).events == 401


async def test_the_file_is_not_cut_off_under_whoever_reads_it(timeline: SqliteTimeline, tmp_path: Path) -> None:
    """It is cut off the next time."""
    await timeline.put([moment("a")], floors={})
    with contextlib.closing(sqlite3.connect(tmp_path / "timeline.db")) as reader:
        reader.execute("BEGIN")
        (before,) = reader.execute("SELECT count(*) FROM events").fetchone()
        await timeline.put([moment("b", version=2)], floors={})
        await timeline.compact()
        assert reader.execute("SELECT count(*) FROM events").fetchone() == (before,)
        assert (tmp_path / "timeline.db-wal").stat().st_size > 0
    await timeline.compact()
    assert (tmp_path / "timeline.db-wal").stat().st_size == 0
