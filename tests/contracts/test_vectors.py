"""The suite of the port ``vectors``, over every adapter: qdrant-edge in this process, and Qdrant over the wire.

A newcomer would get wrong: over the wire means our own server on the same engine (``tests/support/qdrant_wire`` says what that does not
prove), and a real one too where ``KALENDS_TEST_QDRANT_URL`` names it.
"""

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.contracts.projections import (
    DIMENSION,
    OTHER,
    SCOPE,
    START_US,
    at_once,
    direction,
    entry,
    facets,
    key_of,
    killed_writer,
    seen_by,
    swept,
    tombstone,
    unit,
    vectors,
    window,
)
from tests.contracts.vector_stores import EdgeStore, QdrantStore, Store, opened_at
from tests.support.qdrant_wire.running import real_settings, shared_server, with_real
from tests.support.waiting import until

from kalends.adapters.embedded import vectors as edge_vectors
from kalends.adapters.embedded.vectors import EdgeVectors
from kalends.adapters.qdrant import vectors as qdrant_vectors
from kalends.domain.errors import Damaged, Misconfigured, Occupied
from kalends.domain.queries import Criteria, Filter, Held
from kalends.ports.vectors import VectorEntry, VectorIndex, Window

Reopen = Callable[[], Awaitable[VectorIndex]]
ALL = Criteria()


@pytest.fixture(params=with_real("embedded", "wire", real=("grpc", "rest")))
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """Each adapter's store in turn."""
    made: Store
    if request.param == "embedded":
        made = EdgeStore(tmp_path)
    else:
        on_wire = request.param == "wire"
        settings = shared_server().settings() if on_wire else real_settings(transport=request.param)
        assert settings is not None
        made = QdrantStore(settings)
    yield made
    await made.close()


@pytest.fixture
def reopen(store: Store) -> Reopen:
    """Opens the index of this test anew, as after a restart."""
    return store.opened


@pytest.fixture
async def index(reopen: Reopen) -> VectorIndex:
    """An empty index."""
    return await reopen()


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[EdgeVectors]:
    """An empty index of qdrant-edge."""
    opened = await opened_at(tmp_path / "vectors")
    yield opened
    await opened.close()


async def near(index: VectorIndex, name: str, *, criteria: Criteria = ALL, limit: int = 10, scope=SCOPE) -> list[str]:
    """The keys of the nearest events, best first."""
    return [hit.key for hit in await index.nearest(scope, direction(name), criteria=criteria, limit=limit)]


async def test_the_nearest_comes_first_with_its_cosine(index: VectorIndex) -> None:
    """Scores are cosines, up to half precision."""
    await index.put([vectors(entry(name), window(name)) for name in "abcdef"])

    hits = await index.nearest(SCOPE, direction("c"), criteria=ALL, limit=6)
    assert hits[0].key == key_of("c")
    for hit, name in ((hit, name) for hit in hits for name in "abcdef" if key_of(name) == hit.key):
        assert hit.score == pytest.approx(float(direction("c") @ direction(name)), abs=2e-3)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


async def test_a_memory_never_sees_another(index: VectorIndex) -> None:
    """Neither nearest, late, nor counts; with and without a filter."""
    await index.put([vectors(entry("a"), window("a")), vectors(entry("b", scope=OTHER), window("a"))])

    events = Filter().criteria()
    for criteria in (ALL, events):
        assert await near(index, "a", criteria=criteria) == [key_of("a")]
        assert await near(index, "a", criteria=criteria, scope=OTHER) == [key_of("b", scope=OTHER)]
    assert list(await index.late(SCOPE, direction("a")[None, :], [key_of("a"), key_of("b", scope=OTHER)])) == [key_of("a")]
    assert await index.count(SCOPE) == await index.count(OTHER) == 1


async def test_filters_hold_inside_the_engine(index: VectorIndex) -> None:
    """The one match among many better ones is found with a limit of one."""
    many = [vectors(entry(f"n{number}", at=number), window("near")) for number in range(200)]
    await index.put([*many, vectors(entry("wanted", at=500, with_facets=facets("mine", role="assistant")), window("far"))])

    by_facets = Filter(session_id=("mine", "unknown"), role=("assistant",)).criteria()
    by_time = Criteria(since_us=START_US + 500, until_us=START_US + 501)
    assert await near(index, "near", criteria=by_facets, limit=1) == [key_of("wanted")]
    assert await near(index, "near", criteria=by_time, limit=1) == [key_of("wanted")]
    assert await near(index, "near", criteria=Criteria(until_us=START_US)) == []
    assert len(await near(index, "near", criteria=Criteria(since_us=START_US + 199))) == 2
    assert await near(index, "near", criteria=Filter(kind=("note",)).criteria()) == []


async def test_labels_hold_inside_the_engine(index: VectorIndex) -> None:
    """Whoever lacks them gets a full answer of the rest; one of several is enough, in every window of a long text."""
    hidden = [vectors(entry(f"n{number}", with_facets=facets(labels=("hr",))), window("near")) for number in range(200)]
    both = vectors(entry("both", with_facets=facets(labels=("board", "hr"))), window("far"), window("near"))
    await index.put([*hidden, both, vectors(entry("open"), window("far"))])

    assert await near(index, "near", criteria=seen_by(), limit=1) == [key_of("open")]
    assert await near(index, "near", criteria=seen_by("other")) == [key_of("open")]
    assert await near(index, "near", criteria=seen_by("board"), limit=5) == [key_of("both"), key_of("open")]
    assert len(await near(index, "near", criteria=seen_by("hr"), limit=500)) == 202
    assert await near(index, "near", criteria=seen_by("board", kind=("note",))) == []


async def test_a_long_text_is_found_once_by_its_best_window(index: VectorIndex) -> None:
    """Its many windows do not crowd out the events behind them."""
    windows = [window("topic"), window("aside"), *(window("topic") for _ in range(70))]
    await index.put([vectors(entry("long"), *windows), vectors(entry("short"), window("topic")), vectors(entry("third"), window("third"))])

    assert await near(index, "topic", limit=2) == sorted([key_of("long"), key_of("short")])
    assert (await near(index, "aside"))[0] == key_of("long")
    assert set(await near(index, "topic", limit=3)) == {key_of("long"), key_of("short"), key_of("third")}
    assert await index.count(SCOPE) == 3


async def test_late_interaction_sums_the_best_token_for_each_row(index: VectorIndex) -> None:
    """As a plain computation over the same vectors gives it, up to eight bits; of a long text the best window counts."""
    spoken = {"a": [["x", "y"]], "b": [["y", "z", "w"], ["x", "q"]], "c": [["w"]]}
    await index.put([vectors(entry(name), *(window(name, *tokens) for tokens in windows)) for name, windows in spoken.items()])

    rows = np.stack([direction("x"), 0.25 * direction("y")])
    scores = await index.late(SCOPE, rows, [key_of(name) for name in (*spoken, "unknown")])
    expected = {
        key_of(name): max(sum(max(float(row @ direction(token)) for token in tokens) for row in rows) for tokens in windows)
        for name, windows in spoken.items()
    }
    assert scores == {key: pytest.approx(score, abs=0.03) for key, score in expected.items()}
    assert await index.late(SCOPE, rows, []) == {}


async def test_late_interaction_answers_for_hundreds_of_candidates(index: VectorIndex) -> None:
    """Each held key has a score, however many windows the candidates have."""
    names = [f"n{number}" for number in range(400)]
    await index.put([vectors(entry(name), *[window(name)] * (1 + number % 3)) for number, name in enumerate(names)])

    scores = await index.late(SCOPE, direction("n7")[None, :], [key_of(name) for name in names])
    assert set(scores) == {key_of(name) for name in names}
    assert max(scores, key=lambda key: scores[key]) == key_of("n7")


async def test_an_older_or_equal_version_changes_nothing(index: VectorIndex) -> None:
    """A redelivery, in the same batch or a later one, cannot undo what is newer."""
    await index.put([vectors(entry("a", version=version), window(name)) for version, name in ((1, "old"), (5, "new"), (3, "older"))])
    await index.put([vectors(entry("a", version=4), window("past"))])
    await index.put([vectors(entry("a", version=5), window("same"))])

    hit = (await index.nearest(SCOPE, direction("new"), criteria=ALL, limit=5))[0]
    assert (hit.key, hit.score) == (key_of("a"), pytest.approx(1.0, abs=2e-3))


async def test_a_newer_shorter_text_leaves_no_window_of_the_old_one(index: VectorIndex) -> None:
    """What the event no longer says does not find it."""
    await index.put([vectors(entry("a", version=1), window("kept"), window("dropped"), window("gone"))])
    await index.put([vectors(entry("a", version=2), window("kept"))])

    for name in ("dropped", "gone"):
        (hit,) = await index.nearest(SCOPE, direction(name), criteria=ALL, limit=5)
        assert hit.score == pytest.approx(float(direction(name) @ direction("kept")), abs=2e-3)


async def test_a_retracted_event_never_revives(index: VectorIndex, reopen: Reopen) -> None:
    """Not by a redelivery, not after a restart, not if the retraction came first; only by being recorded anew."""
    await index.put([vectors(entry("a", version=1), window("x"), window("y"))], [tombstone("a", version=4), tombstone("c", version=6)])
    await index.put([vectors(entry("b", version=2), window("x"), window("y"))])
    await index.put([], [tombstone("b", version=5)])
    index = await reopen()
    await index.put([vectors(entry(name, version=version), window("x")) for name, version in (("a", 1), ("b", 2), ("c", 3))])

    assert await near(index, "x") == []
    assert await index.late(SCOPE, direction("x")[None, :], [key_of(name) for name in "abc"]) == {}
    assert await index.count(SCOPE) == 0
    await index.put([vectors(entry("a", version=9), window("x"))])
    assert await near(index, "x") == [key_of("a")]


async def test_the_digest_tells_contents_and_not_their_history(index: VectorIndex, store: Store) -> None:
    """Order, batches and redeliveries leave no trace; windows are not counted, tombstones not as events."""
    changes = [vectors(entry(f"n{number}", version=number + 1), *[window("x")] * (1 + number % 3)) for number in range(30)]
    gone = [tombstone(f"n{number}", version=100 + number) for number in range(5)]
    await index.put(changes, gone)
    shuffled = [*changes, *changes[:10], *gone]
    random.Random(5).shuffle(shuffled)
    other = await store.another()
    for change in shuffled:
        await (other.put([], [change]) if change in gone else other.put([change]))
    assert await other.digest() == await index.digest()
    assert (await other.digest()).events == 25
    await other.put([], [tombstone("n9", version=200)])
    assert (await other.digest()).digest != (await index.digest()).digest


async def test_a_restart_keeps_everything(index: VectorIndex, reopen: Reopen) -> None:
    """What was put is found by the index that is opened next."""
    await index.put([vectors(entry(name), window(name)) for name in "abc"])
    before = await index.digest()
    index = await reopen()

    assert (await near(index, "b"))[0] == key_of("b")
    assert await index.digest() == before


async def test_killing_the_writer_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """The lock that the killed process held does not block the next one either."""
    async with killed_writer("vectors", tmp_path / "vectors", batches=60) as names:
        index = await opened_at(tmp_path / "vectors")
        try:
            assert {key_of(name) for name in names} <= set(await near(index, "x", limit=5000))
            for name in names[-3:]:
                assert (await near(index, name))[0] == key_of(name)
        finally:
            await index.close()


async def test_ties_go_by_key_whatever_the_limit(index: VectorIndex) -> None:
    """Equal vectors rank the same in every batch order, also where a limit cuts them."""
    names = [f"n{number}" for number in range(120)]
    for start in range(0, 120, 40):
        await index.put([vectors(entry(name), window("same")) for name in reversed(names[start : start + 40])])

    expected = sorted(key_of(name) for name in names)
    assert await near(index, "same", limit=7) == expected[:7]
    assert await near(index, "same", limit=120) == expected


async def test_the_answer_is_the_one_of_an_exhaustive_search(index: VectorIndex) -> None:
    """No event is missed for speed."""
    random_ones = np.random.default_rng(3)
    held = {f"n{number}": unit(random_ones.normal(size=DIMENSION)) for number in range(500)}
    made = {name: window(name) for name in held}
    await index.put([vectors(entry(name), type(made[name])(dense=vector, tokens=vector[None, :])) for name, vector in held.items()])

    for _ in range(5):
        question = unit(random_ones.normal(size=DIMENSION))
        expected = sorted(held, key=lambda name: -float(held[name] @ question))[:10]
        hits = await index.nearest(SCOPE, question, criteria=ALL, limit=10)
        assert len({key_of(name) for name in expected} & {hit.key for hit in hits}) >= 9


async def test_an_index_of_another_model_is_refused(edge: EdgeVectors, tmp_path: Path) -> None:
    """Vectors of two models never mix."""
    await edge.put([vectors(entry("a"), window("a"))])
    await edge.close()

    with pytest.raises(Misconfigured, match="rebuild"):
        await opened_at(tmp_path / "vectors", identity="other-model")


async def test_vectors_of_another_length_are_refused(index: VectorIndex) -> None:
    """Neither to be held nor to be asked with; nothing of the batch is held then."""
    long = np.ones(DIMENSION + 1, np.float32)
    with pytest.raises(Misconfigured):
        await index.nearest(SCOPE, long, criteria=ALL, limit=1)
    with pytest.raises(Misconfigured):
        await index.put([vectors(entry("a"), window("a")), vectors(entry("b"), Window(dense=long, tokens=long[None, :]))])
    assert await index.count(SCOPE) == 0


async def test_nothing_to_write_is_a_question_whether_writing_would_work(index: VectorIndex) -> None:
    """The breaker asks so before it tries again."""
    await index.put([], [])
    assert await index.scopes() == []


async def test_writers_of_different_versions_end_with_the_newest(index: VectorIndex) -> None:
    """Whatever the order in which they come, with its windows and no other's."""
    versions = {version: [window(f"v{version}w{number}") for number in range(1 + version % 4)] for version in range(1, 13)}
    order = list(versions)
    random.Random(11).shuffle(order)
    await asyncio.gather(*(index.put([vectors(entry("a", version=version), *versions[version])]) for version in order))

    assert await index.held(SCOPE.key, [key_of("a")]) == [Held(key=key_of("a"), version=12, live=True)]
    assert await index.count(SCOPE) == 1
    for version in range(1, 12):
        (hit,) = await index.nearest(SCOPE, direction(f"v{version}w0"), criteria=ALL, limit=5)
        assert hit.score == pytest.approx(float(direction(f"v{version}w0") @ direction("v12w0")), abs=2e-3)


async def test_a_folder_has_one_owner(edge: EdgeVectors, tmp_path: Path) -> None:
    """A second opener is told so."""
    with pytest.raises(Occupied):
        await opened_at(tmp_path / "vectors")


async def test_a_damaged_folder_is_said_to_be_damaged(edge: EdgeVectors, tmp_path: Path) -> None:
    """So that whoever opens it knows that a rebuild helps."""
    await edge.close()
    (tmp_path / "vectors" / "shard" / "edge_config.json").write_text("{", encoding="utf-8")

    with pytest.raises(Damaged):
        await opened_at(tmp_path / "vectors")


async def test_an_opening_that_was_cut_short_is_begun_again(tmp_path: Path) -> None:
    """A half-made shard lies under another name and is never taken for one."""
    half = tmp_path / "vectors" / "shard.new"
    half.mkdir(parents=True)
    (half / "edge_config.json").write_text("{", encoding="utf-8")

    index = await opened_at(tmp_path / "vectors")
    await index.close()
    assert not half.exists()


async def test_closing_that_was_cut_off_can_be_finished(edge: EdgeVectors, tmp_path: Path) -> None:
    """A search whose caller went away still runs in its thread; whoever closes may be cancelled while it waits for that."""
    begun, release = threading.Event(), threading.Event()
    abandoned = asyncio.create_task(edge._reader.run(lambda: (begun.set(), release.wait(20))))
    await until(begun.is_set)
    abandoned.cancel()
    closing = asyncio.create_task(edge.close())
    await until(lambda: edge._reader.closed)
    closing.cancel()
    await asyncio.wait([closing])
    release.set()

    await edge.close()

    assert closing.cancelled()
    again = await opened_at(tmp_path / "vectors")
    await again.close()


async def everything_held(index: VectorIndex, *, limit: int, scope=SCOPE) -> list[Held]:
    """The inventory, piece by piece."""
    found: list[Held] = []
    while piece := await index.inventory(scope.key, after=found[-1].key if found else None, limit=limit):
        found += piece
    return found


@pytest.mark.parametrize("limit", [1, 7, 40, 1000])
async def test_the_inventory_is_by_key_whatever_the_pieces(index: VectorIndex, limit: int) -> None:
    """Tombstones included, in the version of the retraction; another memory is not in it."""
    await index.put(
        [vectors(entry(f"n{number}", version=number + 1), *[window("x")] * (1 + number % 3)) for number in range(40)],
        [tombstone(f"n{number}", version=100 + number) for number in range(4)],
    )
    await index.put([vectors(entry("a", scope=OTHER), window("x"))], [tombstone("never", version=200)])

    expected = [Held(key=key_of(f"n{number}"), version=number + 1, live=True) for number in range(4, 40)]
    expected += [Held(key=key_of(f"n{number}"), version=100 + number, live=False) for number in range(4)]
    expected.append(Held(key=key_of("never"), version=200, live=False))
    assert await everything_held(index, limit=limit) == sorted(expected, key=lambda one: one.key)
    assert await index.scopes() == sorted([SCOPE.key, OTHER.key])
    assert await index.inventory("nowhere", after=None, limit=5) == []
    asked = [key_of(name) for name in ("n0", "n9", "never", "unheard")]
    held = await index.held(SCOPE.key, asked)
    assert sorted(held, key=lambda one: one.key) == [one for one in sorted(expected, key=lambda one: one.key) if one.key in asked]
    assert await index.held(OTHER.key, asked) == []


async def test_a_sweep_hands_over_everything_once_whatever_the_order(index: VectorIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tombstones included, in pieces, while others write; of an empty memory it hands over nothing."""
    monkeypatch.setattr(edge_vectors, "SCROLL_PAGE", 7)
    monkeypatch.setattr(qdrant_vectors, "PAGE", 7)
    named = [(number, f"n{number}") for number in range(40)]
    await index.put(
        [vectors(entry(name, version=number + 1), *[window("x")] * (1 + number % 3)) for number, name in named],
        [tombstone("n3", version=100), tombstone("never", version=200)],
    )
    await index.put([vectors(entry("a", scope=OTHER), window("x"))])
    before = await everything_held(index, limit=100)
    assert len(before) == 41

    found = await swept(index, between=lambda: index.put([vectors(entry("late", version=500), window("x"))]))

    assert sorted((one for one in found if one.key != key_of("late")), key=lambda one: one.key) == before
    assert len({one.key for one in found}) == len(found)
    assert await swept(index, OTHER.calendar) == []


async def test_what_is_removed_leaves_no_trace_and_what_is_newer_stays(index: VectorIndex, reopen: Reopen) -> None:
    """Neither events nor tombstones; an older version may then be written, for nothing says any more that it is older."""
    await index.put(
        [vectors(entry("a", version=5), window("x"), window("y")), vectors(entry("b", version=3), window("x"))], [tombstone("c", version=6)]
    )
    before = await everything_held(index, limit=10)
    by_key = {one.key: one for one in before}
    a, b, c = (by_key[key_of(name)] for name in "abc")

    assert await index.remove(SCOPE.key, [a, replace(b, version=2), replace(c, live=True)]) == 1
    assert await index.remove(OTHER.key, [b]) == 0
    assert await index.remove("nowhere", [b]) == 0
    index = await reopen()
    assert await everything_held(index, limit=10) == [one for one in before if one != a]
    assert await index.remove(SCOPE.key, [b, c]) == 2
    assert await index.scopes() == []
    await index.put([vectors(entry("a", version=1), window("z"))])
    assert await everything_held(index, limit=10) == [Held(key=key_of("a"), version=1, live=True)]
    (hit,) = await index.nearest(SCOPE, direction("y"), criteria=ALL, limit=5)
    assert hit.score == pytest.approx(float(direction("y") @ direction("z")), abs=2e-3)


async def test_what_was_written_is_not_damaged(index: VectorIndex, reopen: Reopen) -> None:
    """Neither while it is written to, nor after what was replaced, retracted, removed, purged, or when it was opened again."""

    def text(number: int, *, version: int) -> VectorEntry:
        windows = [window(f"w{number}-{part}", *["x", "y", "z"][: 1 + part]) for part in range(1 + (number + version) % 4)]
        tags = facets(labels=("board", "hr")) if number % 2 else facets()
        return vectors(entry(f"n{number}", version=version, at=number, with_facets=tags), *windows)

    for start in range(0, 60, 10):
        _, found = await asyncio.gather(
            index.put([text(number, version=1) for number in range(start, start + 10)]), index.damaged(between=at_once)
        )
        assert list(found) == []
    await index.put([text(number, version=2) for number in range(20)], [tombstone(f"n{number}", version=9) for number in range(20, 30)])
    await index.put([vectors(entry("silent", scope=OTHER), Window(dense=direction("x"), tokens=np.empty((0, DIMENSION), np.float32)))])
    await index.remove(SCOPE.key, await index.held(SCOPE.key, [key_of("n7"), key_of("n25")]))

    assert list(await index.damaged(between=at_once)) == []
    await asyncio.gather(index.purge(), *(index.put([text(number, version=3)]) for number in range(40, 60)))
    assert list(await index.damaged(between=at_once)) == []
    assert list(await (await reopen()).damaged(between=at_once)) == []


async def test_compacting_changes_no_answer(index: VectorIndex, reopen: Reopen) -> None:
    """Writes go on beside it; in a folder of our own nothing is left to flush then."""
    await index.put([vectors(entry(f"n{number}", version=number + 1), window(f"n{number}")) for number in range(300)])
    await index.put([], [tombstone(f"n{number}", version=1000 + number) for number in range(0, 300, 2)])
    before = (await index.digest(), await near(index, "n7"))

    freed, *_ = await asyncio.gather(index.compact(), *(index.put([vectors(entry(f"later{n}"), window("sun"))]) for n in range(5)))

    assert freed >= 0
    assert len([key for key in await near(index, "sun", limit=5) if key in {key_of(f"later{n}") for n in range(5)}]) == 5
    await index.remove(SCOPE.key, await index.held(SCOPE.key, [key_of(f"later{n}") for n in range(5)]))
    await index.compact()
    assert getattr(index, "_unflushed", 0) == 0
    index = await reopen()
    assert (await index.digest(), await near(index, "n7")) == before


async def test_an_index_of_an_older_format_is_refused(tmp_path: Path) -> None:
    """Its tombstones do not say whose they are; whoever opens it builds it anew."""
    (tmp_path / "vectors").mkdir()
    (tmp_path / "vectors" / "identity").write_text("edge1-test\n", encoding="utf-8")

    with pytest.raises(Misconfigured, match="edge1"):
        await opened_at(tmp_path / "vectors")
