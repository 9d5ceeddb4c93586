"""Reading messages of the log: what opens, what does not, and why."""

import tracemalloc
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.support.keys import MemoryKeys, vault_over
from tests.unit.wire.test_envelopes import EVENT, RETRACTION, SCOPE, STAMP

from kalends.domain.errors import Unavailable
from kalends.domain.events import EventId, EventKey, event_key, microseconds
from kalends.domain.periods import period_of
from kalends.domain.positions import Position
from kalends.domain.queries import Tombstone, tags_of
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.domain.versions import FOREVER
from kalends.ports.calendar import ErasedNode
from kalends.ports.log import Message
from kalends.wire import envelopes
from kalends.wire.reader import OpenedErasure, OpenedEvent, OpenedRetraction, Reader, Unreadable
from kalends.wire.vault import key_reference

OTHER = Scope(Tenant("acme"), MemoryName("diary"))


async def body_of(keys: MemoryKeys, what, *, scope: Scope = SCOPE, session: str = "s") -> bytes:
    """An event or a retraction, sealed with the session's key."""
    reference = key_reference(scope, session)
    box = (await vault_over(keys).boxes_for_writing(scope, [reference]))[reference]
    if isinstance(what, envelopes.Retraction):
        return envelopes.seal_retraction(what, scope=scope, recorded_us=1, key_reference=reference, box=box, stamp=STAMP)
    mac = envelopes.content_mac(what, box)
    return envelopes.seal_event(what, scope=scope, key_reference=reference, box=box, mac=mac, stamp=STAMP)


def message(body: bytes, sequence: int = 1) -> Message:
    """The message with that body at that place."""
    return Message(position=Position("EVENTS_0", sequence), body=body, headers={}, recorded_us=1)


async def test_each_message_is_opened_and_the_order_is_kept():
    """Events, retractions and what cannot be read, of several memories."""
    keys = MemoryKeys()
    bodies = [await body_of(keys, EVENT), b"garbage", await body_of(keys, RETRACTION), await body_of(keys, EVENT, scope=OTHER)]

    found = await Reader(vault_over(keys)).open([message(body, number) for number, body in enumerate(bodies, start=1)])

    assert [type(one) for one in found] == [OpenedEvent, Unreadable, OpenedRetraction, OpenedEvent]
    assert [one.position.sequence for one in found] == [1, 2, 3, 4]
    assert (found[0].scope, found[3].scope) == (SCOPE, OTHER)
    assert not found[1].erased


async def test_what_is_remembered_opened_takes_a_few_megabytes_however_short_the_events_are():
    """It is counted in memory, not in bytes of messages, of which a short one is the smallest part."""
    keys = MemoryKeys()
    reader = Reader(vault_over(keys))
    bodies = [await body_of(keys, replace(EVENT, id=EventId(f"{number:026d}"), text=str(number))) for number in range(6000)]
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for start in range(0, len(bodies), 500):
            await reader.open([message(body, number) for number, body in enumerate(bodies[start : start + 500], start=start)])
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()

    assert 2 << 20 < held < 6 << 20


async def test_the_keys_of_a_batch_are_fetched_together():
    """One question for each memory, however many sessions it has."""
    keys = MemoryKeys()
    bodies = [await body_of(keys, EVENT, session=f"s{number}") for number in range(5)]
    asked = keys.asked["get"]

    await Reader(vault_over(keys)).open([message(body) for body in bodies])

    assert keys.asked["get"] == asked + 1


async def test_a_message_whose_key_was_destroyed_is_erased_and_its_neighbours_open():
    """That is lawful; what is damaged is not."""
    keys = MemoryKeys()
    bodies = [await body_of(keys, EVENT, session="gone"), await body_of(keys, EVENT, session="kept")]
    await keys.destroy(SCOPE, [key_reference(SCOPE, "gone")])

    gone, kept = await Reader(vault_over(keys)).open([message(body) for body in bodies])

    assert (gone.erased, type(kept)) == (True, OpenedEvent)


async def test_a_message_that_was_changed_is_unreadable_and_not_erased():
    """Somebody has to look at it."""
    keys = MemoryKeys()
    body = bytearray(await body_of(keys, EVENT))
    body[-1] ^= 1

    (found,) = await Reader(vault_over(keys)).open([message(bytes(body))])

    assert isinstance(found, Unreadable)
    assert not found.erased


async def test_a_key_store_that_is_away_is_an_error_and_no_erasure():
    """Else an outage would look like a forgotten memory."""
    keys = MemoryKeys()
    body = await body_of(keys, EVENT)

    async def away(scope, references):
        raise Unavailable("away")

    keys.get = away
    with pytest.raises(Unavailable):
        await Reader(vault_over(keys)).open([message(body)])


async def test_an_event_becomes_what_the_projections_hold():
    """With what was said composed, its date and speaker apart, and tags in place of facets."""
    keys = MemoryKeys()
    decomposed = replace(EVENT, text="cafe\u0301", document_id=None)
    (found,) = await Reader(vault_over(keys)).open([message(await body_of(keys, decomposed), 7)])
    entry, row = found.entry(), found.timeline_entry()

    assert (entry.key, entry.version, entry.occurred_us) == (event_key(SCOPE, EVENT.id), 7, microseconds(EVENT.occurred_at))
    assert (entry.text, entry.lead, entry.speaker) == ("caf\u00e9", "01 March 2026 Ada Lovelace", "Ada Lovelace")
    assert entry.tags == row.tags == tags_of(EVENT.facets, target="events")
    assert (row.event_id, row.content_mac, row.document) == (EVENT.id, found.content_mac, False)
    assert row.size == found.size > 0


async def test_an_event_says_when_its_time_is_over():
    """To the timeline, for retention; most events never say so."""
    keys = MemoryKeys()
    expiring = replace(EVENT, expires_at=EVENT.occurred_at + timedelta(days=1))
    reader = Reader(vault_over(keys))
    found = await reader.open([message(await body_of(keys, expiring), 1), message(await body_of(keys, replace(EVENT, expires_at=None)), 2)])

    assert [one.timeline_entry().expires_us for one in found] == [microseconds(expiring.expires_at), None]


async def test_a_chunk_of_a_document_is_found_among_documents():
    """Not among events."""
    keys = MemoryKeys()
    (found,) = await Reader(vault_over(keys)).open([message(await body_of(keys, EVENT))])

    assert found.tags == tags_of(EVENT.facets, target="documents")
    assert found.timeline_entry().document


async def test_a_retraction_becomes_tombstones_of_its_own_version():
    """For the search projections and for the timeline."""
    keys = MemoryKeys()
    (found,) = await Reader(vault_over(keys)).open([message(await body_of(keys, RETRACTION), 9)])
    gone = [event_key(SCOPE, event_id) for event_id in RETRACTION.event_ids]

    assert found.tombstones() == [Tombstone(scope=SCOPE, key=key, version=9) for key in gone]
    assert found.retracted().keys == tuple(gone)


async def test_a_key_that_does_not_unwrap_stops_its_own_session_only():
    """One damaged key must not stop a projection."""
    keys = MemoryKeys()
    bodies = [await body_of(keys, EVENT, session="damaged"), await body_of(keys, EVENT, session="whole")]
    keys.stored[SCOPE, key_reference(SCOPE, "damaged")] = bytes(60)

    damaged, whole = await Reader(vault_over(keys)).open([message(body, number) for number, body in enumerate(bodies, start=1)])

    assert isinstance(damaged, Unreadable)
    assert not damaged.erased
    assert isinstance(whole, OpenedEvent)


ERASED = envelopes.Erased(
    erasure_id=EventId("01JB0000000000000000000001"),
    keys=(event_key(SCOPE, EVENT.id),),
    sessions=("00" * 8,),
    nodes=(ErasedNode(key=EventKey("ab" * 16), period=period_of("toc:week:2026-W05"), number=3),),
)


async def test_what_was_erased_is_read_without_any_key():
    """An event is gone for ever, whatever comes later; a node until it is written anew."""
    keys = MemoryKeys()
    (found,) = await Reader(vault_over(keys)).open([message(envelopes.erasure(ERASED, scope=SCOPE, recorded_us=7), 9)])

    assert isinstance(found, OpenedErasure)
    assert found.said == ERASED
    assert found.entries() == []
    assert found.tombstones() == [
        Tombstone(scope=SCOPE, key=ERASED.keys[0], version=FOREVER),
        Tombstone(scope=SCOPE.calendar, key=ERASED.nodes[0].key, version=9),
    ]
    assert (found.erased().keys, found.erased().sessions, found.nodes().nodes) == (ERASED.keys, ERASED.sessions, ERASED.nodes)
    assert keys.asked["get"] == 0


async def test_a_message_of_an_erasure_that_cannot_be_read_is_damaged():
    """It is told, and not taken for lawful."""
    body = envelopes.erasure(ERASED, scope=SCOPE, recorded_us=7).replace(b"toc:week:2026-W05", b"toc:week:2026-W99")
    (found,) = await Reader(vault_over(MemoryKeys())).open([message(body)])

    assert isinstance(found, Unreadable)
    assert not found.erased
