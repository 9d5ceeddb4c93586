"""Streams: which memory is where, and how streams are made and mended."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.support.broker import SMALL, fresh_bus, shared_broker

from kalends.adapters.nats import NatsBus, open_nats, streams
from kalends.adapters.nats.options import NatsOptions
from kalends.domain.errors import Misconfigured
from kalends.domain.scope import SLOTS, MemoryName, Scope, Tenant
from kalends.ports.log import Draft


def scopes(count: int) -> Iterator[Scope]:
    """Some scopes."""
    return (Scope(Tenant("acme"), MemoryName(f"m{number}")) for number in range(count))


@pytest.mark.parametrize("partitions", [1, 2, 3, 7, 256])
def test_the_slots_are_shared_out_without_rest_or_overlap(partitions: int) -> None:
    """Every slot's subject is in exactly one stream, the one that the scope is said to be in."""
    if partitions == 1:
        assert streams.event_subjects(0, partitions=1) == ["ev.v1.u.>"]
        return
    owners = {subject: number for number in range(partitions) for subject in streams.event_subjects(number, partitions=partitions)}
    assert sorted(owners) == sorted(f"ev.v1.u.{slot}.>" for slot in range(SLOTS))
    for scope in scopes(300):
        number = owners[f"ev.v1.u.{scope.slot}.>"]
        assert streams.stream_of(scope, partitions=partitions) == f"EVENTS_{number}"


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
        return {"max_bytes": info.config.max_bytes, "allow_atomic": info.config.allow_atomic, "last": info.state.last_seq}


async def test_opening_again_changes_nothing_and_changed_sizes_are_mended() -> None:
    """What is in the streams stays."""
    async with fresh_bus() as bus:
        await bus.log.append([Draft(scope=next(scopes(1)), message_id="1", body=b"")])
        wanted = streams.wanted(SMALL)
        for name in wanted:
            info = await bus.connection.jetstream().stream_info(name)
            assert streams.drift(wanted[name], await raw_config(bus, name)) == {}, info

    assert await reopened(SMALL) == {"max_bytes": SMALL.events_bytes, "allow_atomic": True, "last": 1}
    assert await reopened(replace(SMALL, events_bytes=300 << 20)) == {"max_bytes": 300 << 20, "allow_atomic": True, "last": 1}


async def raw_config(bus: NatsBus, name: str) -> dict[str, object]:
    """A stream's settings as the broker says them."""
    answer = await bus.connection.request(f"$JS.API.STREAM.INFO.{name}", b"", timeout=2)
    config: dict[str, object] = json.loads(answer.data)["config"]
    return config


async def test_another_number_of_partitions_is_refused_once_there_are_events() -> None:
    """Memories would not be found in the streams where they are; an empty log may change."""
    async with fresh_bus() as bus:
        pass
    two = replace(SMALL, partitions=2)
    assert (await reopened(two))["last"] == 0
    assert (await reopened(SMALL))["last"] == 0
    broker = shared_broker()
    async with open_nats(url=broker.url, user=broker.user, password=broker.password, options=SMALL) as bus:
        await bus.log.append([Draft(scope=next(scopes(1)), message_id="1", body=b"")])
    with pytest.raises(Misconfigured, match="partitions"):
        await reopened(two)
