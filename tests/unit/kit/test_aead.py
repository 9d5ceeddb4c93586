"""Authenticated encryption: what opens, and what does not."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalends.kit.aead import KEY_BYTES, MAC_BYTES, NONCE_BYTES, Box, TamperedError, new_key

BOX = Box(bytes(range(32)))
OTHER = Box(bytes(32))


@given(st.binary(max_size=200), st.binary(max_size=50))
def test_what_was_sealed_opens_under_its_key_and_context(plain, context):
    """Any bytes, the empty ones included."""
    nonce, sealed = BOX.seal(plain, context=context)

    assert BOX.open(nonce, sealed, context=context) == plain
    assert len(nonce) == NONCE_BYTES


def test_no_nonce_is_given_out_twice():
    """Not within one draw, not from one draw to the next, and not by a process and its fork."""
    ours, theirs = os.pipe()
    BOX.seal(b"", context=b"")
    child = os.fork()
    if child == 0:
        os.write(theirs, b"".join(BOX.seal(b"", context=b"")[0] for _ in range(300)))
        os._exit(0)
    os.waitpid(child, 0)
    theirs_read = os.read(ours, 300 * NONCE_BYTES)
    nonces = [BOX.seal(b"", context=b"")[0] for _ in range(300)]
    nonces += [theirs_read[start : start + NONCE_BYTES] for start in range(0, len(theirs_read), NONCE_BYTES)]

    assert len(set(nonces)) == len(nonces) == 600


@given(st.binary(min_size=1, max_size=60), st.integers(min_value=0), st.integers(1, 255))
def test_one_changed_byte_anywhere_does_not_open(plain, where, change):
    """Neither in the nonce, nor in what is sealed, nor in the context."""
    nonce, sealed = BOX.seal(plain, context=b"context")
    parts = bytearray(nonce + sealed + b"context")
    parts[where % len(parts)] ^= change
    end = NONCE_BYTES + len(sealed)

    with pytest.raises(TamperedError):
        BOX.open(bytes(parts[:NONCE_BYTES]), bytes(parts[NONCE_BYTES:end]), context=bytes(parts[end:]))


@pytest.mark.parametrize(("nonce", "sealed"), [(b"", b"x" * 32), (b"n" * 12, b""), (b"n" * 12, b"x"), (b"n" * 200, b"x" * 32)], ids=len)
def test_bytes_that_were_never_sealed_do_not_open(nonce, sealed):
    """With an error of ours, whatever the library calls it."""
    with pytest.raises(TamperedError):
        BOX.open(nonce, sealed, context=b"")


def test_another_key_does_not_open():
    """Every session has its own."""
    nonce, sealed = BOX.seal(b"hello", context=b"")

    with pytest.raises(TamperedError):
        OTHER.open(nonce, sealed, context=b"")


def test_sealing_twice_gives_different_bytes():
    """So that nobody sees that the same was said again."""
    assert BOX.seal(b"hello", context=b"") != BOX.seal(b"hello", context=b"")


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_digests_are_equal_exactly_for_equal_contents(one, other):
    """Under one key."""
    assert (BOX.digest(one) == BOX.digest(other)) == (one == other)
    assert len(BOX.digest(one)) == MAC_BYTES


def test_a_digest_tells_nothing_to_who_has_another_key():
    """The same content of two sessions cannot be linked."""
    assert BOX.digest(b"hello") != OTHER.digest(b"hello")


def test_new_keys_are_whole_and_differ():
    """From the system's randomness."""
    assert len(new_key()) == KEY_BYTES
    assert new_key() != new_key()


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_of_another_size_is_refused(size):
    """Never padded or cut."""
    with pytest.raises(ValueError, match="key"):
        Box(bytes(size))
