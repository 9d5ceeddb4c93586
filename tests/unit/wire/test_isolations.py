"""What is said of a memory's isolation: once, by whoever is first, and for ever."""

import asyncio

import pytest
from tests.support.records import MemoryRecords

from kalends.domain.errors import Damaged, Unavailable
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.wire import isolations
from kalends.wire.isolations import DEDICATED, SHARED, Isolations

SCOPE = Scope(Tenant("acme"), MemoryName("notes"))
OTHER = Scope(Tenant("umbrella"), MemoryName("notes"))


@pytest.fixture
def records() -> MemoryRecords:
    """An empty store."""
    return MemoryRecords()


async def test_the_first_word_counts(records: MemoryRecords) -> None:
    """Whoever comes later is told it, in every process."""
    first = await Isolations(records).claim(SCOPE, DEDICATED)
    later = await Isolations(records).claim(SCOPE, SHARED)

    assert (first.says, first.ours) == (DEDICATED, True)
    assert (later.says, later.ours, later.revision) == (DEDICATED, False, first.revision)
    assert (await Isolations(records).claim(OTHER, SHARED)).ours


async def test_two_at_once_say_the_same(records: MemoryRecords) -> None:
    """One of them says it, and the other is told."""
    claims = await asyncio.gather(*(Isolations(records).claim(SCOPE, wanted) for wanted in (SHARED, DEDICATED)))

    assert len({one.says for one in claims}) == 1
    assert sorted(one.ours for one in claims) == [False, True]


async def test_who_appends_without_a_word_says_shared(records: MemoryRecords) -> None:
    """So that a memory of an earlier version stays what it is."""
    assert await Isolations(records).settled(SCOPE) == SHARED

    assert (await Isolations(records).claim(SCOPE, DEDICATED)).says == SHARED


async def test_what_was_settled_is_not_read_again(records: MemoryRecords) -> None:
    """It never changes, and is asked for at every append."""
    known = Isolations(records)
    await known.claim(SCOPE, DEDICATED)
    assert await known.settled(SCOPE) == DEDICATED
    await records.delete(isolations.KIND, SCOPE.tenant, SCOPE.memory)

    assert await known.settled(SCOPE) == DEDICATED


async def test_only_so_many_are_remembered(records: MemoryRecords, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was first asked for is read anew."""
    monkeypatch.setattr(isolations, "REMEMBERED", 1)
    known = Isolations(records)
    await known.settled(SCOPE)
    await known.settled(OTHER)
    await records.put(isolations.KIND, SCOPE.tenant, SCOPE.memory, b"dedicated")

    assert await known.settled(SCOPE) == DEDICATED


async def test_a_claim_that_was_taken_back_leaves_the_name_free(records: MemoryRecords) -> None:
    """There was no room, and the memory may be shared after all."""
    known = Isolations(records)
    await known.release(await known.claim(SCOPE, DEDICATED))

    assert (await known.claim(SCOPE, SHARED)).ours


async def test_a_claim_that_somebody_confirmed_is_not_taken_back(records: MemoryRecords) -> None:
    """Both made the same memory; one had room for it."""
    known = Isolations(records)
    first, second = await known.claim(SCOPE, DEDICATED), await known.claim(SCOPE, DEDICATED)
    await known.confirm(second)

    await known.release(first)

    assert (await known.claim(SCOPE, SHARED)).says == DEDICATED


async def test_a_claim_that_was_taken_back_cannot_be_confirmed(records: MemoryRecords) -> None:
    """Whoever relied on it begins again."""
    known = Isolations(records)
    first, second = await known.claim(SCOPE, DEDICATED), await known.claim(SCOPE, DEDICATED)
    await known.release(first)

    with pytest.raises(Unavailable):
        await known.confirm(second)


async def test_a_word_that_cannot_be_read_is_damage(records: MemoryRecords) -> None:
    """It is neither of the two, so nothing may be appended."""
    await records.put(isolations.KIND, SCOPE.tenant, SCOPE.memory, b"\xff")

    with pytest.raises(Damaged):
        await Isolations(records).settled(SCOPE)
