"""What the suites of the broker's ports share: the broker that they run on, and an empty bus on it.

Belongs here: fixtures of several suites. Does not belong here: brokers themselves (``support/broker``). A newcomer would get wrong: a suite
runs on both brokers only if it uses ``broker``, which ``bus`` does; tests that open their own bus need the mark.
"""

from collections.abc import AsyncIterator, Iterator

import pytest
from tests.support.broker import BROKERS, fresh_bus, on

from kalends.adapters.nats import NatsBus
from kalends.adapters.nats.log import NatsLog


@pytest.fixture(params=BROKERS)
def broker(request: pytest.FixtureRequest) -> Iterator[None]:
    """One server, and a cluster."""
    with on(request.param):
        yield


@pytest.fixture
async def bus(broker: None) -> AsyncIterator[NatsBus]:
    """An empty bus."""
    async with fresh_bus() as opened:
        yield opened


@pytest.fixture
def log(bus: NatsBus) -> NatsLog:
    """Its log."""
    return bus.log
