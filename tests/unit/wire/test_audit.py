"""Blocks of audit entries as bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalends.domain.audit import Entry, Head, chained
from kalends.domain.errors import Damaged
from kalends.wire.audit import pack, unpack

TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20)
ENTRIES = st.builds(
    Entry,
    at_us=st.integers(-(1 << 62), 1 << 62),
    tenant=TEXTS,
    actor=TEXTS,
    operation=TEXTS,
    memory=TEXTS,
    outcome=TEXTS,
    request_id=TEXTS,
    count=st.integers(1, 1 << 31),
    refused=st.booleans(),
    approved_by=TEXTS,
)


@given(entries=st.lists(ENTRIES, max_size=5))
def test_entries_come_back_as_they_were(entries: list[Entry]):
    """With their places in the chain."""
    placed = list(chained(Head(), entries))

    assert list(unpack(pack(placed))) == placed


@pytest.mark.parametrize("body", [b"\xff", b"\x0a\x05abc"])
def test_bytes_that_are_no_block_are_refused(body: bytes):
    """As damaged."""
    with pytest.raises(Damaged):
        unpack(body)
