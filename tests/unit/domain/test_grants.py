"""Grants: from what a claim says to memories and rights."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalends.domain import grants
from kalends.domain.credentials import RIGHTS, ROLES
from kalends.domain.grants import Grant
from kalends.domain.scope import Tenant

WORDS = st.lists(st.sampled_from([*RIGHTS, *ROLES, "unknown", "", "ADMIN"]), max_size=5)


@given(WORDS)
def test_unknown_names_give_no_right(names: list[str]) -> None:
    """Whatever stands beside them."""
    known = [name for name in names if name in RIGHTS or name in ROLES]
    assert grants.rights_of(names) == grants.rights_of(known) <= set(RIGHTS)
    assert grants.rights_of([name for name in names if name not in known]) == frozenset()


@given(WORDS)
def test_with_a_map_only_what_it_says_counts(names: list[str]) -> None:
    """A claim ``admin`` of an issuer means nothing unless the settings say so."""
    assert grants.rights_claimed(names, {"unknown": "reader"}) == ({"search"} if "unknown" in names else set())


@given(issuer=st.text(max_size=30), subject=st.text(max_size=30), other=st.text(max_size=30))
def test_an_outsider_has_one_id_that_is_no_text_of_theirs(issuer: str, subject: str, other: str) -> None:
    """It may stand in logs, in metrics' neighbours and in the audit."""
    named = grants.outsider(issuer, subject)
    assert re.fullmatch(r"x-[a-z2-7]{24}", named)
    assert named == grants.outsider(issuer, subject)
    assert (named == grants.outsider(issuer, other)) == (subject == other)


def test_a_seam_between_issuer_and_subject_cannot_be_moved() -> None:
    """Two pairs that are one text together are two people."""
    assert grants.outsider("ab", "c") != grants.outsider("a", "bc")


@pytest.mark.parametrize(
    ("names", "memories"),
    [([], set()), (["a", "b"], {"a", "b"}), (["*"], None), (["a", "*"], None), (["**", "A", "a b", "", "a-"], set())],
)
def test_only_a_star_by_itself_opens_every_memory(names: list[str], memories: set[str] | None) -> None:
    """And what cannot be a memory's name is none."""
    assert grants.memories_of(names) == memories


@pytest.mark.parametrize(("value", "names"), [("a b", ["a", "b"]), (["a", 1, None, "b"], ["a", "b"]), (None, []), ({"a": 1}, []), (3, [])])
def test_names_are_read_from_texts_and_lists(value: object, names: list[str]) -> None:
    """Nothing else holds any."""
    assert grants.names_in(value) == names


def test_a_claims_own_name_wins_over_its_dots() -> None:
    """Names that are URLs have dots too."""
    claims = {"a.b": "whole", "a": {"b": "inner", "c": {"d": "deep"}}}
    assert grants.claimed(claims, "a.b") == "whole"
    assert grants.claimed(claims, "a.c.d") == "deep"
    assert grants.claimed(claims, "a.c.d.e") is None
    assert grants.claimed(claims, "missing") is None


def test_a_grant_becomes_a_principal_without_more() -> None:
    """Tenant, memories and rights are the grant's."""
    grant = Grant(tenant=Tenant("acme"), memories=frozenset({"a"}), rights=frozenset({"search"}))
    found = grant.principal(issuer="i", subject="s", expires_at=None)
    assert (found.tenant, found.memories, found.rights, found.token_id) == ("acme", {"a"}, {"search"}, grants.outsider("i", "s"))


@pytest.mark.parametrize(
    ("names", "labels"),
    [([], set()), (["hr", "board"], {"hr", "board"}), (["HR", "a b", ""], set()), (["hr", "*"], None), (["**"], set())],
)
def test_only_a_star_by_itself_opens_every_label(names: list[str], labels: set[str] | None) -> None:
    """Whoever names none sees what has none."""
    assert grants.labels_of(names) == (labels if labels is None else frozenset(labels))
