"""Streams: how they are made and mended."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.support.broker import SMALL, fresh_bus, shared_broker

from kalends.adapters.nats import NatsBus, open_nats, streams
from kalends.adapters.nats.options import NatsOptions
from kalends.domain.errors import Misconfigured
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.ports.log import Draft


def scopes(count: int) -> Iterator[Scope]:
    """Some scopes."""
    return (Scope(Tenant("acme"), MemoryName(f"m{number}")) for number in range(count))


def test_what_the_broker_leaves_out_is_no_drift() -> None:
    """False, nothing and absent are the same; a changed number is not."""
    assert streams.drift({"a": False, "b": 0, "c": 1}, {"c": 1, "d": 5}) == {}
    assert streams.drift({"c": 2}, {"c": 1}) == {"c": 2}


def test_options_that_cannot_work_are_refused() -> None:
    """Before the broker sees them."""
    with pytest.raises(ValueError, match="partitions"):
        NatsOptions(partitions=0)
    with pytest.raises(ValueError, match="redelivery"):
        NatsOptions(max_deliver=2, redelivery=(1.0, 2.0))


async def reopened(options: NatsOptions) -> dict[str, object]:
    """What the stream is like after opening the shared broker with *options*."""
    broker = shared_broker()
    async with open_nats(url=broker.url, user=broker.user, password=broker.password, options=options) as bus:
        info = await bus.connection.jetstream().stream_info("EVENTS_0")
        keys = await bus.connection.jetstream().stream_info("KEYS")
        told = {"max_bytes": info.config.max_bytes, "allow_atomic": info.config.allow_atomic, "last": info.state.last_seq}
        return told if keys.config.max_bytes == options.keys_bytes else {"keys": keys.config.max_bytes}


async def test_opening_again_changes_nothing_and_changed_sizes_are_mended() -> None:
    """What is in the streams stays."""
    async with fresh_bus() as bus:
        await bus.log.append([Draft(scope=next(scopes(1)), message_id="1", body=b"")])
        wanted = {**streams.wanted(SMALL), "EVENTS_0": {**streams.event_settings(SMALL), "subjects": ["ev.v1.u.>"]}}
        for name, settings in wanted.items():
            assert streams.drift(settings, await raw_config(bus, name)) == {}, name

    assert await reopened(SMALL) == {"max_bytes": SMALL.events_bytes, "allow_atomic": True, "last": 1}
    wider = replace(SMALL, events_bytes=300 << 20, keys_bytes=SMALL.keys_bytes * 2)
    assert await reopened(wider) == {"max_bytes": 300 << 20, "allow_atomic": True, "last": 1}


async def raw_config(bus: NatsBus, name: str) -> dict[str, object]:
    """A stream's settings as the broker says them."""
    answer = await bus.connection.request(f"$JS.API.STREAM.INFO.{name}", b"", timeout=2)
    config: dict[str, object] = json.loads(answer.data)["config"]
    return config


async def test_a_memory_is_in_the_stream_that_the_broker_says() -> None:
    """Of a log with several streams, each takes its own share of the subjects."""
    async with fresh_bus(replace(SMALL, partitions=4)) as bus:
        appended = await bus.log.append([Draft(scope=scope, message_id="1", body=b"") for scope in scopes(40)])
        subjects = {name: (await raw_config(bus, name))["subjects"] for name in {one.position.stream for one in appended}}

    assert len(subjects) == 4
    for scope, one in zip(scopes(40), appended, strict=True):
        held = subjects[one.position.stream]
        assert isinstance(held, list)
        assert f"ev.v1.u.{scope.slot}.>" in held


async def test_a_smaller_number_of_partitions_changes_nothing() -> None:
    """A log never gets narrower; a process that has the old number goes on beside those that have the new one."""
    async with fresh_bus(replace(SMALL, partitions=3)) as bus:
        before = [await raw_config(bus, f"EVENTS_{number}") for number in range(3)]
        assert (await reopened(SMALL))["last"] == 0

        assert [await raw_config(bus, f"EVENTS_{number}") for number in range(3)] == before


async def test_a_broker_without_room_for_another_stream_is_said_before_anything_is_given_up() -> None:
    """The slots stay where they are, and whoever writes notices nothing."""
    async with fresh_bus(replace(SMALL, events_bytes=1 << 20)) as bus:
        with pytest.raises(Misconfigured, match="no room"):
            await reopened(replace(SMALL, partitions=2, events_bytes=1 << 60))

        assert (await raw_config(bus, "EVENTS_0"))["subjects"] == ["ev.v1.u.>"]
        assert len(await bus.log.append([Draft(scope=scope, message_id="1", body=b"") for scope in scopes(20)])) == 20
