"""Claims tell whose a memory is, and cannot be forged by a text."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalends.domain.errors import Invalid
from kalends.domain.events import canonical_id, ulid_time
from kalends_operator.desired import naming

NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)


@given(st.text(max_size=2500), st.sampled_from(["", "east"]), NAMES, NAMES)
def test_whatever_the_text_the_claim_is_the_resources_own(text: str, cluster: str, namespace: str, name: str):
    """Whatever the text the claim is the resources own."""
    claim = naming.claim(cluster=cluster, namespace=namespace, name=name)
    described = naming.described(text, claim)

    assert naming.claimed_by(described) == claim
    assert naming.namespace_of(claim) == (cluster or "-", namespace)
    assert len(described) <= naming.DESCRIPTION


@given(NAMES, NAMES, NAMES, NAMES)
def test_two_resources_never_have_one_claim(one: str, name: str, other: str, second: str):
    """Two resources never have one claim."""
    same = (one, name) == (other, second)

    assert (naming.claim(cluster="", namespace=one, name=name) == naming.claim(cluster="", namespace=other, name=second)) == same


@given(st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2100, 1, 1)), st.text(), st.text())  # noqa: DTZ001 - made aware below
def test_what_is_asked_for_once_has_one_id(at: datetime, key: str, other: str):
    """It is a ULID of the time of the resource, and another resource has another."""
    when = at.replace(tzinfo=UTC)
    mine = naming.once(when, key)

    assert mine == naming.once(when, key)
    assert canonical_id(mine) == mine
    assert (mine == naming.once(when, other)) == (key == other)
    told = ulid_time(canonical_id(mine))
    assert told is not None
    assert abs(told - when) < timedelta(milliseconds=1)


def test_a_description_without_a_claim_has_none():
    """A description without a claim has none."""
    assert naming.claimed_by("written by hand\n[kubernetes]") == ""


def test_a_name_that_no_memory_can_have_is_refused():
    """A name that no memory can have is refused."""
    with pytest.raises(Invalid):
        naming.memory_of("a.b", None)
