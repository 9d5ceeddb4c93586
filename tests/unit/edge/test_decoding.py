"""Decoding: whatever arrives is a value of the type or a named error."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.edge import Note, NoteQuery

from kalends.domain.errors import Invalid, KalendsError, Malformed
from kalends.edge import decoding

NOTES = msgspec.json.Decoder(Note)
ANYTHING = msgspec.json.Decoder(Any)


@pytest.mark.parametrize(
    ("path", "pointer"),
    [("$", ""), ("$.events[0].text", "/events/0/text"), ("$.a.b", "/a/b"), ("$[3]", "/3"), ("$.metadata[...]", "/metadata")],
)
def test_paths_of_msgspec_become_json_pointers(path, pointer):
    """Pointers end before a step that msgspec does not name."""
    assert decoding.pointer_of(path) == pointer


@pytest.mark.parametrize(
    ("raw", "pointer", "code"),
    [
        (b'{"text":"x","nope":1}', "/nope", "unknown_field"),
        (b'{"text":"x","a/b~":1}', "/a~1b~0", "unknown_field"),
        (b"{}", "/text", "missing"),
        (b'{"text":3}', "/text", "type"),
        (b'{"text":"x","parts":[1,"2"]}', "/parts/1", "type"),
        (b'{"text":"x","labels":{"k":1}}', "/labels", "type"),
        (b'{"text":"x","at":"2026-01-01T00:00:00"}', "/at", "type"),
        (b'{"text":"x","weight":1e999}', "/weight", "type"),
        (b'{"text":"x","count":99999999999999999999}', "/count", "range"),
        (b'{"text":"x","parts":[1,99999999999999999999]}', "/parts/1", "range"),
        (b"[]", "", "type"),
        (b"null", "", "type"),
    ],
)
def test_a_broken_rule_is_invalid_with_a_pointer(raw, pointer, code):
    """The caller learns which member is wrong."""
    with pytest.raises(Invalid) as caught:
        decoding.body_of(NOTES, raw)
    assert [(fault.pointer, fault.code) for fault in caught.value.faults] == [(pointer, code)]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"\xef\xbb\xbf{}",
        b'{"text":"x"} x',
        b'{"text":"\\ud800"}',
        b'{"text":"\\udc00x"}',
        b'{"text":"\xff"}',
        b'{"text":"\xed\xa0\x80"}',
        b'{"text":"\xc0\x80"}',
        b'{"text":NaN}',
        b"{'text':1}",
        b'{"text":"x","count":01}',
        b'{"text":"a\nb"}',
        b'{"text":"x","\\ud800":1}',
    ],
)
def test_bytes_that_are_no_json_text_are_malformed(raw):
    """RFC 8259 in UTF-8 and nothing near it: no byte order mark, no lone surrogates, no NaN."""
    with pytest.raises(Malformed):
        decoding.body_of(NOTES, raw)


@pytest.mark.parametrize("raw", [b"[" * 100_000, b'{"a":' * 100_000, b"[" * 5_000 + b"]" * 5_000])
@pytest.mark.parametrize("decoder", [ANYTHING, msgspec.json.Decoder(list[msgspec.Raw]), msgspec.json.Decoder(dict[str, msgspec.Raw])])
def test_deep_nesting_is_refused_and_does_no_harm(raw, decoder):
    """A megabyte of brackets must not exhaust the stack."""
    with pytest.raises((Malformed, Invalid)):
        decoding.body_of(decoder, raw)


def test_digits_in_text_are_no_huge_number():
    """The guard against huge integers looks at numbers only."""
    assert decoding.body_of(NOTES, b'{"text":"99999999999999999999"}').text == "9" * 20


@given(raw=st.one_of(st.binary(max_size=200), st.text(max_size=100).map(lambda text: text.encode())))
def test_any_bytes_are_a_value_or_a_named_error(raw):
    """No foreign error leaves the door."""
    try:
        decoding.body_of(ANYTHING, raw)
    except KalendsError:
        return


@pytest.mark.parametrize(
    ("query", "kind", "pointer"),
    [
        (b"limit=1&limit=2", Invalid, "/limit"),
        (b"nope=1", Invalid, "/nope"),
        (b"limit=x", Invalid, "/limit"),
        (b"limit=", Invalid, "/limit"),
        (b"limit=0", Invalid, "/limit"),
        (b"limit=99999999999999999999", Invalid, "/limit"),
        (b"share=nan", Invalid, "/share"),
        (b"share=inf", Invalid, "/share"),
        (b"from=123", Invalid, "/from"),
        (b"from=2026-01-01T00:00:00", Invalid, "/from"),
        (b"q=%00", Invalid, ""),
        (b"q=%zz", Malformed, None),
        (b"q=%", Malformed, None),
        (b"q=%ff", Malformed, None),
        (b"q=\xff", Malformed, None),
        (b"q=%ed%a0%80", Malformed, None),
    ],
)
def test_a_wrong_query_is_refused(query, kind, pointer):
    """Queries are as strict as bodies."""
    with pytest.raises(kind) as caught:
        decoding.query_of(NoteQuery, decoding.parameters_of(query))
    assert pointer is None or [fault.pointer for fault in caught.value.faults] == [pointer]


def test_a_query_is_read_as_its_types():
    """Text becomes numbers and times; plus is a space."""
    query = decoding.query_of(NoteQuery, decoding.parameters_of(b"limit=7&order=desc&from=2026-01-01T00:00:00%2B02:00&q=a+b%20%C3%A9"))
    assert (query.limit, query.order, query.q) == (7, "desc", "a b é")
    assert query.since.isoformat() == "2026-01-01T00:00:00+02:00"


@given(raw=st.binary(max_size=80))
def test_any_query_string_is_parameters_or_a_named_error(raw):
    """No bytes in a URL are an internal error."""
    try:
        decoding.query_of(NoteQuery, decoding.parameters_of(raw))
    except KalendsError:
        return
