"""Keys as NATS writes them: the same texts and signatures as its own library makes."""

import nkeys as theirs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalends.kit import nkeys
from kalends.kit.nkeys import Kind

KINDS: tuple[Kind, ...] = ("user", "account", "operator")


@pytest.mark.parametrize("kind", KINDS)
def test_the_library_of_nats_reads_our_keys_and_agrees_on_signatures(kind: Kind) -> None:
    """An agent's seed file serves any NATS client."""
    pair = nkeys.new_pair(kind)
    known = theirs.from_seed(pair.seed.encode())

    assert known.public_key.decode() == pair.public
    assert known.sign(b"words") == pair.sign(b"words")
    assert nkeys.is_public(pair.public, kind=kind)
    assert [other for other in KINDS if nkeys.is_public(pair.public, kind=other)] == [kind]


def test_a_signature_is_of_one_key_and_one_message() -> None:
    """Anything else is refused."""
    one, other = nkeys.new_pair("user"), nkeys.new_pair("user")
    signature = one.sign(b"words")

    assert nkeys.verify(one.public, b"words", signature)
    assert not nkeys.verify(one.public, b"word", signature)
    assert not nkeys.verify(other.public, b"words", signature)
    assert not nkeys.verify(one.public, b"words", signature[:-1] + bytes([signature[-1] ^ 1]))
    assert not nkeys.verify(one.public, b"words", b"")


def test_only_users_sign_for_agents() -> None:
    """An account's key signs too, but it is nobody's identity here."""
    account = nkeys.new_pair("account")
    assert not nkeys.verify(account.public, b"words", account.sign(b"words"))


@given(at=st.integers(0, 55), letter=st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"))
def test_a_mistyped_letter_is_found_out(at: int, letter: str) -> None:
    """The checksum is over every letter."""
    public = nkeys.new_pair("user").public
    mistyped = public[:at] + letter + public[at + 1 :]
    assert nkeys.is_public(mistyped, kind="user") == (mistyped == public)


@pytest.mark.parametrize("text", ["", "U", "SU" + "A" * 56, "ü" * 58, "A" * 58, "suaa", " " * 58])
def test_what_is_no_seed_is_refused(text: str) -> None:
    """With an error that says so and quotes nothing."""
    with pytest.raises(ValueError, match=r"key|seed") as caught:
        nkeys.pair_of(text)
    assert len(text) < 3 or text not in str(caught.value)


def test_a_pair_shows_its_public_key_only() -> None:
    """Representations end up in logs."""
    pair = nkeys.new_pair("user")
    assert pair.seed not in repr(pair)
    assert pair.public in repr(pair)


@given(st.text(max_size=70))
def test_no_text_makes_reading_a_key_fail_otherwise(text: str) -> None:
    """Callers send these."""
    assert nkeys.is_public(text, kind="user") in {True, False}
    assert not nkeys.verify(text, b"", b"")
