"""The suite of the port ``clock``, over the system's clock and the one that tests move."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.clocks import SimulatedClock, settled, slept

from kalends.adapters.embedded.clock import SystemClock
from kalends.ports.clock import Clock


@dataclass(frozen=True, kw_only=True)
class Timepiece:
    """A clock, and how a test lets time pass on it."""

    clock: Clock
    passing: Callable[[float], Awaitable[None]]


async def _by_itself(_: float) -> None:
    return


@pytest.fixture(params=["system", "simulated"])
def timepiece(request: pytest.FixtureRequest) -> Timepiece:
    """One clock after the other."""
    if request.param == "system":
        return Timepiece(clock=SystemClock(), passing=_by_itself)
    simulated = SimulatedClock()
    return Timepiece(clock=simulated, passing=simulated.advance)


def test_now_is_an_aware_moment_in_utc(timepiece: Timepiece) -> None:
    """Whatever zone the machine is in, so that moments of two machines can be compared."""
    now = timepiece.clock.now()

    assert now.tzinfo is UTC
    assert now.utcoffset() == timedelta(0)


def test_now_is_the_real_time() -> None:
    """It lies between two looks at the machine's own time."""
    before = datetime.now(UTC)
    now = SystemClock().now()

    assert before <= now <= datetime.now(UTC)


def test_seconds_never_go_back(timepiece: Timepiece) -> None:
    """However often one looks; two looks may see the same."""
    seen = [timepiece.clock.monotonic() for _ in range(10_000)]

    assert seen == sorted(seen)


def test_seconds_go_on() -> None:
    """They are seconds of this run, and no fixed number."""
    clock = SystemClock()
    first = clock.monotonic()
    while (later := clock.monotonic()) == first:
        continue

    assert later > first


async def test_a_sleep_ends_once_the_seconds_have_grown_by_it(timepiece: Timepiece) -> None:
    """Not before."""
    async with asyncio.timeout(20):
        sleeper = asyncio.create_task(slept(timepiece.clock, 0.02))
        await timepiece.passing(0.019)
        await timepiece.passing(0.001)

        assert await sleeper >= 0.02 - 1e-9


@pytest.mark.parametrize("seconds", [0.0, -1.0, -1e9])
async def test_a_sleep_of_nothing_lets_others_go_first_and_ends(timepiece: Timepiece, seconds: float) -> None:
    """So that a loop whose next time has come already does not stop everything."""
    others: list[str] = []
    asyncio.get_running_loop().call_soon(others.append, "ran")

    async with asyncio.timeout(20):
        await slept(timepiece.clock, seconds)

    assert others == ["ran"]


async def test_who_sleeps_longer_wakes_later(timepiece: Timepiece) -> None:
    """Whoever began first."""
    woken: list[float] = []

    async def sleeper(seconds: float) -> None:
        await slept(timepiece.clock, seconds)
        woken.append(seconds)

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        for seconds in (0.06, 0.02, 0.04):
            group.create_task(sleeper(seconds))
        await timepiece.passing(1.0)

    assert woken == [0.02, 0.04, 0.06]


async def test_a_sleep_can_be_cut_short(timepiece: Timepiece) -> None:
    """And leaves nothing behind that time would trip over."""
    sleeper = asyncio.create_task(slept(timepiece.clock, 3600.0))
    await settled()
    sleeper.cancel()
    await asyncio.wait([sleeper])

    assert sleeper.cancelled()
    await timepiece.passing(7200.0)


async def test_simulated_time_is_told_alike_by_both_hands() -> None:
    """And who sleeps sees the very moment that was slept for."""
    clock = SimulatedClock()
    start, seen = clock.now(), []

    async def sleeper() -> None:
        for seconds in (10.0, 86_400.0):
            await slept(clock, seconds)
            seen.append(clock.now() - start)

    async with asyncio.TaskGroup() as group:
        group.create_task(sleeper())
        await clock.advance_to(start + timedelta(days=2))

    assert seen == [timedelta(seconds=10), timedelta(days=1, seconds=10)]
    assert clock.now() - start == timedelta(days=2)
