"""The suites of the ports ``lexicon`` and ``vectors``, what they do about what is not held any more: purging, and tombstones for ever.

Belongs here: every engine. Does not belong here: an engine's own files on a server's disk (``tests/cluster``). A newcomer would get wrong:
tantivy shares the beginnings of words in its lists and compresses what it stores, so a scan for a word proves little of its files; what
does is that no file of before is left, and that no list of words and no stored field of the new ones has it.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.contracts import lexicons
from tests.contracts.projections import DIMENSION, OTHER, SCOPE, at_once, direction, entry, facets, key_of, tombstone, vectors, window
from tests.support.files import files_with
from tests.support.qdrant_wire.running import real_settings, shared_server, with_real

from kalends.adapters.embedded import edge_sums
from kalends.adapters.embedded import lexicon as embedded
from kalends.adapters.embedded.lexicon import TantivyLexicon
from kalends.adapters.embedded.lexicon_rewriting import SOURCE
from kalends.adapters.embedded.vectors import EdgeVectors
from kalends.adapters.qdrant.generations import open_generations
from kalends.domain.queries import Criteria, Entry, Filter, Held, tag
from kalends.domain.versions import FOREVER
from kalends.ports.lexicon import LexicalIndex
from kalends.ports.vectors import VectorEntry, VectorIndex

ALL = Criteria()
WORDS = ("harbour", "lantern", "orchid", "saddle")


@pytest.fixture(params=lexicons.PARAMETERS)
async def lexicon(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[LexicalIndex]:
    """An empty index of each engine."""
    async with lexicons.ENGINES[request.param](tmp_path) as engine:
        yield await engine.open()


@pytest.fixture(params=with_real("embedded", "wire", real=("grpc", "rest")))
async def index(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[VectorIndex]:
    """An empty index of each engine."""
    if request.param == "embedded":
        opened = await EdgeVectors.open(tmp_path / "vectors", identity="test", dimension=DIMENSION)
        yield opened
        await opened.close()
        return
    on_wire = request.param == "wire"
    settings = shared_server().settings() if on_wire else real_settings(transport=request.param)
    assert settings is not None
    async with open_generations(settings, identity="test", dimension=DIMENSION) as generations:
        await generations.make("g1")
        yield generations.index("g1")
        await generations.drop("g1")


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[EdgeVectors]:
    """An empty index of qdrant-edge."""
    opened = await EdgeVectors.open(tmp_path / "vectors", identity="test", dimension=DIMENSION)
    yield opened
    await opened.close()


def said(number: int, *, version: int = 1, scope=SCOPE) -> Entry:
    """An event of two words, one of which only it says."""
    text = f"{WORDS[number % len(WORDS)]} canary{number} café 漢字{number}"
    return replace(
        entry(f"e{number}", text, version=version, at=number, scope=scope, with_facets=facets("s", actor="ada")), lead="30 January"
    )


async def ranked(lexicon: LexicalIndex) -> list[object]:
    """What is found, in its order, by several questions."""
    criteria = Filter(actor=("ada",)).criteria()
    asked = [*WORDS, "canary7", "cafe", "漢字", "january harbour", "canary3"]
    return [[hit.key for hit in await lexicon.search(SCOPE, text, criteria=criteria, limit=50)] for text in asked]


async def test_purging_a_lexicon_changes_no_answer(lexicon: LexicalIndex) -> None:
    """Not what is found, not what is held, not what a word is worth once nothing deleted counts; tombstones stay tombstones."""
    await lexicon.put([said(number) for number in range(40)])
    await lexicon.put([said(number, version=2) for number in range(10)], [tombstone(f"e{number}", version=3) for number in range(20, 30)])
    before, digest = await ranked(lexicon), await lexicon.digest()

    await lexicon.purge()
    await lexicon.purge(SCOPE.key)

    assert [sorted(found) for found in await ranked(lexicon)] == [sorted(found) for found in before]  # type: ignore[arg-type]
    assert (await lexicon.digest(), await lexicon.count(SCOPE)) == (digest, 30)
    await lexicon.put([said(25, version=2)])
    assert await lexicon.count(SCOPE) == 30
    await lexicon.put([said(25, version=4)])
    assert await lexicon.count(SCOPE) == 31


async def test_a_tombstone_for_ever_is_never_overtaken_in_a_lexicon(lexicon: LexicalIndex) -> None:
    """By no version that a log can give; also after a purge."""
    await lexicon.put([said(1)], [tombstone("e1", version=FOREVER), tombstone("e2", version=FOREVER)])
    latest = (16_000 << 48) | ((1 << 48) - 1)
    await lexicon.put([said(1, version=latest), said(2, version=latest)])
    await lexicon.purge()
    await lexicon.put([said(1, version=latest)])

    assert await lexicon.count(SCOPE) == 0
    held = await lexicon.held(SCOPE.key, [key_of("e1"), key_of("e2")])
    assert sorted(held, key=lambda one: one.key) == sorted(
        (Held(key=key_of(name), version=FOREVER, live=False) for name in ("e1", "e2")), key=lambda one: one.key
    )


async def test_purging_vectors_changes_no_answer(index: VectorIndex) -> None:
    """Not what is near, not the late scores, not what is held; an event of fewer windows than before has those; tombstones stay."""
    names = [f"e{number}" for number in range(30)]
    await index.put([vectors(entry(name), window(name, name, "x"), window(f"{name}-2")) for name in names])
    await index.put([vectors(entry(name, version=2), window(f"{name}-new", name)) for name in names[:5]])
    await index.put([], [tombstone(name, version=3) for name in names[10:15]])

    async def answers() -> list[object]:
        near = [await index.nearest(SCOPE, direction(name), criteria=ALL, limit=5) for name in ("e0", "e0-new", "e7-2", "e12", "q")]
        tokens = direction("x")[None, :]
        return [near, await index.late(SCOPE, tokens, [key_of(name) for name in names]), await index.digest(), await index.count(SCOPE)]

    before = await answers()
    await index.purge()
    await index.purge(SCOPE.key)

    assert await answers() == before
    await index.put([vectors(entry("e12", version=2), window("e12"))])
    assert await index.count(SCOPE) == 25
    await index.put([vectors(entry("e12", version=4), window("e12"))])
    assert await index.count(SCOPE) == 26


async def test_a_tombstone_for_ever_is_never_overtaken_among_vectors(index: VectorIndex) -> None:
    """By no version that a log can give; also after a purge."""
    await index.put([vectors(entry("a"), window("a"))], [tombstone("a", version=FOREVER)])
    latest = (31 << 48) | 12_345  # Qdrant compares none above
    await index.put([vectors(entry("a", version=latest), window("a"))])
    await index.purge()
    await index.put([vectors(entry("a", version=latest), window("a"))])

    assert await index.count(SCOPE) == 0
    assert await index.held(SCOPE.key, [key_of("a")]) == [Held(key=key_of("a"), version=FOREVER, live=False)]


@pytest.mark.parametrize("kept_open", [256, 1])
async def test_writes_and_searches_go_on_while_a_lexicon_is_purged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept_open: int) -> None:
    """Nothing that was written meanwhile is lost, taken back or found twice; also of a memory that is not purged, or is put away."""
    monkeypatch.setattr(embedded, "OPEN_INDEXES", kept_open)
    monkeypatch.setattr(embedded, "OPEN_WRITERS", kept_open)
    lexicon = await TantivyLexicon.open(tmp_path)
    try:
        for start in range(0, 3000, 500):
            await lexicon.put([said(number) for number in range(start, start + 500)])
        await lexicon.put([], [tombstone(f"e{number}", version=5) for number in range(0, 3000, 3)])
        purging = asyncio.create_task(lexicon.purge())
        rounds = 0
        while not purging.done() and rounds < 100:
            place = 3000 + rounds
            await lexicon.put(
                [said(place), said(1, version=10 + rounds), said(place, scope=OTHER)], [tombstone(f"e{rounds * 3 + 2}", version=9)]
            )
            assert [hit.key for hit in await lexicon.search(SCOPE, f"canary{place}", criteria=ALL, limit=3)] == [key_of(f"e{place}")]
            rounds += 1
        await purging

        assert rounds > 0
        assert await lexicon.count(SCOPE) == 2000 + rounds - min(rounds, 1000)
        added = await lexicon.held(SCOPE.key, [key_of(f"e{3000 + number}") for number in range(rounds)])
        assert [one.live for one in added] == [True] * rounds
        removed = await lexicon.held(SCOPE.key, [key_of(f"e{number * 3 + 2}") for number in range(rounds)])
        assert [one.live for one in removed] == [False] * rounds
        assert await lexicon.count(OTHER) == rounds
        assert await lexicon.held(SCOPE.key, [key_of("e1")]) == [Held(key=key_of("e1"), version=9 + rounds, live=True)]
        assert len(await lexicon.search(SCOPE, "canary1", criteria=ALL, limit=9)) == 1
    finally:
        await lexicon.close()


async def test_writes_and_searches_go_on_while_vectors_are_purged(tmp_path: Path) -> None:
    """Nothing that was written, replaced, taken back or removed meanwhile is lost, also after a restart."""
    edge = await EdgeVectors.open(tmp_path, identity="test", dimension=DIMENSION)
    try:
        await edge.put([two_windows(f"e{number}") for number in range(300)])
        await edge.put([], [tombstone("e0", version=5)])
        purging = asyncio.create_task(edge.purge())
        rounds = 0
        while not purging.done() and rounds < 90:
            await edge.put([two_windows(f"n{rounds}"), vectors(entry("e1", version=10 + rounds), window("e1"))])
            await edge.put([], [tombstone(f"e{100 + rounds}", version=7)])
            held = await edge.held(SCOPE.key, [key_of(f"e{200 + rounds}")])
            assert await edge.remove(SCOPE.key, held) == 1
            [best] = await edge.nearest(SCOPE, direction(f"n{rounds}"), criteria=ALL, limit=1)
            assert best.key == key_of(f"n{rounds}")
            rounds += 1
        await purging
        state = (await edge.digest(), await edge.count(SCOPE))
        assert rounds > 0
        assert state[1] == 299 - rounds
    finally:
        await edge.close()
    again = await EdgeVectors.open(tmp_path, identity="test", dimension=DIMENSION)
    try:
        assert (await again.digest(), await again.count(SCOPE)) == state
        assert len(await again.nearest(SCOPE, direction("e1"), criteria=ALL, limit=5)) == 5
        assert folders_in(tmp_path) == ["shard-2"]
        assert await again.damaged(between=at_once) == []
    finally:
        await again.close()


def two_windows(name: str) -> VectorEntry:
    """An event of two windows."""
    return vectors(entry(name), window(name), window(f"{name}-2"))


async def test_no_file_of_a_purged_lexicon_knows_a_word_that_is_not_held(tmp_path: Path) -> None:
    """No list of words, no stored field, no file of before; and what a tombstone keeps is a key and a version."""
    lexicon = await TantivyLexicon.open(tmp_path)
    try:
        await lexicon.put([said(number) for number in range(60)])
        memory = lexicon._memory(SCOPE.key)
        assert words_of(memory, "canary5") == {f"canary{number}" for number in (5, *range(50, 60))}
        before = {name for name in names_in(tmp_path / SCOPE.key) if len(name.partition(".")[0]) == 32}

        await lexicon.put([], [tombstone(f"e{number}", version=3) for number in range(50, 60)])
        assert "canary55" in words_of(lexicon._memory(SCOPE.key), "canary5")
        assert await lexicon.purge() == 0

        memory = lexicon._memory(SCOPE.key)
        assert words_of(memory, "canary5") == {"canary5"}
        assert not before & set(names_in(tmp_path / SCOPE.key))
        assert folders_in(tmp_path) == [SCOPE.key]
        stored = [memory._index.searcher().doc(address) for address in every_document(memory)]
        sources = [bytes(one.get_first(SOURCE)) for one in stored if one.get_first(SOURCE) is not None]
        assert len(stored) == 60
        assert len(sources) == 50
        assert not any(b"canary55" in one or tag("session_id", "s").encode() not in one for one in sources)
    finally:
        await lexicon.close()


def every_document(memory) -> list[object]:
    """Where each document of an index is."""
    from tantivy import Query

    searcher = memory._index.searcher()
    return [address for _, address in searcher.search(Query.all_query(), limit=searcher.num_docs, count=False).hits]


def words_of(memory, start: str) -> set[str]:
    """The words in an index's list that begin so, held or not."""
    return {word if isinstance(word, str) else word[0] for word in memory._index.searcher().terms_with_prefix("exact", start)}


async def test_no_byte_of_a_purged_point_is_left_in_the_files(edge: EdgeVectors, tmp_path: Path) -> None:
    """Its key and a sum stand for it in payloads, indexes and the log of writes; of another a tombstone has key, version, scope and sum."""
    gone, kept = key_of("gone"), key_of("kept")
    await edge.put([vectors(entry(name), window(name)) for name in ("gone", "kept", *(f"n{number}" for number in range(100)))])
    await edge.put([], [tombstone("n1", version=2)])
    told = edge._payloads(SCOPE.key, [gone])[gone][edge_sums.TOKENS]
    known = [gone, told.rpartition(":")[2]]
    assert all(files_with(tmp_path, one.encode()) for one in known)
    await edge.remove(SCOPE.key, await edge.held(SCOPE.key, [gone]))
    assert files_with(tmp_path, gone.encode())

    assert await edge.purge() == 0

    assert [path for one in known for path in files_with(tmp_path, one.encode())] == []
    assert files_with(tmp_path, kept.encode())
    (left,) = edge._payloads(SCOPE.key, [key_of("n1")]).values()
    assert isinstance(left.pop(edge_sums.PAYLOAD), int)
    assert left == {"key": key_of("n1"), "version": 2, "windows": 1, "dead": True, "grave": SCOPE.key}


def names_in(folder: Path) -> list[str]:
    """The names of what is in *folder*."""
    return [path.name for path in folder.iterdir()]


def folders_in(folder: Path) -> list[str]:
    """The names of the folders in *folder*."""
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


@pytest.mark.parametrize("left", ["a part of a copy", "an index put aside and a copy", "an index put aside"])
async def test_a_lexicon_whose_purge_was_cut_off_opens_with_everything(tmp_path: Path, left: str) -> None:
    """Wherever it was killed, and nothing of the purge is left."""
    lexicon = await TantivyLexicon.open(tmp_path)
    await lexicon.put([said(1), said(2)])
    await lexicon.close()
    index = tmp_path / SCOPE.key
    if left == "an index put aside":
        shutil.copytree(index, index.with_suffix(".old"))
    else:
        shutil.copytree(index, index.with_suffix(".copy"))
        if left == "a part of a copy":
            next(index.with_suffix(".copy").glob("*.idx")).unlink()
        else:
            index.rename(index.with_suffix(".old"))

    lexicon = await TantivyLexicon.open(tmp_path)
    try:
        assert await lexicon.count(SCOPE) == 2
        assert await lexicon.scopes() == [SCOPE.key]
        assert folders_in(tmp_path) == [SCOPE.key]
    finally:
        await lexicon.close()


async def test_vectors_whose_purge_was_cut_off_open_with_everything(tmp_path: Path) -> None:
    """Before the copy counted it is deleted, and after that what it replaced."""
    edge = await EdgeVectors.open(tmp_path, identity="test", dimension=DIMENSION)
    await edge.put([vectors(entry("a"), window("a"))])
    await edge.close()
    shutil.copytree(tmp_path / "shard", tmp_path / "shard-2")

    edge = await EdgeVectors.open(tmp_path, identity="test", dimension=DIMENSION)
    assert await edge.count(SCOPE) == 1
    await edge.close()
    assert folders_in(tmp_path) == ["shard"]
    (tmp_path / "shard").rename(tmp_path / "shard-7")
    (tmp_path / "shard-8").mkdir()
    (tmp_path / "SHARD").write_text("shard-7\n")

    edge = await EdgeVectors.open(tmp_path, identity="test", dimension=DIMENSION)
    assert await edge.count(SCOPE) == 1
    await edge.put([], [tombstone("a", version=2)])
    await edge.purge()
    assert folders_in(tmp_path) == ["shard-8"]
    await edge.close()


async def test_a_purge_that_cannot_be_done_leaves_everything_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of the shard that cannot be read when it is written anew is an outage of the purge, and of nothing else."""
    edge = await EdgeVectors.open(tmp_path, identity="test", dimension=DIMENSION)
    try:
        await edge.put([vectors(entry("a"), window("a")), vectors(entry("b"), window("b"))])
        await edge.put([], [tombstone("b", version=2)])
        monkeypatch.setattr("kalends.adapters.embedded.vacuuming.sys.executable", "/bin/false")
        with pytest.raises(Exception, match="status 1"):
            await edge.purge()
        assert await edge.count(SCOPE) == 1
        assert folders_in(tmp_path) == ["shard"]
        monkeypatch.undo()

        assert await edge.purge() == 0
        assert await edge.count(SCOPE) == 1
    finally:
        await edge.close()
