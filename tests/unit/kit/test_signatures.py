"""Signatures: what was signed is told from what was not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalends.kit import signatures

KEY = signatures.new_key()


@given(st.binary(max_size=200))
def test_what_was_signed_is_recognised(message):
    """With the signer's own public key and no other."""
    signer = signatures.Signer(KEY)
    signature = signer.sign(message)

    assert signatures.is_signed(message, signature, public=signer.public)
    assert not signatures.is_signed(message, signature, public=signatures.Signer(signatures.new_key()).public)


@given(st.binary(min_size=1, max_size=50), st.data())
def test_one_changed_byte_is_noticed(message, data):
    """In the message as in the signature."""
    signer = signatures.Signer(KEY)
    signature = signer.sign(message)
    place = data.draw(st.integers(0, len(message) - 1))
    changed = bytes([*message[:place], message[place] ^ 1, *message[place + 1 :]])
    at = data.draw(st.integers(0, len(signature) - 1))
    forged = bytes([*signature[:at], signature[at] ^ 1, *signature[at + 1 :]])

    assert not signatures.is_signed(changed, signature, public=signer.public)
    assert not signatures.is_signed(message, forged, public=signer.public)


def test_what_is_no_key_and_no_signature_proves_nothing():
    """Whatever length it has."""
    assert not signatures.is_signed(b"m", b"", public=b"")
    assert not signatures.is_signed(b"m", b"x" * 64, public=b"short")


def test_a_key_of_another_length_is_refused():
    """A file that was cut is no key."""
    with pytest.raises(ValueError, match="32"):
        signatures.Signer(b"short")
