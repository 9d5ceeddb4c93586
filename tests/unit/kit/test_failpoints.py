"""Failpoints: inert unless armed, and they act once."""

import asyncio

import pytest

from kalends.kit import failpoints


@pytest.fixture(autouse=True)
def _disarmed():
    """No test leaves a failpoint behind."""
    yield
    failpoints.arm({})


async def test_a_failpoint_that_is_not_armed_does_nothing():
    """That is what it does for every user."""
    failpoints.arm({"elsewhere": "error"})

    await failpoints.reach("here")


async def test_an_armed_failpoint_fails_once():
    """What comes after is about recovering."""
    failpoints.arm({"here": "error"})

    with pytest.raises(failpoints.FailpointError, match="here"):
        await failpoints.reach("here")
    await failpoints.reach("here")


async def test_a_failpoint_can_fail_at_a_later_hit():
    """The first ones pass."""
    failpoints.arm({"here": "error@3"})

    await failpoints.reach("here")
    await failpoints.reach("here")
    with pytest.raises(failpoints.FailpointError):
        await failpoints.reach("here")


async def test_arming_takes_the_place_of_what_was_armed():
    """Nothing disarms all."""
    failpoints.arm({"here": "error"})
    failpoints.arm({})

    await failpoints.reach("here")


async def test_a_stalled_failpoint_waits_until_it_is_cancelled():
    """As a machine does that has lost its network."""
    failpoints.arm({"here": "stall"})
    task = asyncio.create_task(failpoints.reach("here"))
    await asyncio.wait([task], timeout=0.01)
    assert not task.done()

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("text", ["here", "=error", "here=explode", "here=error@x", "here=@2"])
def test_what_is_no_failpoint_is_refused(text):
    """A misspelt one would prove nothing."""
    with pytest.raises(ValueError, match=r"failpoint|invalid literal"):
        failpoints.parse(text)


def test_several_failpoints_are_separated_by_commas():
    """As the environment variable has them."""
    assert sorted(failpoints.parse("a=kill,b=error@2,,c=stall")) == ["a", "b", "c"]
    assert failpoints.parse("") == {}
