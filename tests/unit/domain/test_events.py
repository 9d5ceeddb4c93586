"""Events: ids, times, and the rules that an event must meet."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support import strategies

from kalends.domain.errors import Invalid
from kalends.domain.events import (
    KINDS,
    STRUCTURAL_KINDS,
    Event,
    EventId,
    Facets,
    Limits,
    canonical_id,
    check_event,
    check_text,
    digest_id,
    event_key,
    indexed_text,
    lead,
    microseconds,
    moment,
    new_ulid,
    ulid_time,
)
from kalends.domain.scope import MemoryName, Scope, Tenant

MAY = datetime(2023, 5, 8, 13, 56, tzinfo=UTC)
ULID = EventId("01ARZ3NDEKTSV4RRFFQ69G5FAV")
EVENT = Event(id=ULID, facets=Facets(session_id="s1", kind="message", actor="Caroline"), text="hello", occurred_at=MAY, recorded_at=MAY)
BAD_IDS = ["", "x", ULID[:-1], ULID + "0", "8" + ULID[1:], ULID.replace("A", "U"), ULID.replace("A", "I"), f" {ULID}", f"{ULID}\n"]


def _faults(**changes):
    facets = {name: changes.pop(name) for name in list(changes) if hasattr(EVENT.facets, name)}
    event = replace(EVENT, facets=replace(EVENT.facets, **facets), **changes)
    return [(fault.pointer, fault.code) for fault in check_event(event, limits=Limits())]


@given(strategies.event_ids())
def test_two_spellings_of_an_id_are_one_id(event_id):
    """ULIDs are upper-cased, UUIDs lower-cased."""
    assert canonical_id(event_id) == event_id
    assert canonical_id(event_id.lower()) == event_id
    assert canonical_id(event_id.upper()) == event_id


@pytest.mark.parametrize("text", [*BAD_IDS, ULID.replace("K", "\u212a"), ULID.replace("S", "\u017f"), "{" + str(ULID) + "}"])
def test_what_is_neither_a_ulid_nor_a_uuid_is_refused(text):
    """Also letters that only look like one when case is ignored: the Kelvin sign and the long s."""
    with pytest.raises(Invalid) as caught:
        canonical_id(text, pointer="/events/3/event_id")

    assert [(fault.pointer, fault.code) for fault in caught.value.faults] == [("/events/3/event_id", "event_id")]


@given(strategies.ANY_TEXTS)
def test_any_text_is_an_id_or_is_refused(text):
    """Never an error of ours, and what is accepted can be dated."""
    try:
        event_id = canonical_id(text)
    except Invalid:
        return

    ulid_time(event_id)


@given(st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - hypothesis adds the zone
def test_a_fresh_ulid_says_when_it_was_made(now):
    """To the millisecond."""
    assert ulid_time(new_ulid(now)) == now - timedelta(microseconds=now.microsecond % 1000)


def test_fresh_ulids_differ_unless_their_randomness_is_given():
    """An idempotency key makes its id repeatable that way."""
    assert new_ulid(MAY) != new_ulid(MAY)
    assert new_ulid(MAY, randomness=b"0123456789") == new_ulid(MAY, randomness=b"0123456789")


@given(st.integers(min_value=0, max_value=(1 << 47) - 1))
def test_a_uuid_of_version_7_says_when_it_was_made(milliseconds):
    """Its first 48 bits are milliseconds."""
    assert ulid_time(canonical_id(strategies.uuid7(milliseconds))) == moment(milliseconds * 1000)


def test_other_uuids_do_not_say_when_they_were_made():
    """So they are always looked up."""
    assert ulid_time(canonical_id("7d444840-9dc0-41d1-b245-5ffdce74fad2")) is None


def test_a_time_beyond_the_calendar_is_no_time():
    """The largest ULID lies in the year 10889."""
    assert ulid_time(canonical_id("7ZZZZZZZZZZZZZZZZZZZZZZZZZ")) is None


@given(st.lists(strategies.ANY_TEXTS, min_size=1, max_size=3), st.lists(strategies.ANY_TEXTS, min_size=1, max_size=3))
def test_an_id_made_of_parts_is_a_canonical_id_without_a_time(parts, others):
    """The same parts always give the same id."""
    made = digest_id(*parts)

    assert canonical_id(made) == made
    assert ulid_time(made) is None
    assert made == digest_id(*parts)


@given(strategies.MOMENTS)
def test_a_moment_survives_as_microseconds(when):
    """Exactly, for every year of the calendar."""
    assert moment(microseconds(when)) == when


@pytest.mark.parametrize("value", [1 << 62, -(1 << 62), 1 << 70])
def test_microseconds_beyond_the_calendar_overflow(value):
    """The caller decides what that means."""
    with pytest.raises(OverflowError):
        moment(value)


@given(strategies.scopes(), strategies.scopes(), strategies.event_ids())
def test_an_event_key_is_of_one_scope_and_shows_nothing(one, other, event_id):
    """The same id in two memories is two events."""
    assert re.fullmatch(r"[0-9a-f]{32}", event_key(one, event_id))
    assert (event_key(one, event_id) == event_key(other, event_id)) == (one == other)


def test_event_keys_are_what_they_were():
    """Rows of every engine depend on them."""
    scope = Scope(Tenant("local"), MemoryName("notes"))

    assert event_key(scope, ULID) == "3d49c1c5467ac3b25038f2a1c10bd7de"


@given(strategies.TEXTS)
def test_every_text_without_nul_and_surrogates_is_welcome(text):
    """Emoji, CJK, right-to-left and combining marks are text like any other."""
    assert check_text(text, pointer="/text", limit=1000) is None


@given(strategies.ANY_TEXTS, st.sampled_from(["\0", "\ud800", "\udfff"]), strategies.ANY_TEXTS)
def test_nul_and_lone_surrogates_are_refused_wherever_they_are(before, bad, after):
    """No store gives them back as they were."""
    fault = check_text(before + bad + after, pointer="/text", limit=10_000)

    assert fault is not None
    assert fault.code == "character"


def test_size_is_counted_in_bytes_of_utf_8():
    """Two letters of two bytes each do not fit into three."""
    assert check_text("ää", pointer="/text", limit=4) is None
    assert check_text("ää", pointer="/text", limit=3).code == "too_large"
    assert check_text("aaaa", pointer="/text", limit=3).code == "too_large"


def test_an_empty_text_is_refused_unless_it_may_be_empty():
    """A moment such as the end of a session needs no words."""
    assert check_text("", pointer="/text", limit=9).code == "empty"
    assert check_text("", pointer="/text", limit=9, empty=True) is None


def test_a_plain_event_has_no_faults():
    """The rules are about what is wrong."""
    assert _faults() == []


@pytest.mark.parametrize("kind", KINDS)
def test_only_structural_kinds_may_be_without_text(kind):
    """A message without words says nothing."""
    assert _faults(kind=kind, text="") == ([] if kind in STRUCTURAL_KINDS else [("/text", "empty")])


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"kind": "shout"}, ("/kind", "vocabulary")),
        ({"role": "king"}, ("/role", "vocabulary")),
        ({"priority": "asap"}, ("/priority", "vocabulary")),
        ({"trust": "maybe"}, ("/trust", "vocabulary")),
        ({"session_id": ""}, ("/session_id", "empty")),
        ({"session_id": "x" * 513}, ("/session_id", "too_large")),
        ({"actor": ""}, ("/actor", "empty")),
        ({"channel": "a\0"}, ("/channel", "character")),
        ({"thread_id": "\ud800"}, ("/thread_id", "character")),
        ({"text": "x" * (256 * 1024 + 1)}, ("/text", "too_large")),
        ({"metadata": {str(number): 1 for number in range(33)}}, ("/metadata", "too_large")),
        ({"metadata": {"a/b~c": "\0"}}, ("/metadata/a~1b~0c", "character")),
        ({"metadata": {"\ud800": 1}}, ("/metadata", "character")),
        ({"metadata": {"": 1}}, ("/metadata/", "empty")),
        ({"metadata": {"n": 1 << 63}}, ("/metadata/n", "range")),
        ({"metadata": {"n": float("nan")}}, ("/metadata/n", "range")),
        ({"metadata": {"n": float("inf")}}, ("/metadata/n", "range")),
    ],
    ids=repr,
)
def test_each_broken_rule_is_named_with_its_place(changes, fault):
    """Pointers follow RFC 6901, relative to the event."""
    assert _faults(**changes) == [fault]


def test_all_faults_are_told_at_once():
    """Nobody wants to mend an event one fault at a time."""
    assert _faults(kind="shout", role="king", text="") == [("/text", "empty"), ("/kind", "vocabulary"), ("/role", "vocabulary")]


@given(strategies.METADATA)
def test_flat_metadata_of_any_scalar_is_welcome(metadata):
    """Text, numbers of 64 bits, truth and null."""
    assert _faults(metadata=metadata) == []


def test_the_lead_of_an_event_is_its_date_and_its_speaker():
    """The actor if one is named, else the role."""
    assert lead(EVENT) == "08 May 2023 Caroline"
    assert lead(replace(EVENT, facets=replace(EVENT.facets, actor=None))) == "08 May 2023 user"


def test_what_is_indexed_is_composed():
    """The same word found whether it was typed with combining marks or without."""
    assert indexed_text(replace(EVENT, text="cafe\u0301")) == "caf\u00e9"
