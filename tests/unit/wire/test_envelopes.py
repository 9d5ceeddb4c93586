"""Envelopes: what is stored, what comes back, and what is noticed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.support import strategies
from tests.support.keys import TEST_KEY

from kalends.domain.errors import Damaged
from kalends.domain.events import Event, EventId, Facets, moment
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.kit import aead
from kalends.wire import envelopes
from kalends.wire.envelopes import Retraction, Stamp

SCOPE = Scope(Tenant("acme"), MemoryName("notes"))
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ULID = EventId("01ARZ3NDEKTSV4RRFFQ69G5FAV")
BOX = aead.Box(TEST_KEY)
REFERENCE = "5e" * 16
STAMP = Stamp(writer="ingest-1", number=7, acked_up_to=5)
EVENT = Event(
    id=ULID,
    facets=Facets(
        session_id="session-of-ada",
        kind="note",
        role="assistant",
        actor="Ada Lovelace",
        channel="telegraph",
        thread_id="thread-of-ada",
        priority="high",
        metadata={"metadata-name": "metadata-value"},
    ),
    text="the engine weaves patterns",
    occurred_at=NOON,
    recorded_at=NOON + timedelta(seconds=1),
    expires_at=NOON + timedelta(days=1),
    trust="untrusted",
    document_id="document-of-ada",
)
RETRACTION = Retraction(event_ids=(ULID, EventId("7d444840-9dc0-41d1-b245-5ffdce74fad2")), reason="document replaced")


def sealed(event: Event = EVENT, *, scope: Scope = SCOPE, box: aead.Box = BOX) -> bytes:
    """The stored bytes of *event*."""
    return envelopes.seal_event(event, scope=scope, key_reference=REFERENCE, box=box, mac=envelopes.content_mac(event, box), stamp=STAMP)


def sealed_retraction(retraction: Retraction = RETRACTION) -> bytes:
    """The stored bytes of *retraction*."""
    return envelopes.seal_retraction(retraction, scope=SCOPE, recorded_us=1_700, key_reference=REFERENCE, box=BOX, stamp=STAMP)


def opened(body: bytes, box: aead.Box = BOX) -> Event | Retraction:
    """What *body* holds."""
    return envelopes.unseal(envelopes.parse(body), box)


def mac(event: Event) -> bytes:
    """The digest of the event's content."""
    return envelopes.content_mac(event, BOX)


def varied(event: Event, name: str, value: object) -> Event:
    """*event* with another value of a field or of a facet."""
    if hasattr(event.facets, name):
        return replace(event, facets=replace(event.facets, **{name: value}))
    return replace(event, **{name: value})


@given(strategies.events(), strategies.scopes())
def test_any_event_comes_back_as_it_was(event, scope):
    """Every field, and every kind of metadata with its own type."""
    back = opened(sealed(event, scope=scope))

    assert back == event
    assert {name: type(value) for name, value in back.facets.metadata.items()} == {
        name: type(value) for name, value in event.facets.metadata.items()
    }


@pytest.mark.parametrize(
    "value", [None, True, False, 0, 1, -1, (1 << 63) - 1, -(1 << 63), 0.0, -0.0, 1.0, 5e-324, 1.7e308, "", "\u200f😀"], ids=repr
)
def test_metadata_of_every_kind_keeps_its_value_and_its_type(value):
    """1, 1.0 and True are three values, and null is one."""
    back = opened(sealed(varied(EVENT, "metadata", {"n": value}))).facets.metadata["n"]

    assert repr(back) == repr(value)


@given(strategies.scopes(), st.lists(strategies.event_ids(), max_size=5), strategies.TEXTS)
def test_any_retraction_comes_back_as_it_was(scope, event_ids, reason):
    """With its ids in order."""
    retraction = Retraction(event_ids=tuple(event_ids), reason=reason)
    body = envelopes.seal_retraction(retraction, scope=scope, recorded_us=9, key_reference=REFERENCE, box=BOX, stamp=STAMP)

    assert opened(body) == retraction
    assert envelopes.parse(body).event_id is None


def test_the_outside_says_who_where_and_when_but_nothing_of_the_content():
    """It is what can be read without the key."""
    outside = envelopes.parse(sealed())

    assert (outside.scope, outside.event_id, outside.key_reference) == (SCOPE, ULID, REFERENCE)
    assert (moment(outside.occurred_us), moment(outside.recorded_us)) == (EVENT.occurred_at, EVENT.recorded_at)
    assert outside.content_mac == mac(EVENT)
    assert (outside.envelope.writer, outside.envelope.writer_number, outside.envelope.acked_up_to) == ("ingest-1", 7, 5)


@pytest.mark.parametrize(
    "said",
    [
        "engine weaves",
        "session-of-ada",
        "Ada Lovelace",
        "telegraph",
        "thread-of-ada",
        "metadata-name",
        "metadata-value",
        "document-of-ada",
        "assistant",
        "untrusted",
    ],
)
def test_what_a_person_said_is_not_in_the_stored_bytes(said):
    """Neither the text nor what describes it."""
    assert said.encode() not in sealed()


@given(strategies.events())
def test_no_text_is_ever_in_the_stored_bytes(event):
    """Of any event whose text is long enough not to be there by chance."""
    assume(len(event.text.encode()) >= 8 and event.text not in event.id)

    assert event.text.encode() not in sealed(event)


def test_the_reason_and_the_ids_of_a_retraction_are_sealed_too():
    """They say what was taken back."""
    assert b"document replaced" not in sealed_retraction()
    assert ULID.encode() not in sealed_retraction()


@pytest.mark.parametrize("body", [sealed(), sealed_retraction()], ids=["event", "retraction"])
def test_a_change_of_any_bit_is_noticed(body):
    """Wherever it is: in the seal, in what stands outside of it, or in the writer's stamp."""
    unnoticed = []
    for place in range(len(body)):
        for bit in range(8):
            changed = bytearray(body)
            changed[place] ^= 1 << bit
            try:
                opened(bytes(changed))
            except Damaged:
                continue
            unnoticed.append((place, bit))

    assert unnoticed == []


@pytest.mark.parametrize("length", range(0, len(sealed()), 7))
def test_a_message_that_was_cut_short_is_damaged(length):
    """As a full disk leaves it."""
    with pytest.raises(Damaged):
        opened(sealed()[:length])


@given(st.binary(max_size=80))
def test_any_other_bytes_are_damaged(body):
    """Never an error of the library's."""
    with pytest.raises(Damaged):
        opened(body)


def test_another_key_and_another_scope_do_not_open():
    """A message cannot be moved to another memory."""
    moved = envelopes.parse(sealed()).envelope
    moved.memory = "diary"

    with pytest.raises(Damaged):
        opened(moved.SerializeToString())
    with pytest.raises(Damaged):
        opened(sealed(), aead.Box(bytes(32)))


def test_an_envelope_of_another_schema_is_not_read():
    """What a newer version wrote is not guessed at."""
    newer = envelopes.parse(sealed()).envelope
    newer.schema = 2

    with pytest.raises(Damaged, match="schema 2"):
        envelopes.parse(newer.SerializeToString())


@pytest.mark.parametrize("member", ["tenant", "memory", "key_ref"])
def test_an_envelope_without_a_scope_or_a_key_is_not_read(member):
    """A missing scope is an error, never everything."""
    lacking = envelopes.parse(sealed()).envelope
    lacking.ClearField(member)

    with pytest.raises(Damaged):
        envelopes.parse(lacking.SerializeToString())


def test_times_beyond_the_calendar_are_damaged():
    """They are sealed, so only a mistake of ours could have written them."""
    event = envelopes.parse(sealed()).envelope
    event.occurred_us = 1 << 62
    event.nonce, event.sealed = BOX.seal(b"", context=envelopes._context(SCOPE, event))

    with pytest.raises(Damaged):
        opened(event.SerializeToString())


def test_fields_that_a_newer_version_added_survive_reading_and_writing():
    """Readers keep what they do not know, and still open the rest."""
    added = b"\xa2\x06\x05newer" + b"\xa8\x06\x2a"
    parsed = envelopes.parse(sealed() + added)
    again = parsed.envelope.SerializeToString()

    assert added in again
    assert envelopes.parse(again).envelope == parsed.envelope
    assert opened(again) == EVENT


@given(strategies.events(), strategies.events())
def test_content_digests_are_equal_exactly_for_the_same_content(one, other):
    """Content is what the caller said: not the id, not when it was recorded, and its time only if the caller gave one."""

    def content(event):
        return (
            event.facets,
            repr(dict(sorted(event.facets.metadata.items()))),
            event.text,
            event.trust,
            event.expires_at,
            event.document_id,
            event.occurred_at if event.dated else None,
        )

    assert (mac(one) == mac(other)) == (content(one) == content(other))
    assert mac(one) == mac(replace(one, id=other.id, recorded_at=other.recorded_at))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("session_id", "other"),
        ("kind", "message"),
        ("role", "user"),
        ("actor", None),
        ("channel", None),
        ("thread_id", None),
        ("priority", None),
        ("metadata", {"metadata-name": None}),
        ("metadata", {}),
        ("text", "the engine weaves patterns "),
        ("occurred_at", NOON + timedelta(microseconds=1)),
        ("dated", False),
        ("expires_at", None),
        ("trust", None),
        ("document_id", None),
    ],
    ids=repr,
)
def test_each_part_of_the_content_counts(name, value):
    """The same id with any of them changed is another event."""
    assert mac(varied(EVENT, name, value)) != mac(EVENT)


def test_an_event_without_a_time_of_its_own_is_the_same_when_it_is_sent_later():
    """A retry an hour later is no conflict."""
    undated = replace(EVENT, dated=False)

    assert mac(undated) == mac(replace(undated, occurred_at=NOON + timedelta(hours=1)))


def test_the_order_of_metadata_is_not_content():
    """JSON objects have none."""
    one, other = {"a": 1, "b": 2}, {"b": 2, "a": 1}

    assert mac(varied(EVENT, "metadata", one)) == mac(varied(EVENT, "metadata", other))


def test_content_digests_of_two_sessions_cannot_be_compared():
    """They are made under the session's own key."""
    assert envelopes.content_mac(EVENT, aead.Box(bytes(32))) != mac(EVENT)


def test_references_are_gathered_by_scope():
    """So that the keys of a batch are fetched together."""
    other = Scope(Tenant("acme"), MemoryName("diary"))
    parsed = [envelopes.parse(body) for body in (sealed(), sealed(), sealed_retraction(), sealed(scope=other))]

    assert envelopes.references(parsed) == {SCOPE: {REFERENCE}, other: {REFERENCE}}
