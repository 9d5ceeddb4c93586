"""What is on disk when a write returns: a power cut, played by putting back everything that had not been synced."""

import shutil
from pathlib import Path

import pytest
from tests.contracts.projections import DIMENSION, SCOPE, direction, entry, key_of, tombstone, window
from tests.contracts.projections import vectors as with_windows

from kalends.adapters.embedded import files, vectors
from kalends.adapters.embedded.lexicon import TantivyLexicon
from kalends.adapters.embedded.vectors import EdgeVectors
from kalends.domain.queries import Criteria

ALL = Criteria()


async def opened_at(folder: Path) -> EdgeVectors:
    """The vector index in *folder*."""
    return await EdgeVectors.open(folder, identity="test", dimension=DIMENSION)


@pytest.mark.parametrize("flush_after", [vectors.POINTS_PER_FLUSH, 40])
async def test_vectors_need_only_their_synced_log_after_a_power_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flush_after: int
) -> None:
    """Segments as they were at the last flush, and the write-ahead log, are enough for everything that was acknowledged."""
    monkeypatch.setattr(vectors, "POINTS_PER_FLUSH", flush_after)
    live, flushed = tmp_path / "live", tmp_path / "flushed"
    index = await opened_at(live)
    shard = index._shard
    await index.put([with_windows(entry("first", version=1), window("first"))])
    shard.flush()
    shutil.copytree(live, flushed)
    for number in range(20):
        names = [f"n{number}-{place}" for place in range(10)]
        await index.put([with_windows(entry(name, version=number + 2), window(name)) for name in names])
        if index._unflushed == 0:
            shutil.rmtree(flushed)
            shutil.copytree(live, flushed)
    await index.put([with_windows(entry("first", version=50), window("second"))], [tombstone("n3-3", version=51)])
    expected = await index.digest()
    after = tmp_path / "after"
    shutil.copytree(flushed, after, ignore=lambda folder, names: names if folder.endswith("wal") else [])
    shutil.copytree(live / "shard" / "wal", after / "shard" / "wal", dirs_exist_ok=True)
    await index.close()

    again = await opened_at(after)
    try:
        assert await again.digest() == expected
        hits = [hit.key for hit in await again.nearest(SCOPE, direction("n7-7"), criteria=ALL, limit=1000)]
        assert hits[0] == key_of("n7-7")
        assert len(hits) == 200
        assert (await again.nearest(SCOPE, direction("second"), criteria=ALL, limit=1))[0].key == key_of("first")
    finally:
        await again.close()


async def test_every_write_syncs_what_it_relies_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Edge's log files and their folder; the folder in which tantivy renames its list of segments, and the name of a new folder."""
    synced: list[str] = []
    real_file, real_folder = files.sync_file, files.sync_folder
    monkeypatch.setattr(files, "sync_file", lambda path: (synced.append(path.name), real_file(path)))
    monkeypatch.setattr(files, "sync_folder", lambda path: (synced.append(path.name), real_folder(path)))
    edge, lexicon = await opened_at(tmp_path / "vectors"), await TantivyLexicon.open(tmp_path / "lexicon")
    try:
        synced.clear()
        await edge.put([with_windows(entry("a"), window("a"))])
        assert any(name.startswith("open-") for name in synced)
        assert synced[-1] == "wal"
        synced.clear()
        await lexicon.put([entry("a", "text")])
        assert synced == ["lexicon", SCOPE.key]
    finally:
        await edge.close()
        await lexicon.close()


async def test_what_a_kill_left_of_the_engines_own_writing_is_in_nobodys_way(tmp_path: Path) -> None:
    """Edge writes its small files in a folder beside its log and moves them out; a kill in between leaves the folder for ever."""
    index = await opened_at(tmp_path)
    (tmp_path / "shard" / "wal" / ".atomicwriteAbCdEf").mkdir()
    try:
        await index.put([with_windows(entry("before"), window("before"))])
    finally:
        await index.close()

    again = await opened_at(tmp_path)
    try:
        await again.put([with_windows(entry("after", version=2), window("after"))])
        assert await again.count(SCOPE) == 2
    finally:
        await again.close()


def test_a_file_is_either_the_old_or_the_new_one(tmp_path: Path) -> None:
    """A writer that fails leaves the old content and no temporary file."""
    path = tmp_path / "file"
    files.write_whole(path, lambda temporary: temporary.write_text("old", encoding="utf-8"))

    def fail(temporary: Path) -> None:
        temporary.write_text("half", encoding="utf-8")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="space"):
        files.write_whole(path, fail)
    assert path.read_text(encoding="utf-8") == "old"
    assert [left.name for left in tmp_path.iterdir()] == ["file"]
