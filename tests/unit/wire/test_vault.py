"""The vault: keys are made once, kept at hand, and never lie unwrapped in the store."""

import asyncio

import pytest
from tests.support.keys import MemoryKeys, vault_over

from kalends.adapters.embedded.kek import FileWrapper
from kalends.domain.errors import Damaged, Unavailable
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.kit import aead
from kalends.wire.vault import Vault, key_reference

SCOPE = Scope(Tenant("acme"), MemoryName("notes"))
OTHER = Scope(Tenant("acme"), MemoryName("diary"))
REFERENCE = key_reference(SCOPE, "session-of-ada")


def same(one: aead.Box, other: aead.Box) -> bool:
    """Whether two boxes have one key."""
    return one.digest(b"x") == other.digest(b"x")


def test_a_reference_is_of_one_session_and_does_not_show_it():
    """32 hex digits, as the port wants them."""
    assert len(bytes.fromhex(REFERENCE)) == 16
    assert REFERENCE != key_reference(OTHER, "session-of-ada") != key_reference(OTHER, "session-of-bob")


async def test_a_key_is_made_for_the_first_writing_and_found_by_every_other_process():
    """The store has it before anything is sealed with it."""
    keys = MemoryKeys()
    made = (await vault_over(keys).boxes_for_writing(SCOPE, [REFERENCE]))[REFERENCE]

    assert same(made, (await vault_over(keys).boxes(SCOPE, [REFERENCE]))[REFERENCE])
    assert same(made, (await vault_over(keys).boxes_for_writing(SCOPE, [REFERENCE]))[REFERENCE])


async def test_reading_makes_no_key():
    """A key that is not there means that it was destroyed."""
    keys = MemoryKeys()

    assert await vault_over(keys).boxes(SCOPE, [REFERENCE]) == {}
    assert keys.stored == {}


async def test_two_who_write_the_first_event_of_a_session_use_one_key():
    """Whoever was first in the store wins."""
    keys = MemoryKeys()
    vaults = [vault_over(keys) for _ in range(4)]

    boxes = await asyncio.gather(*(vault.boxes_for_writing(SCOPE, [REFERENCE]) for vault in vaults))

    assert all(same(found[REFERENCE], boxes[0][REFERENCE]) for found in boxes)


async def test_a_key_at_hand_is_not_asked_for_again():
    """Until it is forgotten."""
    keys = MemoryKeys()
    vault = vault_over(keys)
    await vault.boxes_for_writing(SCOPE, [REFERENCE])
    asked = keys.asked["get"]
    await vault.boxes(SCOPE, [REFERENCE, REFERENCE])
    assert keys.asked["get"] == asked

    await keys.destroy(SCOPE, [REFERENCE])
    vault.forget(SCOPE, [REFERENCE])

    assert await vault.boxes(SCOPE, [REFERENCE]) == {}


async def test_the_store_never_sees_a_key_unwrapped():
    """Nor does a wrapped key open in another scope, under another reference or under another key file."""
    keys = MemoryKeys()
    await vault_over(keys).boxes_for_writing(SCOPE, [REFERENCE])
    wrapped = keys.stored[SCOPE, REFERENCE]
    elsewhere = key_reference(SCOPE, "session-of-bob")
    keys.stored[SCOPE, elsewhere] = keys.stored[OTHER, REFERENCE] = wrapped

    assert len(wrapped) > aead.KEY_BYTES
    for scope, reference in ((OTHER, REFERENCE), (SCOPE, elsewhere)):
        with pytest.raises(Damaged):
            await vault_over(keys).boxes(scope, [reference])
    with pytest.raises(Unavailable, match="put it back"):
        await Vault(keys=keys, wrapper=FileWrapper(bytes(32))).boxes(SCOPE, [REFERENCE])


async def test_a_probe_makes_no_key_and_fails_as_the_store_does():
    """Who waits for the store to come back asks for nothing else."""
    keys = MemoryKeys()
    await vault_over(keys).probe()
    assert keys.stored == {}

    async def away(scope, references):
        raise Unavailable("away")

    keys.get = away
    with pytest.raises(Unavailable):
        await vault_over(keys).probe()


async def test_no_more_keys_are_kept_at_hand_than_there_is_room_for(monkeypatch):
    """Those that were used last stay."""
    monkeypatch.setattr("kalends.wire.vault._CACHED", 2)
    keys = MemoryKeys()
    vault = vault_over(keys)
    first, second, third = (key_reference(SCOPE, name) for name in "abc")
    await vault.boxes_for_writing(SCOPE, [first, second])
    await vault.boxes(SCOPE, [first])
    await vault.boxes_for_writing(SCOPE, [third])
    asked = keys.asked["get"]

    await vault.boxes(SCOPE, [first, third])
    assert keys.asked["get"] == asked
    await vault.boxes(SCOPE, [second])
    assert keys.asked["get"] == asked + 1


async def test_concurrent_requests_share_a_batch_of_keys():
    """Each batch is synced; those that come while one is under way go together, and the same session twice gives one key."""
    keys = MemoryKeys()
    vault = vault_over(keys)
    wanted = [[key_reference(SCOPE, f"s{number % 6}")] for number in range(12)]

    found = await asyncio.gather(*(vault.boxes_for_writing(SCOPE, references) for references in wanted))

    assert keys.asked["create"] <= 2
    assert len(keys.stored) == 6
    sealed = found[0][wanted[0][0]].seal(b"x", context=b"")
    assert found[6][wanted[6][0]].open(*sealed, context=b"") == b"x"


async def test_keys_that_do_not_unwrap_are_named_and_nothing_is_remembered():
    """A key is bound to its scope and its reference, so one that was moved does not unwrap either."""
    keys = MemoryKeys()
    vault = vault_over(keys)
    await vault.boxes_for_writing(SCOPE, [REFERENCE])
    good = keys.stored[SCOPE, REFERENCE]
    fresh = vault_over(keys)

    assert await fresh.unusable(SCOPE, {REFERENCE: good, "0" * 32: good, "1" * 32: b"garbage"}) == ["0" * 32, "1" * 32]
    assert await fresh.unusable(OTHER, {REFERENCE: good}) == [REFERENCE]
    keys.stored.clear()
    assert await fresh.boxes(SCOPE, [REFERENCE]) == {}
