"""Wrapped data keys as bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalends.domain.errors import Damaged
from kalends.domain.wrapped_keys import PLAIN_BYTES, WrappedKey, decode, encode, kek_of

names = st.text(min_size=1, max_size=50)


@given(kek=names, body=st.binary(min_size=PLAIN_BYTES, max_size=300))
def test_what_was_encoded_is_decoded(kek: str, body: bytes) -> None:
    """Name and body come back, whatever they are."""
    wrapped = WrappedKey(kek=kek, body=body)

    assert decode(encode(wrapped)) == wrapped
    assert kek_of(encode(wrapped)) == kek


@given(body=st.binary(min_size=PLAIN_BYTES, max_size=PLAIN_BYTES))
def test_a_key_from_before_there_were_names_has_none(body: bytes) -> None:
    """Its length tells it, whatever bytes it begins with."""
    assert decode(body) == WrappedKey(kek="", body=body)


@given(st.binary(max_size=100))
def test_other_bytes_are_damaged_or_read_as_they_are(stored: bytes) -> None:
    """Nothing else is ever raised, and what is read is what would be stored."""
    try:
        found = decode(stored)
    except Damaged:
        assert kek_of(stored) is None
    else:
        assert found.body == stored if not found.kek else encode(found) == stored


@pytest.mark.parametrize("stored", [b"", b"kek1", b"kek1\x05abc", b"kek1\x03abc", b"kek1\x00" + b"x" * 60, b"kek1\x01\xff" + b"x" * 60])
def test_a_torn_key_is_damaged(stored: bytes) -> None:
    """Without its body, without its name, or with a name that is none."""
    with pytest.raises(Damaged):
        decode(stored)


@pytest.mark.parametrize("kek", ["", "x" * 201])
def test_a_name_has_a_length(kek: str) -> None:
    """An empty one means the first key, and is never written."""
    with pytest.raises(ValueError, match="1 to 200 bytes"):
        encode(WrappedKey(kek=kek, body=b"body"))
