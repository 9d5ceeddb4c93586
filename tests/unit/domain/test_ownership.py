"""Ownership: what a hand-over leaves of everybody's memories."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalends.domain.credentials import RIGHTS, Principal, scope_for
from kalends.domain.errors import NotFound
from kalends.domain.ownership import agent_name, makers_of, outsider_name, settled, token_name
from kalends.domain.scope import MemoryName, Tenant

NAMES = st.sampled_from(["notes", "diary", "plans", "letters"])
WHO = st.sampled_from([token_name("1"), agent_name("1"), outsider_name("1")])
OWNERS = st.dictionaries(NAMES, WHO)


def a_principal(name="token:1", *, memories=None, rights=("search",)):
    """Somebody; of all memories unless some are named."""
    named = None if memories is None else frozenset(memories)
    return Principal(token_id="t", tenant=Tenant("acme"), memories=named, rights=frozenset(rights), name=name)


@given(WHO, st.none() | st.frozensets(NAMES), OWNERS)
def test_whoever_is_no_admin_of_all_reaches_what_is_its_own_and_nothing_of_others(name, memories, owners):
    """What was never handed over stays as the credential says."""
    found = settled(a_principal(name, memories=memories), owners)
    for memory in ("notes", "diary", "plans", "letters"):
        named = memories is None or memory in memories
        expected = owners[memory] == name if memory in owners else named
        assert found.reaches(memory) == expected
        assert memory in owners or found.reaches(memory) == named


@given(WHO, OWNERS)
def test_an_admin_of_all_memories_keeps_all_of_them(name, owners):
    """Or a memory whose owner is gone could never be handed over again."""
    admin = a_principal(name, rights=RIGHTS)

    assert settled(admin, owners) == admin


@given(st.frozensets(NAMES, min_size=1), OWNERS)
def test_an_admin_of_some_memories_is_no_exception(memories, owners):
    """Only what is its own."""
    found = settled(a_principal(memories=memories, rights=RIGHTS), owners)

    assert found.memories is not None
    assert {memory for memory in found.memories if memory in owners} == {
        memory for memory, owner in owners.items() if owner == token_name("1")
    }


def test_a_principal_without_a_name_owns_nothing():
    """An owner that is empty is nobody's."""
    assert settled(a_principal("", memories=["notes"]), {"notes": "", "diary": ""}).memories == frozenset()


def test_settling_twice_is_settling_once():
    """So it does no harm where it is done again."""
    owners = {"notes": token_name("1"), "diary": token_name("2")}
    once = settled(a_principal(memories=["diary"]), owners)

    assert settled(once, owners) == once


def test_a_withheld_memory_is_absent_like_any_other():
    """404 with the same words, although the credential is for all memories."""
    found = settled(a_principal(), {"notes": token_name("2")})

    with pytest.raises(NotFound, match="no memory 'notes'") as caught:
        scope_for(found, MemoryName("notes"), right="search")
    assert caught.value.reason == "foreign_memory"
    assert scope_for(found, MemoryName("diary"), right="search").memory == "diary"


def test_names_of_one_id_differ_by_kind():
    """A token, an agent and an outsider are never taken for each other."""
    assert len({token_name("1"), agent_name("1"), outsider_name("1")}) == 3


def test_whatever_somebody_makes_has_all_makers_before_it():
    """Through any number of hands."""
    first = a_principal(token_name("1"))
    second = replace(a_principal(agent_name("2")), makers=makers_of(first))

    assert makers_of(second) == {token_name("1"), agent_name("2")}
    assert makers_of(a_principal("")) == frozenset()
