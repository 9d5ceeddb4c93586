"""Floors of projections that other processes feed: asked of their consumers, and never making one that nobody would end."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.support.broker import fresh_bus

from kalends.adapters.nats import NatsBus
from kalends.app.floors import SharedFloors
from kalends.domain.errors import Unavailable
from kalends.wire.generations import CurrentGeneration


@pytest.fixture
async def bus() -> AsyncIterator[NatsBus]:
    """An empty log, whose lexical projection serves generation g1."""
    async with fresh_bus() as made:
        await CurrentGeneration(made.records, projection="lexical").switch("g1")
        await made.log.consumer("lexical-g1")
        yield made


def floors_of(bus: NatsBus) -> SharedFloors:
    """As a process sees them that does not index."""
    return SharedFloors(log=bus.log, current=CurrentGeneration(bus.records, projection="lexical"), projection="lexical")


async def test_floors_are_those_of_the_generation_that_serves(bus: NatsBus) -> None:
    """And nothing while there is none."""
    assert await floors_of(bus).floors() == {"EVENTS_0": 0}

    nothing = SharedFloors(log=bus.log, current=CurrentGeneration(bus.records, projection="vector"), projection="vector")
    assert await nothing.floors() == {}


async def test_the_consumer_of_a_generation_that_went_is_let_go(bus: NatsBus) -> None:
    """Its subscription too, whoever asked meanwhile; however many ask at once, one is opened."""
    floors = floors_of(bus)
    await asyncio.gather(*[floors.floors() for _ in range(5)])
    opened = len(bus.connection._subs)
    for number in range(2, 5):
        await bus.log.consumer(f"lexical-g{number}")
        opened += 1  # by this test
        await CurrentGeneration(bus.records, projection="lexical").switch(f"g{number}")
        floors._asked = float("-inf")
        assert await asyncio.gather(*[floors.floors() for _ in range(5)]) == [{"EVENTS_0": 0}] * 5

    assert len(bus.connection._subs) == opened


@pytest.mark.parametrize("asked_before", [True, False])
async def test_a_switch_between_two_looks_leaves_no_consumer_behind(bus: NatsBus, asked_before: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Whether or not the consumer had been opened when it was ended."""
    current = CurrentGeneration(bus.records, projection="lexical")
    floors = SharedFloors(log=bus.log, current=current, projection="lexical")
    if asked_before:
        await floors.floors()
    else:
        await current.refresh()
        floors._asked = float("inf")  # it knows of g1, and does not look again so soon
    await bus.log.consumer("lexical-g2")
    await CurrentGeneration(bus.records, projection="lexical").switch("g2")
    await bus.log.drop_consumer("lexical-g1")

    with pytest.raises(Unavailable) as told:
        await floors.floors()
    assert told.value.dependency == "lexical"
    assert await bus.log.consumers() == ["lexical-g2"]
    floors._asked = float("-inf")
    assert await floors.floors() == {"EVENTS_0": 0}
