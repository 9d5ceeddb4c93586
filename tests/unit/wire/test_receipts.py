"""Receipts: one form of bytes, and no change goes unnoticed."""

import json
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalends.domain.erasures import Erasure, Selector
from kalends.domain.errors import Damaged
from kalends.domain.events import EventId
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.kit import signatures
from kalends.wire import receipts

SIGNER = signatures.Signer(signatures.new_key())
DONE = Erasure(
    erasure_id=EventId("01JB0000000000000000000001"),
    scope=Scope(Tenant("acme"), MemoryName("notes")),
    selector=Selector(kind="session_id", session="a secret name"),
    selector_kind="session_id",
    selector_digest="0" * 64,
    reason="request",
    requested_by="token",
    undo_until_us=0,
    state="unreadable",
    times={"hidden": 1_700_000_000_000_001, "unreadable": 1_700_000_001_000_000, "erased": 1_700_000_002_000_000},
    counts={"log_messages": 3, "keys": 1},
    probe={"log": 0},
)


@given(st.dictionaries(st.text(max_size=8), st.integers(0, 1 << 60), max_size=5), st.booleans())
def test_a_receipt_is_good_however_it_travelled(counts, indented):
    """Its members may be reordered, indented, and escaped otherwise."""
    members = json.loads(receipts.sign(replace(DONE, counts=counts), SIGNER))
    travelled = json.dumps(dict(reversed(members.items())), indent=2 if indented else None, ensure_ascii=indented)

    receipt = receipts.read(travelled.encode())

    assert receipts.is_genuine(receipt)
    assert receipts.is_genuine(receipt, key=SIGNER.public)
    assert receipt.counts == counts


def test_the_form_that_is_signed_is_one():
    """Sorted members, no spaces, and the signature not among them."""
    receipt = receipts.read(receipts.sign(DONE, SIGNER))
    said = receipts.canonical(receipt)

    assert said == json.dumps(json.loads(said), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert b"signature" not in said
    assert b"secret" not in said


@pytest.mark.parametrize("member", sorted(name for name in receipts.Receipt.__struct_fields__ if name not in {"version", "signature"}))
def test_no_member_can_be_changed(member):
    """Not even one that nobody looks at."""
    members = json.loads(receipts.sign(DONE, SIGNER))
    other = {dict: lambda _: {}, bool: lambda value: not value, str: lambda value: value[:-1] + "x"}
    value = members[member]
    members[member] = "2026-01-01T00:00:00Z" if value is None else other[type(value)](value)

    assert not receipts.is_genuine(receipts.read(json.dumps(members).encode()))


def test_a_receipt_of_another_key_is_not_trusted():
    """It is in itself good, so whoever checks must say whose he trusts."""
    forged = receipts.read(receipts.sign(DONE, signatures.Signer(signatures.new_key())))

    assert receipts.is_genuine(forged)
    assert not receipts.is_genuine(forged, key=SIGNER.public)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff", json.dumps({"version": 1}).encode()])
def test_what_is_no_receipt_is_refused(content):
    """By a name."""
    with pytest.raises(Damaged):
        receipts.read(content)


def test_a_signature_that_is_no_hex_is_no_signature():
    """And neither is one of another version's form."""
    receipt = receipts.read(receipts.sign(DONE, SIGNER))

    assert not receipts.is_genuine(msgspec.structs.replace(receipt, signature="zz"))
    assert not receipts.is_genuine(msgspec.structs.replace(receipt, version=2))
