"""No point's token vectors are written over by another's after a kill.

A newcomer would get wrong: Edge writes into mapped memory, so a copy of an open shard's folder is what a kill would leave of it.
"""

import random
import struct

import pytest
from tests.contracts.projections import direction, entry, tombstone, vectors, window
from tests.support.edge_shards import damage, opened, write

from kalends.adapters.embedded import edge_lengths, edge_points, shards, vacuuming
from kalends.domain.errors import Damaged

LIVES = 5
CHANGES = 40


def event(name, rows, *, version):
    """An event with so many token vectors, all its own."""
    return vectors(entry(name, version=version), window(name, *[f"{name}-{version}-{number}" for number in range(rows)]))


def killed(folder, to):
    """What a kill would leave, now, of the shard that is open in *folder*."""
    vacuuming.copy(folder, to)
    return to


def count_of(folder):
    """The file that says how many token vectors there are."""
    (found,) = folder.glob("shard*/segments/*/vector_storage-tokens/tq_vectors/status.dat")
    return found


def offsets_of(folder):
    """The folder that says where they are."""
    return count_of(folder).parent.with_name("tq_offsets")


@pytest.fixture
def folder(tmp_path):
    """What a kill left of a shard with a known event that grew twice since the last flush, and a new one between."""
    shard = opened(tmp_path / "vectors")
    write(shard, event("known", 4, version=1))
    shard.flush()
    write(shard, event("known", 6, version=2))
    write(shard, event("new", 5, version=3))
    write(shard, event("known", 8, version=4))
    left = killed(tmp_path / "vectors", tmp_path / "killed")
    shard.close()
    return left


def test_a_new_event_is_not_put_where_a_known_one_grows(folder):
    """Both are what was written, and so is what comes after them."""
    shard = opened(folder)
    assert damage(shard) == []

    write(shard, event("later", 9, version=5), event("known", 12, version=6))

    assert damage(shard) == []
    shard.close()


@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_written_over_however_often_it_is_killed(tmp_path, seed):
    """Events that are new, grow, shrink and go, flushed now and then, over several lives."""
    source = random.Random(seed)
    folder, version = tmp_path / "life-0", 0
    for life in range(LIVES):
        shard = opened(folder)
        for _ in range(CHANGES):
            version += 1
            fresh = [event(f"fresh-{version}-{number}", source.randint(2, 5), version=version) for number in range(source.randint(0, 3))]
            known = event(f"known-{source.randrange(8)}", source.randint(5, 20), version=version)
            write(shard, *fresh, known)
            if source.random() < 0.2:
                write(shard, tombstone(f"known-{source.randrange(8)}", version=version))
            if source.random() < 0.05:
                shard.flush()
        assert damage(shard) == []
        folder = killed(folder, tmp_path / f"life-{life + 1}")
        shard.close()
    last = opened(folder)
    assert damage(last) == []
    last.close()


def test_a_shard_that_was_closed_is_left_as_it_is(tmp_path):
    """What Edge wrote down covers everything."""
    shard = opened(tmp_path)
    write(shard, event("one", 4, version=1))
    shard.close()
    before = count_of(tmp_path).read_bytes()

    edge_lengths.raise_to_what_is_taken(tmp_path / "shard")

    assert struct.unpack("<Q", before) == (4,)
    assert count_of(tmp_path).read_bytes() == before


def test_a_place_beyond_the_files_is_not_believed(folder):
    """Edge would make files as long as that."""
    chunk = offsets_of(folder) / "chunk_0.mmap"
    with chunk.open("r+b") as file:
        file.write(struct.pack("<III", 2**32 - 8, 8, 8))

    edge_lengths.raise_to_what_is_taken(folder / "shard")

    assert struct.unpack("<Q", count_of(folder).read_bytes()) == (4,)


@pytest.mark.parametrize(
    ("name", "content"), [("status.dat", b"four"), ("config.json", b"{}"), ("config.json", b"chunks"), ("status.dat", None)], ids=repr
)
def test_what_edge_did_not_write_is_damage(folder, name, content):
    """It is named, and the projection is built anew."""
    spoilt = offsets_of(folder) / name
    spoilt.unlink() if content is None else spoilt.write_bytes(content)

    with pytest.raises(Damaged, match="tokens"):
        opened(folder)


def test_vectors_come_back_as_they_were(folder):
    """Not only as the sums say: each row is where its event's is."""
    shard = opened(folder)
    (record,) = shard.retrieve([edge_points.point_id(entry("new").key, 0)], True, [shards.TOKENS])

    rows = record.vector[shards.TOKENS]

    assert [float(direction(f"new-3-{number}") @ row) > 0.9 for number, row in enumerate(rows)] == [True] * 5
    shard.close()
