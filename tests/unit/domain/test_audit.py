"""Chains of audit entries: what a check finds, and where."""

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalends.domain.audit import START, Entry, Head, Link, chained, digest, verify

ENTRY = Entry(at_us=1_700, tenant="acme", actor="01ARZ", operation="events.append", memory="notes", outcome="ok", request_id="r")
VALUES = st.one_of(st.text(max_size=6), st.integers(0, 99))


def chain(count: int = 5) -> list[Entry]:
    """A chain of *count* entries."""
    return list(chained(Head(), [replace(ENTRY, at_us=number, request_id=f"r{number}") for number in range(count)]))


def test_a_chain_is_numbered_and_each_entry_names_the_one_before():
    """The first names the start."""
    first, second, *_ = chain()

    assert (first.number, first.previous) == (1, START)
    assert (second.number, second.previous) == (2, first.hash)
    assert verify(chain(), after=Head()).checked == 5


def test_what_was_hashed_before_there_were_approvals_stays_as_it_was():
    """A chain of an older version holds; an approver is hashed where there is one."""
    (entry,) = chained(Head(), [ENTRY])

    assert entry.hash.hex() == "f84c87fe8b0a6a6401ad7ce5dee2aecb090e3d453864cabaa570dfa37170bc27"
    assert digest(replace(entry, approved_by="01BEN")) != entry.hash


def test_a_chain_goes_on_where_another_process_left_it():
    """Blocks of several processes make one chain."""
    first = chain(3)
    second = list(chained(Head(number=3, hash=first[-1].hash), [ENTRY, ENTRY]))

    verdict = verify([*first, *second], after=Head())

    assert (verdict.checked, verdict.broken) == (5, None)
    assert verdict.head == Head(number=5, hash=second[-1].hash)


@pytest.mark.parametrize("name", [field.name for field in fields(Entry) if field.name != "hash"])
def test_a_change_of_any_part_is_found_where_it_is(name):
    """Whatever is changed, and in whichever direction."""
    entries = chain()
    value = getattr(entries[2], name)
    other = (
        value + b"x"
        if isinstance(value, bytes)
        else not value
        if isinstance(value, bool)
        else value + (1 if isinstance(value, int) else "x")
    )
    entries[2] = replace(entries[2], **{name: other})

    broken = verify(entries, after=Head()).broken

    assert broken is not None
    assert (broken.number, broken.reason) == (entries[2].number, "altered")


@given(place=st.integers(0, 4), byte=st.integers(0, 31), bit=st.integers(0, 7))
def test_one_flipped_bit_of_a_hash_is_found(place: int, byte: int, bit: int):
    """In the entry itself."""
    entries = chain()
    flipped = bytearray(entries[place].hash)
    flipped[byte] ^= 1 << bit
    entries[place] = replace(entries[place], hash=bytes(flipped))

    broken = verify(entries, after=Head()).broken

    assert broken is not None
    assert (broken.number, broken.reason) == (place + 1, "altered")


@pytest.mark.parametrize("gone", [0, 1, 3])
def test_a_missing_entry_is_found_behind_it(gone):
    """Also the first, if the check begins at the start."""
    entries = chain()
    del entries[gone]

    broken = verify(entries, after=Head()).broken

    assert broken is not None
    assert (broken.number, broken.reason) == (gone + 2, "missing")


def test_an_entry_that_was_made_anew_does_not_fit_what_follows():
    """Who hashes an altered entry again would have to do it to all that follow."""
    entries = chain()
    forged = replace(entries[2], outcome="forbidden", hash=b"")
    entries[2] = replace(forged, hash=digest(forged))

    broken = verify(entries, after=Head()).broken

    assert broken is not None
    assert (broken.number, broken.reason) == (4, "foreign")


def test_an_entry_that_stands_twice_is_found():
    """A repetition is no second entry."""
    entries = chain()

    broken = verify([*entries[:3], entries[2]], after=Head()).broken

    assert broken is not None
    assert broken.reason == "foreign"


def test_links_stand_for_entries_that_are_not_shown():
    """A tenant can check the whole chain without seeing what others did."""
    entries = chain()
    shown = [Link(number=one.number, previous=one.previous, hash=one.hash) if one.number % 2 else one for one in entries]

    assert verify(shown, after=Head()).checked == 5
    broken = verify([*shown[:2], *shown[3:]], after=Head()).broken
    assert broken is not None
    assert broken.number == 4


def test_a_part_of_a_chain_can_be_checked_from_where_it_begins():
    """What is before it is not asked."""
    assert verify(chain()[2:]).broken is None
    assert verify([]).checked == 0


@given(first=st.text(max_size=8), second=st.text(max_size=8))
def test_what_stands_in_one_part_cannot_stand_in_the_next(first: str, second: str):
    """Or two different entries would have one hash."""
    one, other = replace(ENTRY, tenant=first, actor=second), replace(ENTRY, tenant=first + second, actor="")

    assert (digest(one) == digest(other)) == (second == "")
