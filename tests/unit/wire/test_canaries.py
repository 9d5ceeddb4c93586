"""Canary questions as records: sealed under keys of their own, which end with what they sealed."""

from dataclasses import replace

import pytest
from tests.support.keys import MemoryKeys, vault_over
from tests.support.records import MemoryRecords

from kalends.domain.canaries import Canary
from kalends.domain.errors import Conflict, Damaged, Unavailable
from kalends.domain.events import EventId
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.wire.canaries import KIND, CanaryStore

SCOPE = Scope(Tenant("acme"), MemoryName("notes"))
OTHER = Scope(Tenant("acme"), MemoryName("diary"))
CANARY = Canary(
    scope=SCOPE,
    name="pier",
    question="where does Ada board?",
    expect=(EventId("01EXPECTED"),),
    within=3,
    gone=1,
    state="missed",
    since_us=5,
    asked_us=7,
    set_us=2,
    set_by="token",
)


class Ports:
    """A store's records and keys, and any number of processes over them."""

    def __init__(self) -> None:
        self.records = MemoryRecords()
        self.keys = MemoryKeys()

    def store(self, keys: MemoryKeys | None = None) -> CanaryStore:
        """A process's own store."""
        used = keys or self.keys
        return CanaryStore(records=self.records, keys=used, vault=vault_over(used))


@pytest.fixture
def ports() -> Ports:
    """Nothing is stored."""
    return Ports()


async def test_a_question_comes_back_as_it_was_to_every_process(ports):
    """With the revision that its next writing needs, and only in its own memory."""
    stored = await ports.store().put(CANARY)

    assert await ports.store().find(SCOPE, "pier") == stored == replace(CANARY, revision=stored.revision)
    assert await ports.store().of_scope(SCOPE) == [stored]
    assert await ports.store().of_scope(OTHER) == []
    assert await ports.store().owners() == {SCOPE.key}


async def test_words_and_ids_are_sealed(ports):
    """A question is content, and the ids say what it is about."""
    await ports.store().put(CANARY)

    (record,) = await ports.records.list(KIND)
    assert b"Ada" not in record.value
    assert b"EXPECTED" not in record.value


async def test_what_a_question_said_before_is_unreadable_once_it_says_something_else(ports):
    """The key goes, so it does not matter where copies of the record are."""
    stored = await ports.store().put(CANARY)
    (before,) = await ports.records.list(KIND)
    changed = await ports.store().put(replace(stored, question="who?"))
    await ports.records.put(KIND, OTHER.key, "pier", before.value)
    await ports.records.put(KIND, SCOPE.key, "pier", before.value)

    assert len(ports.keys.stored) == 1
    found = await ports.store().find(SCOPE, "pier")
    assert found is not None
    assert changed.question == "who?"
    assert (found.question, found.expect, found.state) == ("", (), "gone")


async def test_what_became_of_it_is_noted_without_a_new_key(ports):
    """The seal stays."""
    stored = await ports.store().put(CANARY)
    created = ports.keys.asked["create"]
    await ports.store().note(replace(stored, state="found", since_us=9, asked_us=9))

    found = await ports.store().find(SCOPE, "pier")
    assert found is not None
    assert (found.question, found.state, found.since_us) == (CANARY.question, "found", 9)
    assert ports.keys.asked["create"] == created


async def test_who_comes_second_changes_nothing_and_leaves_no_key(ports):
    """Neither a writer nor whoever asked it meanwhile."""
    stored = await ports.store().put(CANARY)
    changed = await ports.store().put(replace(stored, question="who?"))
    for again in (replace(stored, question="when?"), replace(CANARY, question="how?")):
        with pytest.raises(Conflict):
            await ports.store().put(again)
    with pytest.raises(Conflict):
        await ports.store().note(replace(stored, state="found"))
    await ports.store().remove(SCOPE, "pier")
    with pytest.raises(Conflict):
        await ports.store().note(changed)

    assert ports.keys.stored == {}


class _Killed(MemoryKeys):
    """A process that is killed before it destroys a key."""

    async def destroy(self, scope, references):
        raise Unavailable("killed", dependency="keys")


async def test_a_key_that_a_kill_left_goes_with_the_next_change(ports):
    """The record names what sealed it before."""
    stored = await ports.store().put(CANARY)
    killed = _Killed()
    killed.stored = ports.keys.stored
    with pytest.raises(Unavailable):
        await ports.store(killed).put(replace(stored, question="who?"))
    assert len(ports.keys.stored) == 2

    left = await ports.store().find(SCOPE, "pier")
    assert left is not None
    assert left.question == "who?"
    await ports.store().put(replace(left, question="when?"))
    assert len(ports.keys.stored) == 1


async def test_what_is_removed_leaves_neither_record_nor_key(ports):
    """One by one, or all of a memory, and nothing of another."""
    for scope in (SCOPE, OTHER):
        for name in ("a", "b"):
            await ports.store().put(replace(CANARY, scope=scope, name=name))
    assert await ports.store().remove(SCOPE, "a")
    assert not await ports.store().remove(SCOPE, "a")
    assert await ports.store().remove_all(SCOPE) == 1

    assert await ports.store().of_scope(SCOPE) == []
    assert [one.name for one in await ports.store().of_scope(OTHER)] == ["a", "b"]
    assert {scope for scope, _ in ports.keys.stored} == {OTHER}


async def test_one_that_is_damaged_does_not_hide_the_others(ports):
    """Whoever asks for it is told; all of them can be removed."""
    await ports.store().put(CANARY)
    await ports.records.put(KIND, SCOPE.key, "torn", b"\xff\xff")
    (whole, _) = await ports.records.list(KIND)
    await ports.records.put(KIND, SCOPE.key, "moved", whole.value)

    assert [one.name for one in await ports.store().of_scope(SCOPE)] == ["pier"]
    for name in ("torn", "moved"):
        with pytest.raises(Damaged):
            await ports.store().find(SCOPE, name)
    assert await ports.store().remove_all(SCOPE) == 3
    assert ports.keys.stored == {}
