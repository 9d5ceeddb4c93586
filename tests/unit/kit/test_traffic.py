"""Traffic: what counts as much, and that giving way has an end. Time is a number here."""

import asyncio
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalends.kit import traffic as module
from kalends.kit.traffic import Traffic, patience


class Time:
    """Seconds that pass when somebody sleeps, or when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def time(monkeypatch) -> Time:
    """The time of the module under test."""
    made = Time()
    monkeypatch.setattr(module, "time", made)
    monkeypatch.setattr(module, "asyncio", made)
    return made


def per_second(traffic, time, units, *, seconds=3.0):
    """Let *units* pass each second, in twenty parts a second."""
    for _ in range(int(seconds * 20)):
        with traffic.passing(units / 20):
            time.now += 0.05


def test_nothing_is_light(time):
    """A process that does nothing gives way to nothing."""
    assert not Traffic().heavy


def test_four_at_once_are_heavy_until_one_has_passed(time):
    """However little they carry."""
    traffic = Traffic()
    with ExitStack() as three:
        for _ in range(3):
            three.enter_context(traffic.passing(1))
        assert not traffic.heavy
        with traffic.passing(1):
            assert traffic.heavy
        assert not traffic.heavy


def test_what_fails_is_under_way_no_longer(time):
    """Or traffic would stay heavy for ever."""
    traffic = Traffic()
    for _ in range(10):
        with pytest.raises(ValueError, match="broken"), traffic.passing(1):
            raise ValueError("broken")

    assert not traffic.heavy


@pytest.mark.parametrize(("units", "heavy"), [(100, False), (800, False), (1300, True), (20_000, True)])
def test_more_than_a_thousand_a_second_are_heavy(time, units, heavy):
    """One after the other, so that there is never more than one under way."""
    traffic = Traffic()

    per_second(traffic, time, units)

    assert traffic.heavy == heavy


def test_traffic_fades_once_nothing_passes(time):
    """By half in a quarter of a second."""
    traffic = Traffic()
    per_second(traffic, time, 3000)

    assert traffic.heavy
    time.now += 0.25
    assert traffic.heavy
    time.now += 0.25
    assert not traffic.heavy


def test_a_single_large_piece_counts_as_many_small_ones(time):
    """A thousand events in one call keep a machine as busy as a thousand calls."""
    traffic = Traffic()
    with traffic.passing(1000):
        assert not traffic.heavy

    assert traffic.heavy


async def test_nobody_gives_way_to_light_traffic(time):
    """It returns at once."""
    await Traffic().give_way(at_most=10.0)

    assert time.now == 1000.0


async def test_giving_way_ends_when_traffic_is_light(time):
    """Long before the bound."""
    traffic = Traffic()
    with traffic.passing(1000):
        pass

    await traffic.give_way(at_most=60.0)

    assert not traffic.heavy
    assert 1000.2 < time.now < 1001.0


async def test_giving_way_has_a_bound(time):
    """Work that gives way is never starved."""
    traffic = Traffic()
    with ExitStack() as many:
        for _ in range(4):
            many.enter_context(traffic.passing(1))

        await traffic.give_way(at_most=0.5)

        assert traffic.heavy
        assert time.now == pytest.approx(1000.5, abs=0.02)


async def test_nobody_gives_way_without_patience(time):
    """A bound of nothing is no step either."""
    traffic = Traffic()
    with traffic.passing(100_000):
        pass

    await traffic.give_way(at_most=0.0)

    assert time.now == 1000.0


async def test_giving_way_lets_others_run():
    """On the real loop: who gives way is not in the way."""
    traffic, passed = Traffic(), asyncio.Event()
    with ExitStack() as many:
        for _ in range(4):
            many.enter_context(traffic.passing(1))
        waiting = asyncio.create_task(traffic.give_way(at_most=60.0))
        asyncio.get_running_loop().call_soon(passed.set)
        await passed.wait()
        assert not waiting.done()

    async with asyncio.timeout(10):
        await waiting


@given(st.floats(0, 1000), st.floats(0, 1000), st.floats(0, 60), st.floats(0.001, 600))
def test_patience_shrinks_as_work_falls_behind(behind, more, longest, gone_after):
    """From the longest to nothing, and never below."""
    now, later = (patience(value, longest=longest, gone_after=gone_after) for value in (behind, behind + more))

    assert 0.0 <= later <= now <= longest


def test_patience_is_gone_when_work_is_too_far_behind():
    """Half of the way there, half of it is left."""
    assert [patience(behind, longest=2.0, gone_after=10.0) for behind in (0.0, 5.0, 10.0, 100.0)] == [2.0, 1.0, 0.0, 0.0]
    assert patience(float("inf"), longest=2.0, gone_after=10.0) == 0.0
