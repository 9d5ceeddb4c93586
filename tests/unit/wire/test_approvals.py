"""The records of approvals: kept whole, decided once."""

from contextlib import aclosing
from dataclasses import fields, replace

import pytest
from tests.support.records import MemoryRecords

from kalends.domain.approvals import Approval
from kalends.domain.errors import Conflict, Damaged
from kalends.domain.scope import Tenant
from kalends.ports.records import Record
from kalends.wire.approvals import KIND, ApprovalStore, decode, encode

ACME, GLOBEX = Tenant("acme"), Tenant("globex")
APPROVAL = Approval(
    approval_id="01",
    tenant=ACME,
    operation="hand_over",
    memories=("notes", "diary"),
    requested_by="token:ann",
    requested_with="ann-2",
    requested_us=10,
    expires_us=20,
    arguments={"to": "agent:ben", "reason_code": "departure"},
    makers=frozenset({"token:first", "agent:second"}),
    wide=True,
    state="done",
    decided_by="token:cora",
    decided_with="cora-1",
    decided_us=15,
    result="the owner is agent:ben",
    error="none",
    revision=7,
)


def test_an_approval_comes_back_as_it_was():
    """Every field of it; the sample leaves none at its default."""
    empty = Approval(
        approval_id="", tenant=Tenant(""), operation="", memories=(), requested_by="", requested_with="", requested_us=0, expires_us=0
    )
    assert [one.name for one in fields(Approval) if getattr(APPROVAL, one.name) == getattr(empty, one.name)] == []
    assert decode(Record(kind=KIND, owner=ACME, name="01", value=encode(APPROVAL), revision=7)) == APPROVAL


async def test_each_tenant_has_its_own_oldest_first():
    """And whoever takes up what was left sees all."""
    store = ApprovalStore(MemoryRecords())
    for number, tenant in (("02", ACME), ("01", ACME), ("03", GLOBEX)):
        await store.begin(replace(APPROVAL, approval_id=number, tenant=tenant))

    assert [one.approval_id for one in await store.all(ACME)] == ["01", "02"]
    assert {one.approval_id for one in await store.all()} == {"01", "02", "03"}
    assert await store.find(GLOBEX, "01") is None


async def test_the_second_of_two_decisions_is_refused():
    """Whoever read it before the first was stored is told."""
    store = ApprovalStore(MemoryRecords())
    begun = await store.begin(replace(APPROVAL, state="pending"))
    await store.put(begun, state="refused")

    with pytest.raises(Conflict):
        await store.put(begun, state="approved")
    found = await store.find(ACME, "01")
    assert found is not None
    assert found.state == "refused"


async def test_whoever_watches_hears_of_what_is_there_and_of_every_change():
    """Of every tenant; what cannot be read is passed over."""
    records = MemoryRecords()
    store = ApprovalStore(records)
    await records.put(KIND, ACME, "00", b"\xff\xff", revision=0)
    begun = await store.begin(replace(APPROVAL, state="pending"))
    async with aclosing(store.watch()) as changes:
        assert (await anext(changes)).state == "pending"
        await store.put(begun, state="approved")
        await store.begin(replace(APPROVAL, tenant=GLOBEX))
        assert [(await anext(changes)).state, (await anext(changes)).tenant] == ["approved", GLOBEX]


async def test_a_damaged_record_hides_no_other():
    """It is an error for who asks for that one."""
    records = MemoryRecords()
    store = ApprovalStore(records)
    await store.begin(APPROVAL)
    await records.put(KIND, ACME, "00", b"\xff\xff", revision=0)

    assert [one.approval_id for one in await store.all(ACME)] == ["01"]
    with pytest.raises(Damaged):
        await store.find(ACME, "00")
