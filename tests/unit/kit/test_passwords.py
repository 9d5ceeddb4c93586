"""Hashes of passwords for servers that check them themselves."""

import secrets

import bcrypt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kalends.kit.passwords import broker_hash

PASSWORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0")).filter(lambda text: 1 <= len(text.encode()) <= 72)


@settings(max_examples=30)
@given(PASSWORDS, PASSWORDS)
def test_only_the_password_itself_fits_its_hash(password, other):
    """Whatever is in it."""
    hashed = broker_hash(password).encode()

    assert bcrypt.checkpw(password.encode(), hashed)
    assert bcrypt.checkpw(other.encode(), hashed) == (other == password)


def test_the_hash_is_written_as_the_broker_reads_it():
    """With the prefix and the cost of its format; the broker takes anything else for the password itself."""
    assert broker_hash(secrets.token_urlsafe(32)).startswith("$2a$04$")
    assert len(broker_hash("x")) == 60


def test_the_same_password_is_hashed_differently_every_time():
    """Or one could see who shares a password."""
    assert broker_hash("same") != broker_hash("same")


def test_a_password_that_would_be_cut_off_is_refused():
    """Beyond 72 bytes two passwords would be one."""
    with pytest.raises(ValueError, match="72"):
        broker_hash("é" * 36 + "x")
