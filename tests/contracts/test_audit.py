"""The suite of the port ``audit``, on the real broker and on a cluster of three.

A newcomer would get wrong: the stream denies deletion, so what deletes an entry here is a stream that was made without that.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import nats.js.errors
import pytest
from tests.support.broker import ALONE, SMALL, another_bus, own_bus, shared_broker, watched_server
from tests.support.proxy import relay

from kalends.adapters.nats import NatsBus
from kalends.adapters.nats.streams import AUDIT
from kalends.domain import audit
from kalends.domain.audit import Entry, Head
from kalends.domain.credentials import RIGHTS, Principal
from kalends.domain.errors import DeadlineExceeded, KalendsError, Unavailable
from kalends.domain.scope import Tenant
from kalends.edge.audit_operations import AuditQuery, AuditRoutes, AuditVerdict, VerifyQuery
from kalends.edge.operations import Call

pytestmark = pytest.mark.usefixtures("broker")


def entries(*names: str, tenant: str = "acme") -> list[Entry]:
    """An entry for each name, which is its request's id."""
    return [
        Entry(at_us=1_700 + number, tenant=tenant, actor="ada", operation="tokens.create", memory="", outcome="ok", request_id=name)
        for number, name in enumerate(names)
    ]


async def chain(bus: NatsBus) -> list[Entry]:
    """Everything that the store has, in order."""
    place, _ = await bus.audit.head()
    blocks = await bus.audit.read(1, place)
    return [entry for block in blocks for entry in block.entries or ()]


def call(query: object, *, tenant: str = "acme", memories: frozenset[str] | None = None) -> Call:
    """An admin's question."""
    principal = Principal(token_id="t", tenant=Tenant(tenant), memories=memories, rights=frozenset(RIGHTS))
    return Call(principal=principal, scope=None, path={}, query=query, body=None, raw=b"", headers={}, request_id="r", deadline=1e12)


async def verified(bus: NatsBus) -> AuditVerdict:
    """What the check of the whole chain says in the end."""
    routes = AuditRoutes(store=bus.audit, operator="acme")
    cursor = None
    while True:
        verdict: AuditVerdict = (await routes.verify(call(VerifyQuery(cursor=cursor)))).body
        cursor = verdict.next_cursor
        if cursor is None:
            return verdict


async def listed(bus: NatsBus, *, tenant: str = "acme", memories: frozenset[str] | None = None, **query: object) -> list[str]:
    """The request ids of what is listed, page by page."""
    routes = AuditRoutes(store=bus.audit, operator="acme")
    found, cursor = [], None
    while True:
        page = (await routes.list(call(AuditQuery(cursor=cursor, **query), tenant=tenant, memories=memories))).body
        found += [item.request_id for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            return found


async def test_there_is_nothing_at_first(bus: NatsBus) -> None:
    """And a chain of nothing holds."""
    assert await bus.audit.head() == (0, Head())
    assert await chain(bus) == []
    assert (await verified(bus)).broken is None


async def test_entries_are_chained_in_order(bus: NatsBus) -> None:
    """Numbered from 1 through all blocks, and kept as they were given."""
    first = await bus.audit.append(entries("a", "b"))
    second = await bus.audit.append(entries("c"))

    found = await chain(bus)
    assert found == [*first, *second]
    assert [(one.number, one.request_id) for one in found] == [(1, "a"), (2, "b"), (3, "c")]
    assert audit.verify(found, after=Head()).broken is None
    assert (await verified(bus)).checked == 3


async def test_several_processes_write_one_chain(bus: NatsBus) -> None:
    """At the same time, and nothing is lost or stands twice."""
    async with another_bus() as other, another_bus() as third:

        async def write(of: NatsBus, name: str) -> None:
            for number in range(15):
                await of.audit.append(entries(f"{name}{number}"))

        await asyncio.gather(write(bus, "a"), write(other, "b"), write(third, "c"))
        found = await chain(bus)

    assert sorted(one.request_id for one in found) == sorted(f"{name}{number}" for name in "abc" for number in range(15))
    assert audit.verify(found, after=Head()).checked == 45
    for name in "abc":
        assert [one.request_id for one in found if one.request_id.startswith(name)] == [f"{name}{number}" for number in range(15)]


async def test_another_process_goes_on_with_the_chain(bus: NatsBus) -> None:
    """It reads the end before its first write."""
    await bus.audit.append(entries("a"))
    async with another_bus() as other:
        [placed] = await other.audit.append(entries("b"))

    assert placed.number == 2
    assert (await verified(bus)).broken is None


@ALONE
async def test_a_lost_answer_does_not_store_twice(bus: NatsBus) -> None:
    """The write is repeated, and our own first try is recognised."""
    await bus.audit.append(entries("a"))
    async with relay(shared_broker().url) as between, another_bus(url=between.url) as other:
        await other.audit.append(entries("b"))
        between.lose(b'"stream":"AUDIT"')
        await other.audit.append(entries("c"))
        await other.audit.append(entries("d"))
        assert between.lost == 1

    assert [one.request_id for one in await chain(bus)] == ["a", "b", "c", "d"]
    assert (await verified(bus)).broken is None


async def test_nothing_can_be_deleted(bus: NatsBus) -> None:
    """Not a message, not all of them; not even by us."""
    await bus.audit.append(entries("a"))
    stream = bus.connection.jetstream()

    for forbidden in (stream.delete_msg(AUDIT, 1), stream.purge_stream(AUDIT)):
        with pytest.raises(nats.js.errors.APIError):
            await forbidden
    assert len(await chain(bus)) == 1


async def test_a_message_that_was_taken_out_is_found_and_named(bus: NatsBus) -> None:
    """In a stream that somebody made without the denial."""
    manager = bus.connection.jetstream()
    info = await manager.stream_info(AUDIT)
    await manager.delete_stream(AUDIT)
    await manager.add_stream(replace(info.config, deny_delete=False, deny_purge=False))
    for name in "abcde":
        await bus.audit.append(entries(name))
    await manager.delete_msg(AUDIT, 3)

    verdict = await verified(bus)

    assert verdict.broken is not None
    assert (verdict.checked, verdict.broken.number, verdict.broken.reason) == (2, 3, "missing")


async def test_a_message_that_somebody_else_wrote_is_found(bus: NatsBus) -> None:
    """Bytes that are no block break the chain where they stand, and everything before it still holds."""
    await bus.audit.append(entries("a", "b"))
    await bus.connection.jetstream().publish("audit.v1.block", b"\xff")

    verdict = await verified(bus)

    assert verdict.broken is not None
    assert (verdict.checked, verdict.broken.number) == (2, 3)


async def test_entries_are_listed_newest_first_page_by_page(bus: NatsBus) -> None:
    """Also where a page ends within a block, and while others write."""
    await bus.audit.append(entries("a", "b", "c"))
    await bus.audit.append(entries("d", "e"))

    assert await listed(bus) == ["e", "d", "c", "b", "a"]
    assert await listed(bus, limit=2) == ["e", "d", "c", "b", "a"]
    first = (await AuditRoutes(store=bus.audit, operator="").list(call(AuditQuery(limit=2)))).body
    await bus.audit.append(entries("f"))
    second = (await AuditRoutes(store=bus.audit, operator="").list(call(AuditQuery(limit=2, cursor=first.next_cursor)))).body
    assert [item.request_id for item in second.items] == ["c", "b"]


async def test_a_list_can_be_narrowed(bus: NatsBus) -> None:
    """By every part, and by time."""
    one, two, three = entries("a", "b", "c")
    await bus.audit.append([replace(one, actor="eve"), replace(two, outcome="conflict", memory="notes"), replace(three, refused=True)])

    moments = [audit_time(number) for number in (1_701, 1_702)]
    assert await listed(bus, actor="eve") == ["a"]
    assert await listed(bus, outcome="conflict") == await listed(bus, memory="notes") == ["b"]
    assert await listed(bus, refused=True) == ["c"]
    assert await listed(bus, operation="tokens.create", refused=False) == ["b", "a"]
    assert await listed(bus, since=moments[0], until=moments[1]) == ["b"]
    assert await listed(bus, operation="nothing") == []


def audit_time(microseconds: int):
    """So many microseconds after 1970."""
    from kalends.domain.events import moment

    return moment(microseconds)


async def test_a_tenant_sees_its_own_entries_only(bus: NatsBus) -> None:
    """Of others no more than links, and those only on request; what came without a credential is for who runs the instance."""
    await bus.audit.append(entries("a"))
    await bus.audit.append(entries("b", tenant="globex"))
    await bus.audit.append(entries("c", tenant=""))

    assert await listed(bus) == ["c", "a"]
    assert await listed(bus, tenant="globex") == ["b"]
    page = (await AuditRoutes(store=bus.audit, operator="acme").list(call(AuditQuery(links=True), tenant="globex"))).body
    assert [(item.number, item.request_id, item.tenant, item.actor) for item in page.items] == [
        (3, "", "", ""),
        (2, "b", "globex", "ada"),
        (1, "", "", ""),
    ]


async def test_an_admin_of_some_memories_sees_entries_of_these_only(bus: NatsBus) -> None:
    """Not what was done to tokens, or to other memories."""
    one, two, three = entries("a", "b", "c")
    await bus.audit.append([one, replace(two, memory="notes"), replace(three, memory="diary")])

    assert await listed(bus, memories=frozenset({"notes"})) == ["b"]


async def test_an_exported_copy_can_be_checked_and_one_flipped_byte_is_found(bus: NatsBus) -> None:
    """Of every entry, with the links of those that are not shown."""
    from kalends.client.audit import checked

    await bus.audit.append(entries("a", "b"))
    await bus.audit.append(entries("c", tenant="globex"))
    await bus.audit.append(entries("d"))
    page = (await AuditRoutes(store=bus.audit, operator="acme").list(call(AuditQuery(links=True)))).body
    copy = [json.loads(line) for line in lines(page.items)]

    assert checked(copy).broken is None
    assert checked(copy).checked == 4
    for number, item in enumerate(copy):
        for name, value in item.items():
            changed = [*copy[:number], {**item, name: flipped(value)}, *copy[number + 1 :]]
            assert checked(changed).broken is not None, (number, name)
        if 0 < number < len(copy) - 1:
            broken = checked([*copy[:number], *copy[number + 1 :]]).broken
            assert broken is not None
            assert (broken.number, broken.reason) == (copy[number - 1]["number"], "missing")


def lines(items: Sequence[object]) -> list[bytes]:
    """As they come over HTTP."""
    import msgspec

    return [msgspec.json.encode(item) for item in items]


def flipped(value: object) -> object:
    """*value* with its last character changed."""
    if isinstance(value, int):
        return value + 1
    text = str(value)
    if text.endswith("Z"):
        return text[:-2] + ("1" if text[-2] != "1" else "2") + "Z"
    return text[:-1] + ("0" if text[-1] != "0" else "1")


@ALONE
async def test_a_broker_that_stays_away_is_said_and_not_waited_for(tmp_path: Path) -> None:
    """Within the deadline."""
    async with watched_server(tmp_path) as server, own_bus(server, replace(SMALL, request_timeout=0.3)) as bus:
        await bus.audit.append(entries("a"))
        await server.stop()
        for operation in (bus.audit.append(entries("b")), bus.audit.head(), bus.audit.read(1, 1)):
            with pytest.raises((Unavailable, DeadlineExceeded)) as caught:
                await operation
            assert isinstance(caught.value, KalendsError)
            assert caught.value.dependency == "nats"
