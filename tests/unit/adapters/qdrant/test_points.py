"""An event as points, and the filters that guard them, without a server."""

from dataclasses import replace

import numpy as np
import pytest
from qdrant_client.conversions import conversion
from tests.contracts.projections import DIMENSION, SCOPE, entry, key_of, tombstone, vectors, window

from kalends.adapters.qdrant import points
from kalends.adapters.qdrant.points import Change
from kalends.domain.errors import Invalid, Misconfigured
from kalends.ports.vectors import Window


def change(name: str, *, version: int = 1, windows: int = 1) -> Change:
    """The event called *name*, as a change."""
    return Change(vectors(entry(name, version=version), *[window(f"{name}{n}") for n in range(windows)]), dimension=DIMENSION)


def test_window_0_has_the_key_as_its_id_and_says_whose_it_is() -> None:
    """And how many windows there are."""
    guard = change("a", version=7, windows=3).guard()

    assert guard.id.uuid.replace("-", "") == key_of("a")
    assert (guard.payload["lead"].string_value, guard.payload["windows"].integer_value) == (SCOPE.key, 3)
    assert set(guard.vectors.vectors.vectors) == {"dense", "tokens"}


def test_two_versions_share_no_window_but_the_first() -> None:
    """So neither can overwrite a half of the other."""
    old, new = change("a", version=1, windows=4), change("a", version=2, windows=4)

    assert set(old.extra_ids) & set(new.extra_ids) == set()
    assert old.guard().id == new.guard().id
    assert [point.id.uuid for point in old.extras()] == old.extra_ids
    assert all("lead" not in point.payload for point in old.extras())


def test_a_tombstone_has_nothing_that_a_search_could_reach() -> None:
    """No vector, no scope, no lead."""
    guard = Change(tombstone("a", version=3), dimension=DIMENSION).guard()

    assert dict(guard.vectors.vectors.vectors) == {}
    assert set(guard.payload) == {"key", "version", "windows", "dead", "grave"}


def test_no_text_and_no_facet_is_in_a_payload() -> None:
    """An erasure has one target fewer then."""
    told = vectors(replace(entry("a", "a secret", version=1), lead="2026 Anna", speaker="Anna"), window("a"))
    sent = Change(told, dimension=DIMENSION).guard().SerializeToString()

    assert b"secret" not in sent
    assert b"Anna" not in sent


@pytest.mark.parametrize("part", ["dense", "tokens"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_refused_before_it_is_sent(part: str, value: float) -> None:
    """A server takes a NaN, and then cannot answer for the point."""
    whole = window("a")
    broken = {"dense": whole.dense.copy(), "tokens": whole.tokens.copy()}
    broken[part].flat[3] = value
    with pytest.raises(Invalid):
        Change(vectors(entry("a"), Window(**broken)), dimension=DIMENSION)


def test_a_version_that_doubles_cannot_tell_apart_is_refused() -> None:
    """Qdrant compares with doubles, and would take the newer for the same."""
    assert change("a", version=points.EXACT_BELOW - 2).version == 2**53 - 2
    for version in (points.EXACT_BELOW - 1, points.EXACT_BELOW):  # the first stands for the version that nothing beats
        with pytest.raises(Misconfigured):
            change("a", version=version)


def test_other_shapes_are_refused() -> None:
    """Of sentences and of tokens; an event without a window is none."""
    short, right = np.ones(DIMENSION - 1, np.float32), window("a")
    for made in (Window(dense=short, tokens=right.tokens), Window(dense=right.dense, tokens=short[None, :])):
        with pytest.raises(Misconfigured):
            Change(vectors(entry("a"), made), dimension=DIMENSION)
    with pytest.raises(Invalid):
        Change(vectors(entry("a")), dimension=DIMENSION)


def test_a_window_may_have_no_tokens() -> None:
    """Then it is found by meaning alone."""
    bare = Window(dense=window("a").dense, tokens=np.zeros((0, DIMENSION), np.float32))

    assert set(Change(vectors(entry("a"), bare), dimension=DIMENSION).guard().vectors.vectors.vectors) == {"dense"}


def test_pieces_are_bounded_by_points_and_by_bytes() -> None:
    """And a point that is larger than a piece goes alone."""
    made = [change(f"n{number}").guard() for number in range(10)]
    size = made[0].ByteSize()

    assert [len(piece) for piece in points.pieces(made, most=4, most_bytes=1 << 20)] == [4, 4, 2]
    assert [len(piece) for piece in points.pieces(made, most=100, most_bytes=3 * size + 3)] == [3, 3, 3, 1]
    assert [len(piece) for piece in points.pieces(made, most=100, most_bytes=1)] == [1] * 10
    assert list(points.pieces([], most=4, most_bytes=1)) == []


@pytest.mark.parametrize(
    "made", [change("a", windows=2), Change(tombstone("a", version=3), dimension=DIMENSION)], ids=["event", "tombstone"]
)
def test_over_rest_a_point_is_the_same(made: Change) -> None:
    """The client's own conversion of the messages that are made for gRPC."""
    for sent in (made.guard(), *made.extras()):
        over_rest = conversion.GrpcToRest.convert_point_struct(sent)
        again = conversion.RestToGrpc.convert_point_struct(over_rest)
        assert (again.id, dict(again.payload)) == (sent.id, dict(sent.payload))
        assert set(again.vectors.vectors.vectors) == set(sent.vectors.vectors.vectors)
