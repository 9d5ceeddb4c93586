"""The connection and what it does with the client's protected parts."""

import asyncio
import inspect
import secrets
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from nats.aio.client import Client, Server
from tests.support.broker import SMALL, fresh_bus, shared_broker
from tests.support.waiting import until

from kalends.adapters.nats import BrokerUser, LocalServer, open_nats
from kalends.adapters.nats.connection import Link, _next_server, _places, connect
from kalends.adapters.nats.requests import frame, header_block
from kalends.domain.errors import Invalid, Misconfigured, Unavailable
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.ports.log import Draft


def test_the_protected_methods_are_what_they_are_used_as() -> None:
    """A release of the client that changes them fails here."""
    assert list(inspect.signature(Client._send_command).parameters) == ["self", "cmd", "priority"]
    assert list(inspect.signature(Client._flush_pending).parameters) == ["self", "force_flush"]
    assert inspect.iscoroutinefunction(Client._send_command)
    assert inspect.iscoroutinefunction(Client._flush_pending)


def test_frames_are_the_protocols() -> None:
    """With and without reply and headers."""
    assert frame("a.b", b"xyz") == b"PUB a.b 3\r\nxyz\r\n"
    assert frame("a.b", b"xyz", reply="r") == b"PUB a.b r 3\r\nxyz\r\n"
    headers = header_block({"k": "v"})
    assert frame("a", b"xyz", reply="r", headers=headers) == b"HPUB a r 18 21\r\nNATS/1.0\r\nk: v\r\n\r\nxyz\r\n"


@pytest.mark.parametrize("headers", [{"a\r\nb": "c"}, {"a": "b\r\nc"}, {"a:": "b"}, {"": "b"}, {"nats-Msg-Id": "b"}, {"a b": "c"}])
def test_headers_that_would_break_the_protocol_are_refused(headers: dict[str, str]) -> None:
    """Nothing that a caller gives can become a second header or a second message."""
    with pytest.raises(Invalid):
        header_block(headers)


async def test_what_is_sent_in_one_piece_arrives_as_messages() -> None:
    """The client counts it and the broker takes it apart."""
    async with fresh_bus() as bus:
        subject = f"test.{secrets.token_hex(4)}"
        subscription = await bus.connection.subscribe(subject)
        await bus.connection.flush()
        before = bus.connection.stats["out_msgs"]

        await bus.link.send(frame(subject, b"1") + frame(subject, b"2", headers=header_block({"k": "v"})), messages=2)

        first, second = await subscription.next_msg(timeout=5), await subscription.next_msg(timeout=5)
        assert (first.data, second.data, second.headers) == (b"1", b"2", {"k": "v"})
        assert bus.connection.stats["out_msgs"] == before + 2


async def test_a_flush_that_was_given_up_does_not_deafen_the_connection() -> None:
    """Its answer comes later, to nobody; what comes after that answer is still heard."""
    async with fresh_bus() as bus:
        for _ in range(20):  # now and then the answer is there first
            with suppress(TimeoutError):
                async with asyncio.timeout(0):
                    await bus.connection.flush()

        await bus.connection.flush(timeout=5)

        assert bus.connection.is_connected


async def test_who_cannot_send_lets_others_run_first() -> None:
    """Whoever waits for the connection and tries again at once would keep what tells that it is gone from ever running."""
    link = Link(Client())
    link.connected.set()
    asyncio.get_running_loop().call_soon(link.connected.clear)

    with pytest.raises(Unavailable):
        await link.send(frame("a.b", b""), messages=1)

    assert not link.connected.is_set()


async def test_nobody_there_is_unavailable_in_time() -> None:
    """With the deadline that was given."""
    with pytest.raises(Unavailable) as caught:
        async with open_nats(url="nats://127.0.0.1:1", options=replace(SMALL, connect_timeout=0.3)):
            pass

    assert caught.value.dependency == "nats"


async def test_wrong_credentials_are_said_at_once() -> None:
    """They do not become a timeout."""
    with pytest.raises(Misconfigured, match="credentials"):
        async with open_nats(url=shared_broker().url, user="platform", password="wrong", options=SMALL):
            pass


async def test_an_error_in_the_block_leaves_it_as_itself() -> None:
    """Not wrapped in a group."""
    with pytest.raises(ZeroDivisionError):
        async with fresh_bus():
            raise ZeroDivisionError


async def test_what_the_broker_forbids_is_counted(tmp_path: Path) -> None:
    """A denied publish is a silence to its caller; the count is where it shows."""
    seen: list[str] = []
    users = [BrokerUser(name="a1", password="p" * 20, prefixes=("kalends.v1.acme.notes",))]
    async with (
        LocalServer(tmp_path, users=lambda: users) as server,
        connect(server.url, name="t", inbox_prefix="_INBOX_a1", user="a1", password="p" * 20, violated=seen.append) as link,
    ):
        await link.client.publish("ev.v1.u.1.acme.notes", b"")
        await until(lambda: link.violations == 1)
        assert len(seen) == 1


async def test_closing_waits_for_appends_under_way() -> None:
    """What was accepted before the end of the block has its outcome."""
    drafts = [Draft(scope=Scope(Tenant("acme"), MemoryName("m")), message_id=str(number), body=b"x") for number in range(400)]
    async with fresh_bus() as bus:
        under_way = asyncio.create_task(bus.log.append(drafts))
        started = asyncio.Event()
        asyncio.get_running_loop().call_soon(started.set)
        await started.wait()

    assert len(await under_way) == 400


def test_only_servers_that_were_named_are_tried_where_that_is_asked() -> None:
    """A cluster tells its members' addresses by itself; who may speak to some only does not follow it."""
    named, told = Server(uri=urlsplit("nats://a:4222")), Server(uri=urlsplit("nats://b:4222"))
    tried = Server(uri=urlsplit("nats://a:4222"), reconnects=5)

    assert _next_server([tried, told], {})[0] is told
    assert _next_server([tried, told], {}, only=_places(["nats://a"]))[0] is tried
    assert _next_server([told, named], {}, only=_places(["a:4222", "nats://c:1"]))[0] is named
