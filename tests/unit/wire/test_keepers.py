"""Several keepers of key-encryption keys."""

from tests.support.keys import TEST_KEY

from kalends.adapters.embedded.kek import FileWrapper
from kalends.domain.errors import Damaged, Unavailable
from kalends.ports.kek import Bound
from kalends.wire.keepers import Keepers

KEY = bytes(range(1, 33))
HERE = b"here"


async def test_the_first_wraps_and_everyone_opens_his_own():
    """In one question, in its order; also a key from before there were names."""
    new, old = FileWrapper(bytes(32)), FileWrapper(TEST_KEY)
    both = Keepers(new, [old])
    (before,) = await old.wrap([Bound(key=KEY, context=HERE)])
    (after,) = await both.wrap([Bound(key=TEST_KEY, context=HERE)])

    assert await both.unwrap([Bound(key=one, context=HERE) for one in (before, after, before)]) == [KEY, TEST_KEY, KEY]
    assert await both.newest() == await new.newest()
    assert both.knows(await old.newest())
    assert both.label(await old.newest()) == old.label(await old.newest())


async def test_what_nobody_knows_is_away_and_what_cannot_be_read_is_damaged():
    """One bad key does not take its neighbours with it."""
    both = Keepers(FileWrapper(bytes(32)), [FileWrapper(TEST_KEY)])
    (foreign,) = await FileWrapper(bytes(range(2, 34))).wrap([Bound(key=KEY, context=HERE)])
    (good,) = await both.wrap([Bound(key=KEY, context=HERE)])

    away, damaged, moved, opened = await both.unwrap(
        [
            Bound(key=foreign, context=HERE),
            Bound(key=b"garbage", context=HERE),
            Bound(key=good, context=b"there"),
            Bound(key=good, context=HERE),
        ]
    )

    assert isinstance(away, Unavailable)
    assert isinstance(damaged, Damaged)
    assert isinstance(moved, Damaged)
    assert opened == KEY
