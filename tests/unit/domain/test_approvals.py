"""Approvals: who may decide, and how one stands."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalends.domain import approvals
from kalends.domain.approvals import Approval, check_decider, may_see
from kalends.domain.credentials import Principal
from kalends.domain.errors import Conflict, Forbidden, NotFound
from kalends.domain.scope import Tenant

ACME = Tenant("acme")
ASKED = Approval(
    approval_id="01",
    tenant=ACME,
    operation=approvals.ERASE_EVERYTHING,
    memories=("notes",),
    requested_by="token:ann",
    requested_with="ann-2",
    requested_us=10,
    expires_us=20,
    makers=frozenset({"token:first"}),
)


def somebody(name="token:ben", *, memories=None, rights=("admin",), makers=(), tenant=ACME):
    """An admin of all memories."""
    named = None if memories is None else frozenset(memories)
    return Principal(token_id=name, tenant=tenant, memories=named, rights=frozenset(rights), name=name, makers=frozenset(makers))


def test_another_admin_may_decide():
    """Also one whom the same person made."""
    check_decider(ASKED, somebody(makers=["token:first"]), now_us=15)


@pytest.mark.parametrize(
    "principal",
    [
        somebody("token:ann"),
        somebody("token:first"),
        somebody("token:made", makers=["token:ann"]),
        somebody("agent:deep", makers=["token:made", "token:ann", "token:first"]),
    ],
)
def test_nobody_decides_who_may_be_the_same_person(principal):
    """Who asked, whoever made their credential, and what they made themselves; the text says what is wrong."""
    with pytest.raises(Forbidden, match="second person") as caught:
        check_decider(ASKED, principal, now_us=15)
    assert caught.value.reason == "same_person"


def test_a_right_is_needed_and_the_own_tenant_and_memory():
    """What is not for one's eyes is absent."""
    with pytest.raises(Forbidden, match="admin"):
        check_decider(ASKED, somebody(rights=["erase"]), now_us=15)
    for principal in (somebody(tenant=Tenant("globex")), somebody(memories=["diary"])):
        assert not may_see(ASKED, principal)
        with pytest.raises(NotFound):
            check_decider(ASKED, principal, now_us=15)
    assert may_see(ASKED, somebody(memories=["notes", "diary"]))


def test_what_is_about_all_memories_is_for_admins_of_all():
    """Even if every memory of it is among their own."""
    wide = replace(ASKED, wide=True)

    assert (may_see(wide, somebody(memories=["notes"])), may_see(wide, somebody())) == (False, True)


def test_a_memory_that_was_handed_over_takes_its_approvals_along():
    """Its former owner sees them no more."""
    assert not may_see(ASKED, replace(somebody(), withheld=frozenset({"notes"})))


@given(st.sampled_from([approvals.APPROVED, approvals.REFUSED, approvals.DONE, approvals.FAILED]), st.integers(0, 100))
def test_what_was_decided_stays_so(state, now_us):
    """However late it is, and nobody decides it again."""
    decided = replace(ASKED, state=state)

    assert decided.state_at(now_us) == state
    with pytest.raises(Conflict, match="decided already"):
        check_decider(decided, somebody(), now_us=now_us)


@given(st.integers(0, 100))
def test_what_was_not_decided_expires(now_us):
    """At the very moment that was told."""
    assert ASKED.state_at(now_us) == (approvals.EXPIRED if now_us >= 20 else approvals.PENDING)
    if now_us >= 20:
        with pytest.raises(Conflict, match="expired"):
            check_decider(ASKED, somebody(), now_us=now_us)


def test_two_wishes_are_the_same_only_from_the_same_person_for_the_same_thing():
    """Ids and times do not matter."""
    assert ASKED.asks_the_same(replace(ASKED, approval_id="02", requested_us=11, requested_with="ann-3"))
    for other in ({"requested_by": "token:ben"}, {"memories": ("diary",)}, {"operation": "hand_over"}, {"arguments": {"reason": "legal"}}):
        assert not ASKED.asks_the_same(replace(ASKED, **other))


def test_a_principal_is_compared_by_name_and_else_by_its_credential():
    """A principal of a test may have no name."""
    assert approvals.name_of(replace(somebody("token:ben"), name="")) == "token:ben"
