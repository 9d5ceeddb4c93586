"""A changed byte of an Edge shard is found where a point lies, and points that are whole are not suspected.

A newcomer would get wrong: bytes are changed while nobody has the shard open, as on a disk that spoils; an open one may still have the old
ones in memory.
"""

import numpy as np
import pytest
from tests.contracts.projections import DIMENSION, direction, entry, key_of, tombstone, vectors, window
from tests.support.edge_shards import damage, opened, write

from kalends.adapters.embedded import edge_points, edge_sums, shards, vacuuming, vector_checking

EVENTS = 40


def event(name, *, windows=1, version=1):
    """An event with as many windows, each with vectors of its own."""
    return vectors(entry(name, version=version), *[window(f"{name}-{number}", f"{name}-t", f"{name}-u") for number in range(windows)])


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder with events of one to three windows and a few tombstones."""
    folder = tmp_path_factory.mktemp("vectors")
    shard = opened(folder)
    write(shard, *[event(f"n{number}", windows=1 + number % 3) for number in range(EVENTS)])
    write(shard, *[tombstone(f"gone{number}", version=5) for number in range(5)])
    shard.flush()
    shard.close()
    return folder


@pytest.fixture
def folder(written, tmp_path):
    """A copy of it."""
    vacuuming.copy(written, tmp_path / "vectors")  # its files are mostly holes
    return tmp_path / "vectors"


@pytest.fixture
def shard(folder):
    """The shard in the copy, open."""
    one = opened(folder)
    yield one
    one.close()


def change(path, place, *, mask=1):
    """Change a bit of the byte of *path* at *place*."""
    with path.open("r+b") as file:
        file.seek(place)
        (byte,) = file.read(1)
        file.seek(place)
        file.write(bytes([byte ^ mask]))


def lead(name):
    """The id of the first window of an event."""
    return edge_points.point_id(key_of(name), 0)


def test_what_was_written_is_whole(shard):
    """Every page is looked at, and nothing is doubted."""
    pages, offset = [], None
    while not pages or offset is not None:
        pages.append(vector_checking.look(shard, offset))
        offset = pages[-1].following

    assert [page.doubted for page in pages] == [[]] * (-(-shard.info().points_count // vector_checking.PAGE))


@pytest.mark.parametrize("number", [0, 7, DIMENSION - 1])
def test_a_changed_bit_of_a_dense_vector_is_found(folder, number):
    """The lowest one of any number; the point is named."""
    known = direction("n4-0").astype(np.float16).tobytes()
    (path,) = folder.rglob("vector_storage-dense/vectors/chunk_0.mmap")
    change(path, path.read_bytes().index(known) + 2 * number)
    shard = opened(folder)

    assert damage(shard) == [f"{lead('n4')}/dense"]
    shard.close()


@pytest.mark.parametrize("mask", [1, 128])
def test_a_changed_bit_of_token_vectors_is_found(folder, mask):
    """The first byte of all, and one in the middle; also if it is the byte's lowest bit."""
    (path,) = folder.rglob("vector_storage-tokens/tq_vectors/chunk_0.mmap")
    used = np.flatnonzero(np.frombuffer(path.read_bytes(), np.uint8))
    for place in (used[0], used[len(used) // 2]):
        change(path, place, mask=mask)
    shard = opened(folder)

    assert [name.rpartition("/")[2] for name in damage(shard)] == ["tokens"] * 2
    shard.close()


@pytest.mark.parametrize(("mask", "part"), [(1, "payload"), (128, "unreadable")])
def test_a_changed_bit_of_a_payload_is_found(folder, mask, part):
    """It is another payload, or none that can be read; its neighbours are not suspected."""
    (path,) = folder.rglob("payload_storage/page_0.dat")
    # what stood there before its token vectors were summed up may come first
    change(path, path.read_bytes().rindex(key_of("n3").encode()) + 5, mask=mask)
    shard = opened(folder)

    assert damage(shard) == [f"{lead('n3')}/{part}"]
    shard.close()


def test_windows_of_an_event_that_cannot_be_read_are_not_whole(folder):
    """Nobody can tell any more what they belong to."""
    (path,) = folder.rglob("payload_storage/page_0.dat")
    change(path, path.read_bytes().rindex(str(key_of("n4")).encode()) + 5, mask=128)
    shard = opened(folder)

    found = dict(name.split("/") for name in damage(shard))
    assert sorted(found.values()) == ["unreadable", "windows"]
    assert set(found) == {str(edge_points.point_id(key_of("n4"), number)) for number in range(2)}
    shard.close()


def test_a_changed_byte_of_the_index_of_a_field_is_found(folder):
    """The engine filters by it, whatever the payload says."""
    (path,) = folder.glob("shard/segments/*/payload_index/*-key-map/page_0.dat")
    change(path, path.read_bytes().index(key_of("n3").encode()) + 5)
    shard = opened(folder)

    assert damage(shard) == [f"{lead('n3')}/fields"]
    shard.close()


def test_a_window_that_is_gone_is_missed(shard):
    """Whoever asks for what only that window says would not find the event."""
    from qdrant_edge import UpdateOperation

    shard.update(UpdateOperation.delete_points([edge_points.point_id(key_of("n5"), 2)]))

    assert damage(shard) == [f"{lead('n5')}/windows"]


def test_a_window_of_an_event_that_is_gone_is_found(shard):
    """It would answer for what nobody holds any more."""
    from qdrant_edge import UpdateOperation

    shard.update(UpdateOperation.delete_points([lead("n4")]))

    assert damage(shard) == [f"{edge_points.point_id(key_of('n4'), 1)}/windows"]


def test_a_point_under_an_id_that_is_not_its_own_is_found(shard):
    """What maps ids to places keeps no sums either."""
    from qdrant_edge import Point, UpdateOperation

    (record,) = shard.retrieve([lead("n3")], True, True)
    elsewhere = edge_points.point_id(key_of("elsewhere"), 0)
    shard.update(UpdateOperation.upsert_points([Point(elsewhere, record.vector, record.payload)]))

    assert damage(shard) == [f"{elsewhere}/payload"]


@pytest.mark.parametrize("name", [edge_sums.PAYLOAD, edge_sums.DENSE])
def test_a_point_without_the_sums_that_every_point_has_is_damaged(shard, name):
    """Or a changed letter of the field's name would hide the change."""
    from qdrant_edge import UpdateOperation

    shard.update(UpdateOperation.delete_payload([lead("n3")], [name]))

    assert damage(shard) == [f"{lead('n3')}/payload"]


def test_token_vectors_without_a_sum_get_one(shard):
    """So are they after a kill between the two writes; from then on a change is found."""
    from qdrant_edge import PointVectors, UpdateOperation

    shard.update(UpdateOperation.delete_payload([lead("n3")], [edge_sums.TOKENS]))
    assert vector_checking.look(shard, lead("n3")).doubted == [lead("n3")]
    assert damage(shard) == []
    assert vector_checking.look(shard, lead("n3")).doubted == []

    shard.update(UpdateOperation.update_vectors([PointVectors(lead("n3"), {shards.TOKENS: np.stack([direction("q")] * 2).tolist()})]))
    assert damage(shard) == [f"{lead('n3')}/tokens"]


def test_token_vectors_that_are_not_as_many_as_were_written_are_damaged(shard):
    """Also where they have no sum yet."""
    from qdrant_edge import PointVectors, UpdateOperation

    shard.update(UpdateOperation.delete_payload([lead("n3")], [edge_sums.TOKENS]))
    shard.update(UpdateOperation.update_vectors([PointVectors(lead("n3"), {shards.TOKENS: [direction("q").tolist()]})]))

    assert damage(shard) == [f"{lead('n3')}/tokens"]


def test_a_sum_that_another_processor_took_is_taken_anew(shard, monkeypatch):
    """What it read may differ from what is read here without anything being damaged."""
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(edge_sums, "reading", lambda: "elsewhere")
        write(shard, event("n3", version=2))

    assert damage(shard) == []
    assert vector_checking.look(shard, lead("n3")).doubted == []


def test_a_point_that_is_gone_when_it_is_looked_at_again_is_no_damage(shard):
    """It was taken out meanwhile."""
    assert vector_checking.settle(shard, [edge_points.point_id(key_of("never"), 0)]) == []


def test_what_goes_into_another_shard_leaves_a_sum_that_is_right_behind_and_takes_a_wrong_one_along(shard):
    """There the vectors are made anew, and their sum with them; damage must not become what is right."""
    from qdrant_edge import PointVectors, UpdateOperation

    shard.update(UpdateOperation.update_vectors([PointVectors(lead("n3"), {shards.TOKENS: np.stack([direction("q")] * 2).tolist()})]))
    spoilt, whole = (shard.retrieve([lead(name)], True, True)[0] for name in ("n3", "n6"))

    assert vector_checking.carried(spoilt) == spoilt.payload
    assert vector_checking.carried(whole) == {name: value for name, value in whole.payload.items() if name != edge_sums.TOKENS}
