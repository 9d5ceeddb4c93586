"""Leases: who leads, by whose clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.clocks import SimulatedClock
from tests.support.records import MemoryRecords

from kalends.domain.errors import Damaged, DeadlineExceeded, Unavailable
from kalends.wire.leases import KIND, Lease

LEASE_S = 10.0


def lease(
    records: MemoryRecords, holder: str, clock: SimulatedClock | None = None, *, alone: bool = False, lease_s: float = LEASE_S
) -> Lease:
    """The lease as one process sees it."""
    return Lease(records, name="scheduler", holder=holder, lease_s=lease_s, clock=clock or SimulatedClock(), alone=alone)


async def test_a_free_lease_is_taken_at_once_and_by_one():
    """The other one is told, and sees that somebody leads."""
    records = MemoryRecords()
    first, second = lease(records, "a"), lease(records, "b")

    assert (first.term, first.is_held) == (None, False)
    assert await first.attempt() == 1
    assert await second.attempt() is None
    assert (first.term, second.term) == (1, None)
    assert first.is_held
    assert second.is_held


async def test_a_holder_keeps_it_for_as_long_as_it_renews_it():
    """Under one term."""
    records, clock = MemoryRecords(), SimulatedClock()
    first, second = lease(records, "a", clock), lease(records, "b", clock)
    for _ in range(50):
        assert await first.attempt() == 1
        assert await second.attempt() is None
        await clock.advance(first.pause_s)
        assert first.term == 1


async def test_a_holder_that_does_not_renew_it_believes_it_no_longer_before_another_may_take_it():
    """So at no moment two of them lead."""
    records, clock = MemoryRecords(), SimulatedClock()
    first, second = lease(records, "a", clock), lease(records, "b", clock)
    await first.attempt()
    await second.attempt()
    both, taken_at = [], None
    for tenths in range(1, 200):
        await clock.advance(0.1)
        if await second.attempt() is not None and taken_at is None:
            taken_at = tenths / 10
        both.append(first.term is not None and second.term is not None)

    assert not any(both)
    assert first.term is None
    assert second.term == 2
    assert taken_at is not None
    assert LEASE_S * 0.8 <= taken_at <= LEASE_S


async def test_a_dead_holder_is_replaced_within_the_leases_time():
    """By one that only looks as often as it should, however late it sees the last renewal."""
    for begun in (0.0, 0.13, 0.49):
        records, clock = MemoryRecords(), SimulatedClock()
        first, second = lease(records, "a", clock), lease(records, "b", clock)
        await first.attempt()
        died_at = clock.monotonic()
        await clock.advance(begun)
        while await second.attempt() is None:
            await clock.advance(second.pause_s)

        assert clock.monotonic() - died_at <= LEASE_S


@given(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))
async def test_clocks_that_tell_different_times_change_nothing(one, other):
    """Each process compares its own clock with itself."""
    records = MemoryRecords()
    clocks = [SimulatedClock(seconds=one), SimulatedClock(seconds=other)]
    first, second = lease(records, "a", clocks[0]), lease(records, "b", clocks[1])

    assert await first.attempt() == 1
    assert await second.attempt() is None
    await clocks[1].advance(LEASE_S * 0.79)
    assert await second.attempt() is None
    await clocks[1].advance(LEASE_S * 0.02)
    assert await second.attempt() == 2


async def test_a_contender_that_looks_seldom_does_not_take_what_is_renewed():
    """What it saw last time is not what is there now."""
    records, clock = MemoryRecords(), SimulatedClock()
    first, second = lease(records, "a", clock), lease(records, "b", clock)
    for _ in range(5):
        await first.attempt()
        await second.attempt()
        await clock.advance(LEASE_S * 2)
        await first.attempt()

        assert await second.attempt() is None


async def test_who_comes_back_after_another_led_learns_it():
    """And its own next term is a later one."""
    records, clock = MemoryRecords(), SimulatedClock()
    first, second = lease(records, "a", clock), lease(records, "b", clock)
    await first.attempt()
    await second.attempt()
    await clock.advance(LEASE_S)
    await second.attempt()

    assert await first.attempt() is None
    await clock.advance(LEASE_S)
    assert await first.attempt() == 3


async def test_a_lease_that_was_given_back_is_free_at_once():
    """The next holder has the next term, and who has given it back does not hold it."""
    records, clock = MemoryRecords(), SimulatedClock()
    first, second = lease(records, "a", clock), lease(records, "b", clock)
    await first.attempt()
    await second.release()
    assert await second.attempt() is None

    await first.release()

    assert (first.term, first.is_held) == (None, False)
    assert await second.attempt() == 2
    await first.release()
    assert await second.attempt() == 2


async def test_giving_back_what_nobody_holds_is_no_error():
    """Nor does it make anything."""
    records = MemoryRecords()
    await lease(records, "a").release()

    assert await records.list(KIND) == []


async def test_a_process_that_is_alone_waits_for_nobody():
    """An earlier run of it was killed, and nobody else can be there; the term grows all the same."""
    records = MemoryRecords()
    await lease(records, "killed").attempt()

    assert await lease(records, "next", alone=True).attempt() == 2


async def test_a_holder_with_another_setting_is_waited_for_by_its_own():
    """Or a contender with a shorter lease would take it from under it."""
    records, clock = MemoryRecords(), SimulatedClock()
    long, short = lease(records, "a", clock, lease_s=100.0), lease(records, "b", clock, lease_s=1.0)
    await long.attempt()
    await short.attempt()
    await clock.advance(79.0)
    assert await short.attempt() is None
    await clock.advance(2.0)
    assert await short.attempt() == 2


async def test_a_write_whose_answer_was_lost_is_found_again():
    """The record names us: renewing it tells whether that still holds."""
    records, clock = MemoryRecords(), SimulatedClock()
    first = lease(records, "a", clock)
    original = records.put

    async def lost(*arguments, **named):
        await original(*arguments, **named)
        raise DeadlineExceeded("no answer in time")

    records.put = lost
    with pytest.raises(DeadlineExceeded):
        await first.attempt()
    assert first.term is None
    records.put = original

    assert await first.attempt() == 1


async def test_while_the_store_is_away_a_holder_holds_what_it_has_and_no_longer():
    """It cannot renew it, and nobody else can take it; but the time runs."""
    records, clock = MemoryRecords(), SimulatedClock()
    first = lease(records, "a", clock)
    await first.attempt()

    async def away(*_: object, **__: object):
        raise Unavailable("away")

    records.get = away
    with pytest.raises(Unavailable):
        await first.attempt()
    assert first.term == 1
    await clock.advance(LEASE_S * 0.71)
    assert first.term is None


async def test_of_two_who_take_it_at_the_same_moment_one_gets_it():
    """The store decides."""
    records, clock = MemoryRecords(), SimulatedClock()
    first, second = lease(records, "a", clock), lease(records, "b", clock)
    original = records.put

    async def overtaken(*arguments, **named):
        records.put = original
        assert await second.attempt() == 1
        return await original(*arguments, **named)

    records.put = overtaken

    assert await first.attempt() is None
    assert (first.term, second.term) == (None, 1)


async def test_a_holder_that_saw_a_later_one_leads_no_longer():
    """Whatever its clock says."""
    first = lease(MemoryRecords(), "a")
    await first.attempt()
    first.lose()

    assert first.term is None


async def test_a_lease_that_cannot_be_read_is_an_error():
    """Taking it might make two leaders."""
    records = MemoryRecords()
    await records.put(KIND, "instance", "scheduler", b"\xff\xff")

    with pytest.raises(Damaged):
        await lease(records, "a").attempt()


async def test_a_lease_that_the_disk_lost_is_taken_after_its_time_under_a_higher_term():
    """Its holder may live; so nobody takes it at once, and what it still writes can be refused. Alone, nobody is waited for."""
    records, clock = MemoryRecords(), SimulatedClock()
    held = await lease(records, "a", clock).attempt()
    records.lose(KIND, "instance", "scheduler")
    other = lease(records, "b", clock)
    assert await other.attempt() is None
    assert other.is_held
    await other.release()
    await clock.advance(LEASE_S)

    taken = await other.attempt()
    assert held is not None
    assert taken is not None
    assert taken > held + 1_000_000
    records.lose(KIND, "instance", "scheduler")
    await clock.advance(2)
    again = await lease(records, "c", clock, alone=True).attempt()
    assert again is not None
    assert again > taken
