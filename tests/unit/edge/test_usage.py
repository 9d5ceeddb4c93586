"""What a process tells of what it uses."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from kalends.edge import usage
from kalends.kit.pools import Account


async def test_the_pulse_tells_how_late_the_loop_came_back():
    """What was asked for is not late; a loop that was blocked is, by as long as it was."""
    passed, seen, slow = [0.0], [], iter([0.0, 0.25, 1.5])

    async def sleep(seconds):
        try:
            passed[0] += seconds + next(slow)
        except StopIteration:
            raise asyncio.CancelledError from None

    with pytest.raises(asyncio.CancelledError):
        await usage.pulse(seen.append, sleep=sleep, now=lambda: passed[0])

    assert seen == pytest.approx([0.0, 0.25, 1.5])


def test_pools_are_read_when_somebody_asks():
    """A pool that was made after the registry is shown, and one that is closed is not."""
    registry = CollectorRegistry()
    usage.register(registry, lambda: None)
    account = Account("test-read", places=3)
    account.come()
    account.come()
    account.begin()
    found = {name: registry.get_sample_value(f"kalends_pool_{name}", {"pool": "test-read"}) for name in ("places", "taken", "waiting")}
    account.close()

    assert found == {"places": 3, "taken": 1, "waiting": 1}
    assert registry.get_sample_value("kalends_pool_places", {"pool": "test-read"}) is None
