"""The records of erasures and holds: kept, sealed, and told by a mark."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.keys import MemoryKeys, vault_over
from tests.support.records import MemoryRecords

from kalends.domain.erasures import Erasure, Hold, Selector
from kalends.domain.errors import Conflict, Damaged, Unavailable
from kalends.domain.events import EventId
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.wire.documents import session_of
from kalends.wire.erasures import HOLD, KIND, MARK, ErasureStore, decode_selector, encode_selector, sealing_scope

HERE = Scope(Tenant("acme"), MemoryName("notes"))
THERE = Scope(Tenant("acme"), MemoryName("diary"))
NAME = "a-name-that-nobody-may-read"
SECOND = timedelta(seconds=1)


class Noting(MemoryRecords):
    """Records that note what was read, and that are away for writes of the kind ``away``."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[tuple[str, str]] = []
        self.away = ""

    async def get(self, kind, owner, name):
        self.read.append((kind, name))
        return await super().get(kind, owner, name)

    async def list(self, kind, owner=None):
        found = await super().list(kind, owner)
        self.read += [(kind, one.name) for one in found]
        return found

    async def put(self, kind, owner, name, value, *, revision=None):
        if kind == self.away:
            raise Unavailable("away", dependency="records")
        return await super().put(kind, owner, name, value, revision=revision)


class Place:
    """Records and keys, and what one process makes of them."""

    def __init__(self) -> None:
        self.records = Noting()
        self.keys = MemoryKeys()
        self.store = self.process()

    def process(self) -> ErasureStore:
        """A process that remembers nothing."""
        return ErasureStore(records=self.records, keys=self.keys, vault=vault_over(self.keys))


def an_erasure(number: int = 1, *, scope: Scope = HERE, selector: Selector | None = None) -> Erasure:
    """One of a session, unless something else is named."""
    chosen = selector or Selector(kind="session_id", session=NAME)
    return Erasure(
        erasure_id=EventId(f"01JB{number:022d}"),
        scope=scope,
        selector=chosen,
        selector_kind=chosen.kind,
        selector_digest="0" * 64,
        reason="request",
        requested_by="token",
        undo_until_us=3,
        times={"hidden": 1},
        counts={"keys": 2},
        sweep={"EVENTS_0": 9},
        with_memory=True,
    )


async def test_an_erasure_is_found_as_it_was_stored_by_every_process():
    """With what it names, as long as it is under way."""
    place = Place()
    begun = await place.store.begin(an_erasure())

    assert await place.process().find(HERE, begun.erasure_id) == begun
    assert await place.process().active() == [begun]
    assert await place.store.find(THERE, begun.erasure_id) is None
    changed = await place.store.put(begun, begun=True, step="keys", probe={"log": 1})
    assert await place.process().find(HERE, begun.erasure_id) == changed
    with pytest.raises(Conflict):
        await place.store.put(begun, step="begin")


async def test_what_is_named_stands_nowhere_in_the_clear_and_cannot_be_read_afterwards():
    """Not in what the records still have of before either, once its key is destroyed."""
    place = Place()
    begun = await place.store.begin(an_erasure())
    before = [record.value for record in await place.records.list(KIND)]
    done = await place.store.put(begun, state="erased", selector=None)
    await place.store.forget_selector(done)
    await place.store.mark(done)

    assert not any(NAME.encode() in value for value in [*before, *(record.value for record in await place.records.list(KIND))])
    assert await place.store.active() == []
    found = await place.store.find(HERE, begun.erasure_id)
    assert found is not None
    assert found.selector is None
    assert found.selector_kind == "session_id"
    assert not [scope for scope, _ in place.keys.stored if scope == sealing_scope(HERE)]


async def test_the_keys_of_selectors_are_not_those_of_the_memory():
    """All of which may be destroyed while an erasure goes on."""
    place = Place()
    await place.store.begin(an_erasure())

    assert {scope for scope, _ in place.keys.stored} == {sealing_scope(HERE)}
    assert sealing_scope(HERE).key not in {HERE.key, HERE.calendar.key, sealing_scope(THERE).key}


async def test_those_under_way_are_told_from_the_oldest_and_those_of_a_memory_too():
    """Over all memories; what is over is only told of its memory."""
    place = Place()
    second = await place.store.begin(an_erasure(2, scope=THERE))
    first = await place.store.begin(an_erasure(1))
    over = await place.store.put(await place.store.begin(an_erasure(3)), state="undone", selector=None)

    assert await place.store.active() == [first, second]
    assert [one.erasure_id for one in await place.store.of_scope(HERE)] == [first.erasure_id, over.erasure_id]


async def test_every_change_is_marked():
    """So that one look tells whether there is something new."""
    place = Place()
    assert await place.store.seen() == 0

    begun = await place.store.begin(an_erasure())
    await place.store.mark(begun)

    assert await place.process().seen() == 2


async def test_those_that_are_over_are_not_looked_at():
    """There may be one for each hour of years; the mark names those under way, so records of the others are not even read."""
    place = Place()
    for number in range(5):
        over = await place.store.put(await place.store.begin(an_erasure(number)), state="erased", selector=None)
        await place.store.mark(over)
    begun = await place.store.begin(an_erasure(9))
    place.records.read.clear()

    assert await place.process().active() == [begun]

    assert [name for kind, name in place.records.read if kind == KIND] == [begun.erasure_id]


async def test_one_that_was_stored_and_never_marked_is_found_by_who_looks_through_all():
    """Its writer died in between; from then on the mark names it, and no other."""
    place = Place()
    marked = await place.store.begin(an_erasure(1))
    over = await place.store.put(await place.store.begin(an_erasure(2)), state="erased", selector=None)
    place.records.away = MARK
    with pytest.raises(Unavailable):
        await place.store.begin(an_erasure(3))
    place.records.away = ""
    assert [one.erasure_id for one in await place.process().active()] == [marked.erasure_id]

    found = await place.process().recover()

    assert [one.erasure_id for one in found] == [marked.erasure_id, an_erasure(3).erasure_id]
    assert list(await place.process().active()) == list(found)
    count = await place.store.seen()
    assert list(await place.process().recover()) == list(found)
    assert await place.store.seen() == count, "nothing was new"
    assert over.erasure_id not in {one.erasure_id for one in found}


async def test_more_than_the_mark_can_name_are_found_all_the_same(monkeypatch: pytest.MonkeyPatch):
    """By looking through all, until they are few again."""
    monkeypatch.setattr("kalends.wire.erasures._LISTED", 2)
    place = Place()
    begun = [await place.store.begin(an_erasure(number)) for number in range(4)]
    assert list(await place.process().active()) == begun
    count = await place.store.seen()
    assert list(await place.process().active()) == begun
    assert await place.store.seen() == count, "looking changes nothing"

    for one in begun[:2]:
        await place.store.mark(await place.store.put(one, state="erased", selector=None))

    assert list(await place.process().active()) == begun[2:]
    place.records.read.clear()
    assert list(await place.process().active()) == begun[2:]
    assert [name for kind, name in place.records.read if kind == KIND] == [one.erasure_id for one in begun[2:]]


async def test_a_hold_is_kept_sealed_until_it_is_released():
    """By name, within its memory."""
    place = Place()
    hold = Hold(name="case-7", scope=HERE, selector=Selector(kind="session_id", session=NAME), set_by="token", set_us=5)
    await place.store.hold(hold)

    assert await place.process().holds(HERE) == [hold]
    assert await place.process().holds(THERE) == []
    assert not any(NAME.encode() in record.value for record in await place.records.list(HOLD))
    await place.store.release(HERE, "case-7")
    assert await place.store.holds(HERE) == []


@given(st.lists(st.text(min_size=1, max_size=8), max_size=3), st.text(min_size=1, max_size=9), st.none() | st.integers(-9, 9))
def test_every_selector_is_read_back(ids, name, moment):
    """Each kind has what it needs."""
    for selector in (
        Selector(kind="event_ids", event_ids=tuple(EventId(one) for one in ids)),
        Selector(kind="session_id", session=name),
        Selector(kind="document_id", document_id=name, session=session_of(name)),
        Selector(kind="actor", actor=name),
        Selector(kind="range", since_us=moment, until_us=None if moment is None else moment + 1),
        Selector(kind="metadata", metadata={name: moment, "b": True}),
        Selector(kind="everything"),
    ):
        assert decode_selector(encode_selector(selector)) == replace(selector)


async def test_a_record_that_cannot_be_read_is_damaged():
    """And says so by name."""
    place = Place()
    await place.records.put(KIND, HERE.key, "broken", b"\xff\xff")

    with pytest.raises(Damaged):
        await place.store.find(HERE, "broken")
    with pytest.raises(Damaged):
        decode_selector(b"\xff\xff")
