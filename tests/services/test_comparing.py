"""Comparing a scope: what counts in a digest, and what a difference is called."""

from hypothesis import given
from hypothesis import strategies as st

from kalends.domain.events import EventKey
from kalends.domain.queries import Held
from kalends.domain.versions import FOREVER
from kalends.index.comparing import Difference, Sum, differences, is_old

HEAD = 50
KEYS = st.integers(0, 40).map(lambda number: EventKey(f"{number:032x}"))
VERSIONS = st.one_of(st.integers(1, 100), st.integers(1, 100).map(lambda sequence: (3 << 48) | sequence), st.just(FOREVER))
HELD = st.lists(st.builds(Held, key=KEYS, version=VERSIONS, live=st.booleans()), unique_by=lambda one: one.key)


async def summed(held: list[Held], *, piece: int) -> tuple[int, object]:
    """Keys and digest of what is added in pieces."""
    waits = 0

    async def between() -> None:
        nonlocal waits
        waits += 1

    made = Sum(not_after=HEAD, between=between)
    for start in range(0, len(held), piece):
        await made.add(held[start : start + piece])
    assert waits == -(-len(held) // piece)
    return made.keys, made.digest


@given(true=HELD, there=HELD, piece=st.integers(1, 9), data=st.data())
async def test_digests_are_equal_exactly_where_no_old_key_differs(true, there, piece, data):
    """Whatever the order and the pieces; what came after the head counts on neither side, and what was erased always does."""
    there = data.draw(st.permutations(data.draw(st.sampled_from([true, there]))))
    old_true, old_there = ({one for one in side if is_old(one, HEAD)} for side in (true, there))

    (keys, digest), (_, other) = await summed(true, piece=piece), await summed(there, piece=piece + 3)

    assert keys == len(old_true)
    assert (digest == other) == (old_true == old_there)


@given(true=HELD, there=HELD)
def test_a_difference_is_an_orphan_missing_or_stale(true, there):
    """Every key that the sides do not hold alike, by key, and no other."""
    found, compared = differences(true, there, until=None)

    sides = [{one.key: one for one in side} for side in (true, there)]
    keys = sides[0].keys() | sides[1].keys()
    assert compared == len(keys)
    assert [one.key for one in found] == sorted(key for key in keys if sides[0].get(key) != sides[1].get(key))
    for one in found:
        should, does = (side is not None and side.live for side in (one.true, one.there))
        gone_alike = one.true is not None and one.there is not None and one.true.live == one.there.live
        assert one.finding == ("orphans" if one.true is None or (does and not should) else "stale" if gone_alike else "missing")


def test_only_what_is_newer_there_is_ahead():
    """A version that the truth has not heard of."""
    old, new = (Held(key=EventKey("a"), version=version, live=True) for version in (1, 2))

    assert Difference(key=old.key, true=old, there=new).ahead == new
    assert Difference(key=old.key, true=None, there=old).ahead == old
    assert Difference(key=old.key, true=new, there=old).ahead is None
    assert Difference(key=old.key, true=new, there=None).ahead is None
