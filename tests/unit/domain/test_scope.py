"""Scopes: names, slots and tokens that are safe in a subject."""

import re

import pytest
from hypothesis import given
from tests.support import strategies

from kalends.domain.errors import Invalid
from kalends.domain.scope import SLOTS, MemoryName, Scope, Tenant, memory_name, tenant_name, token

BAD_NAMES = ["", "-a", "a-", "A", "a_b", "a.b", "a*", ">", "a b", "a\n", "a\0", "ä", "a" * 41]


@given(strategies.NAMES)
def test_a_name_by_the_rule_is_itself(name):
    """Nothing is folded or trimmed."""
    assert memory_name(name) == name
    assert tenant_name(name) == name


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_against_the_rule_is_refused_with_its_place(name):
    """Above all what NATS reads as a wildcard or a separator."""
    with pytest.raises(Invalid) as caught:
        memory_name(name, pointer="/path/memory")

    assert [fault.pointer for fault in caught.value.faults] == ["/path/memory"]


@given(strategies.ANY_TEXTS)
def test_any_text_becomes_a_token_that_is_safe_in_a_subject(text):
    """Also wildcards, separators, NUL and lone surrogates."""
    assert re.fullmatch(r"[a-z0-9-]{1,40}", token(text))


@given(strategies.ANY_TEXTS, strategies.ANY_TEXTS)
def test_two_texts_never_share_a_token(one, other):
    """What looks like a digest is digested again, so nobody can spell another's token."""
    assert (token(one) == token(other)) == (one == other)


@given(strategies.ANY_TEXTS)
def test_a_token_cannot_be_forged_by_spelling_it(text):
    """A text that is itself a digest token gets another one."""
    made = token(text)

    assert (token(made) == made) == (made == text)


@given(strategies.scopes())
def test_a_slot_is_one_of_256_and_stays(scope):
    """The slot is part of every subject, so it may never change for a memory."""
    assert 0 <= scope.slot < SLOTS
    assert scope.slot == Scope(scope.tenant, scope.memory).slot


def test_slots_and_keys_are_what_they_were():
    """Stored subjects and rows depend on them for ever."""
    scope = Scope(Tenant("local"), MemoryName("notes"))

    assert (scope.slot, scope.key) == (252, "z5eydbqyenakhjcyxtn4rs7tbq")


@given(strategies.scopes())
def test_a_key_is_printable_and_of_one_length(scope):
    """Engines store it as it is."""
    assert re.fullmatch(r"[a-z2-7]{26}", scope.key)


@given(strategies.scopes(), strategies.scopes())
def test_two_scopes_never_share_a_key(one, other):
    """Moving a character from the tenant to the memory makes another scope."""
    assert (one.key == other.key) == (one == other)
