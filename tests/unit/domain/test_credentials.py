"""Credentials: what a principal may do, and what is stored of a token."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support import strategies

from kalends.domain.credentials import (
    NOBODY,
    RIGHTS,
    ROLES,
    TOKEN_PREFIX,
    Principal,
    new_token,
    require,
    role_of,
    scope_for,
    token_hash,
)
from kalends.domain.errors import Forbidden, NotFound
from kalends.domain.scope import MemoryName, Tenant

NOTES = MemoryName("notes")


def _principal(*rights, memories=None):
    return Principal(
        token_id="t1", tenant=Tenant("acme"), memories=None if memories is None else frozenset(memories), rights=frozenset(rights)
    )


def test_the_scope_has_the_tenant_of_the_credential():
    """Nothing that a caller sends takes part in it."""
    scope = scope_for(_principal("search"), NOTES, right="search")

    assert (scope.tenant, scope.memory) == ("acme", "notes")


def test_a_memory_outside_the_list_is_not_found_even_for_an_admin():
    """``Forbidden`` would tell that it exists."""
    with pytest.raises(NotFound):
        scope_for(_principal("admin", memories={"other"}), NOTES, right="search")


def test_a_foreign_memory_is_not_found_before_the_right_is_looked_at():
    """Otherwise the answer would differ between the two and tell them apart."""
    with pytest.raises(NotFound):
        scope_for(_principal("append", memories={"other"}), NOTES, right="search")


def test_a_missing_right_on_an_own_memory_is_forbidden():
    """The caller may know that the memory is there, so the answer can be plain."""
    with pytest.raises(Forbidden, match="append"):
        scope_for(_principal("search", memories={"notes"}), NOTES, right="append")


@pytest.mark.parametrize("right", RIGHTS)
def test_admin_carries_every_right(right):
    """One token is enough to run an instance."""
    require(_principal("admin"), right=right)


@given(st.sets(st.sampled_from(RIGHTS)), st.sampled_from(RIGHTS))
def test_a_right_is_had_only_if_it_was_given(rights, right):
    """No other right implies it, except ``admin``."""
    principal = _principal(*rights)

    if right in rights or "admin" in rights:
        require(principal, right=right)
    else:
        with pytest.raises(Forbidden):
            require(principal, right=right)


def test_an_empty_list_of_memories_allows_none():
    """It is not the same as no list."""
    with pytest.raises(NotFound):
        scope_for(_principal("admin", memories=()), NOTES, right="search")


def test_a_fresh_token_is_unique_and_can_be_recognised():
    """Scanners for leaked secrets look for the prefix."""
    made = {new_token() for _ in range(100)}

    assert len(made) == 100
    assert all(token.startswith(TOKEN_PREFIX) and len(token) >= 47 for token in made)


@given(strategies.ANY_TEXTS)
def test_any_text_can_be_looked_up_as_a_token(text):
    """A header may hold anything; the hash of nonsense is simply unknown."""
    assert len(token_hash(text)) == 64
    assert text not in token_hash(text) or len(text) < 5


def test_each_role_has_all_rights_of_the_one_before():
    """Nobody loses a right by being given more trust."""
    sets = [set(rights) for rights in ROLES.values()]
    assert all(less < more for less, more in pairwise(sets))
    assert sets[-1] == set(RIGHTS)


@pytest.mark.parametrize("role", ROLES)
def test_the_rights_of_a_role_are_that_role(role):
    """However they are ordered; a set without a name has none."""
    assert role_of(reversed(ROLES[role])) == role
    assert role_of(["append"]) is None
    assert role_of(["admin"]) == "admin"


@pytest.mark.parametrize("right", RIGHTS)
def test_nobody_has_no_right_and_no_memory(right):
    """Not even by mistake in a row that wants a credential."""
    with pytest.raises(Forbidden):
        require(NOBODY, right=right)
    with pytest.raises(NotFound):
        scope_for(NOBODY, NOTES, right=right)
