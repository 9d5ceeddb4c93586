"""The suite of the port ``keys``, on the real broker and on a cluster of three."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.broker import ALONE, fresh_bus, own_bus
from tests.support.files import files_with

from kalends.adapters.nats import LocalServer
from kalends.adapters.nats.keys import subject_of
from kalends.domain.errors import Invalid
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.ports.keys import Keys

pytestmark = pytest.mark.usefixtures("broker")

SCOPE = Scope(Tenant("acme"), MemoryName("notes"))
OTHER = Scope(Tenant("acme"), MemoryName("diary"))


@pytest.fixture
async def keys() -> AsyncIterator[Keys]:
    """The keys of an empty bus."""
    async with fresh_bus() as bus:
        yield bus.keys


def some(count: int) -> dict[str, bytes]:
    """New references, each with a key of its own."""
    return {secrets.token_hex(16): secrets.token_bytes(60) for _ in range(count)}


async def test_created_keys_are_found(keys: Keys) -> None:
    """One or many, more than fit into one batch; those that do not exist are left out."""
    one, many = some(1), some(700)

    assert await keys.create(SCOPE, one) == one
    assert await keys.create(SCOPE, many) == many
    assert await keys.get(SCOPE, [*one, *many, "0" * 32]) == {**one, **many}
    assert await keys.create(SCOPE, {}) == {}
    assert await keys.get(SCOPE, []) == {}


async def test_keys_belong_to_their_scope(keys: Keys) -> None:
    """The same reference elsewhere is another key."""
    mine = some(3)
    await keys.create(SCOPE, mine)

    assert await keys.get(OTHER, list(mine)) == {}


async def test_the_first_creator_wins_and_the_others_get_that_key(keys: Keys) -> None:
    """Among keys that exist already, new ones are still stored."""
    first = some(2)
    await keys.create(SCOPE, first)
    taken = next(iter(first))
    fresh = some(3)

    stored = await keys.create(SCOPE, {taken: b"mine", **fresh})

    assert stored == {taken: first[taken], **fresh}
    assert await keys.get(SCOPE, [taken, *fresh]) == stored


async def test_racing_creators_agree(keys: Keys) -> None:
    """Whatever the race, all are told the same key, and it is the one that is stored."""
    references = list(some(5))

    outcomes = await asyncio.gather(*(keys.create(SCOPE, {r: secrets.token_bytes(40) for r in references}) for _ in range(8)))

    assert all(outcome == outcomes[0] for outcome in outcomes)
    assert await keys.get(SCOPE, references) == outcomes[0]


async def test_a_destroyed_key_is_gone_and_its_neighbours_stay(keys: Keys) -> None:
    """Destroying twice, or what never was, is no error."""
    stored = some(5)
    await keys.create(SCOPE, stored)
    gone = list(stored)[:2]

    await keys.destroy(SCOPE, [*gone, "f" * 32])
    await keys.destroy(SCOPE, gone)

    assert await keys.get(SCOPE, list(stored)) == {reference: stored[reference] for reference in list(stored)[2:]}


async def test_every_key_of_a_scope_is_listed_in_pieces(keys: Keys) -> None:
    """Each once, also after some were destroyed; those of another scope are not, and all are counted."""
    mine, foreign = some(25), some(3)
    await keys.create(SCOPE, mine)
    await keys.create(OTHER, foreign)
    gone = next(iter(mine))
    await keys.destroy(SCOPE, [gone])

    pieces = [piece async for piece in keys.references(SCOPE, limit=10)]

    assert {reference: key for piece in pieces for reference, key in piece.items()} == {one: mine[one] for one in mine if one != gone}
    assert sum(len(piece) for piece in pieces) == 24
    assert max(len(piece) for piece in pieces) <= 10
    assert await keys.count() == 27
    assert [piece async for piece in keys.references(Scope(Tenant("acme"), MemoryName("empty")), limit=10)] == []


async def test_a_key_is_replaced_only_where_the_old_one_is_stored(keys: Keys) -> None:
    """One that was destroyed is not made again, one that somebody else replaced stays, and the store holds one key each."""
    stored = some(5)
    await keys.create(SCOPE, stored)
    destroyed, changed, *rest = stored
    await keys.destroy(SCOPE, [destroyed])
    await keys.replace(SCOPE, {changed: (stored[changed], b"theirs" * 10)})
    new = {reference: secrets.token_bytes(80) for reference in stored}

    replaced = await keys.replace(SCOPE, {reference: (stored[reference], new[reference]) for reference in stored})

    assert sorted(replaced) == sorted(rest)
    assert await keys.get(SCOPE, list(stored)) == {changed: b"theirs" * 10, **{one: new[one] for one in rest}}
    assert await keys.count() == 4
    assert await keys.replace(SCOPE, {}) == []
    assert await keys.replace(OTHER, {rest[0]: (new[rest[0]], b"x")}) == []


async def test_of_racing_replacements_one_wins(keys: Keys) -> None:
    """And a destruction at the same time wins over all of them, or comes after."""
    stored = some(20)
    await keys.create(SCOPE, stored)
    gone = list(stored)[:5]

    *outcomes, _ = await asyncio.gather(
        *(keys.replace(SCOPE, {one: (key, bytes([number]) * 70) for one, key in stored.items()}) for number in range(4)),
        keys.destroy(SCOPE, gone),
    )

    found = await keys.get(SCOPE, list(stored))
    assert sorted(found) == sorted(list(stored)[5:])
    winners = {reference: [number for number, outcome in enumerate(outcomes) if reference in outcome] for reference in found}
    assert {reference: [key[0]] for reference, key in found.items()} == winners


async def test_a_key_that_is_being_replaced_is_there_all_the_while(keys: Keys) -> None:
    """Whoever did not find it would take what it seals for erased."""
    stored = some(20)
    await keys.create(SCOPE, stored)
    missing: list[str] = []
    done = asyncio.Event()

    async def look() -> None:
        while not done.is_set():
            found = await keys.get(SCOPE, list(stored))
            missing.extend(stored.keys() - found.keys())

    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(look())
        old = stored
        for _ in range(15):
            new = {reference: secrets.token_bytes(80) for reference in stored}
            assert sorted(await keys.replace(SCOPE, {one: (old[one], new[one]) for one in stored})) == sorted(stored)
            old = new
        done.set()

    assert missing == []


@ALONE
async def test_a_replaced_key_leaves_no_bytes_in_the_files(tmp_path: Path) -> None:
    """Also one of which the replacement was cut off between its two steps, once it is begun again."""
    first, second, third = (secrets.token_bytes(60) for _ in range(3))
    one, other = secrets.token_hex(16), secrets.token_hex(16)
    async with LocalServer(tmp_path) as server, own_bus(server) as bus:
        await bus.keys.create(SCOPE, {**some(20), one: first, other: second})
        await bus.keys.replace(SCOPE, {one: (first, third)})
        assert not files_with(tmp_path, first)
        assert files_with(tmp_path, third)

        await bus.connection.jetstream().publish(subject_of(SCOPE, other), third)
        pieces = [piece async for piece in bus.keys.references(SCOPE, limit=100)]
        assert [piece[other] for piece in pieces if other in piece] == [second, third]
        await bus.keys.replace(SCOPE, {other: (second, b"never")})
        assert not files_with(tmp_path, second)
        assert await bus.keys.get(SCOPE, [other]) == {other: third}


@ALONE
async def test_a_destroyed_key_leaves_no_bytes_in_the_files(tmp_path: Path) -> None:
    """Not while the broker runs, and not after it has stopped; a key that was kept is found by the same search."""
    gone, kept = secrets.token_bytes(60), secrets.token_bytes(60)
    first, second = secrets.token_hex(16), secrets.token_hex(16)
    async with LocalServer(tmp_path) as server, own_bus(server) as bus:
        await bus.keys.create(SCOPE, {**some(20), first: gone, second: kept})
        assert files_with(tmp_path, gone)
        await bus.keys.destroy(SCOPE, [first])
        assert not files_with(tmp_path, gone)
        assert not files_with(tmp_path, first.encode())
        assert files_with(tmp_path, kept)

    assert not files_with(tmp_path, gone)
    assert files_with(tmp_path, kept)


async def test_a_reference_is_thirty_two_hex_digits(keys: Keys) -> None:
    """Nothing else gets into a subject."""
    with pytest.raises(Invalid):
        await keys.get(SCOPE, ["*"])
    with pytest.raises(Invalid):
        await keys.create(SCOPE, {"A" * 32: b"key"})
