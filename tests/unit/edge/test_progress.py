"""Progress: waiting until a write is visible, and how far behind a projection is."""

import asyncio

import pytest
from tests.support.edge import FixedClock

from kalends.domain.errors import Damaged, DeadlineExceeded, KalendsError, Unavailable
from kalends.domain.events import microseconds
from kalends.domain.positions import Position
from kalends.edge import progress as module
from kalends.edge.progress import LagNow, Progress
from kalends.ports.log import Message


class Floors:
    """A projection's floors, which a test moves; ``failure`` is raised instead."""

    def __init__(self, **floors: int) -> None:
        self.floors = floors
        self.failure: Exception | None = None
        self.asked = 0

    async def __call__(self):
        self.asked += 1
        if self.failure is not None:
            raise self.failure
        return dict(self.floors)


class Heads:
    """A log whose message number n was recorded n seconds after the clock's start; ``failure`` is raised instead."""

    def __init__(self, clock: FixedClock, **heads: int) -> None:
        self.values = heads
        self.start_us = microseconds(clock.now())
        self.failure: Exception | None = None
        self.asked = 0

    async def heads(self):
        self.asked += 1
        if self.failure is not None:
            raise self.failure
        return dict(self.values)

    async def read(self, positions: list[Position]):
        return [
            Message(position=one, body=b"", headers={}, recorded_us=self.start_us + one.sequence * 1_000_000)
            if one.sequence <= self.values[one.stream]
            else None
            for one in positions
        ]


def progress(clock: FixedClock | None = None, log: Heads | None = None, **floors: Floors) -> Progress:
    """Progress over the given projections."""
    clock = clock or FixedClock()
    return Progress(log=log or Heads(clock, E=0), clock=clock, floors=floors)


async def test_what_is_there_already_is_not_waited_for():
    """One look at each projection."""
    lexical, vector = Floors(E=5), Floors(E=7)

    assert await progress(lexical=lexical, vector=vector).reached({"E": 5}, ("lexical", "vector"), seconds=5)
    assert (lexical.asked, vector.asked) == (1, 1)


async def test_nothing_is_waited_for_where_nothing_is_wanted():
    """An empty token is met."""
    assert await progress(lexical=Floors()).reached({}, ("lexical",), seconds=5)


async def test_the_wait_ends_when_the_last_projection_has_it():
    """Those that have it are not asked again."""
    lexical, vector = Floors(E=9), Floors(E=4)
    watched = progress(lexical=lexical, vector=vector)
    waiting = asyncio.create_task(watched.reached({"E": 5}, ("lexical", "vector"), seconds=10))
    await asyncio.wait([waiting], timeout=0.05)
    assert not waiting.done()

    vector.floors = {"E": 5}
    watched.moved()

    assert await waiting
    assert lexical.asked == 1


async def test_a_projection_of_another_process_is_looked_at_now_and_then():
    """It does not tell us when it moves."""
    vector = Floors(E=4)
    waiting = asyncio.create_task(progress(vector=vector).reached({"E": 5}, ("vector",), seconds=10))
    await asyncio.wait([waiting], timeout=0.05)
    vector.floors = {"E": 5}

    assert await waiting


async def test_every_waiter_is_told_when_a_projection_moves():
    """However many there are."""
    vector = Floors(E=0)
    watched = progress(vector=vector)
    waiting = [asyncio.create_task(watched.reached({"E": number}, ("vector",), seconds=10)) for number in range(1, 6)]
    await asyncio.wait(waiting, timeout=0.02)

    vector.floors = {"E": 5}
    watched.moved()

    assert await asyncio.gather(*waiting) == [True] * 5


async def test_a_wait_that_takes_too_long_says_so():
    """Whatever has been reached by then."""
    assert not await progress(lexical=Floors(E=9), vector=Floors(E=4)).reached({"E": 5}, ("lexical", "vector"), seconds=0.05)
    assert not await progress(vector=Floors(E=4)).reached({"E": 5}, ("vector",), seconds=0)
    assert not await progress(vector=Floors(E=4)).reached({"E": 5}, ("vector",), seconds=-1)


async def test_a_stream_that_nobody_knows_is_never_reached():
    """A token can be made up."""
    assert not await progress(vector=Floors(E=4)).reached({"ELSEWHERE": 1}, ("vector",), seconds=0.02)


async def test_what_cannot_be_told_is_not_reached():
    """An outage is no promise."""
    for failure in (Unavailable("away"), DeadlineExceeded("slow")):
        vector = Floors(E=9)
        vector.failure = failure

        assert not await progress(vector=vector).reached({"E": 5}, ("vector",), seconds=5)


async def test_a_projection_that_is_not_watched_is_not_waited_for():
    """A process that only ingests knows only the timeline."""
    assert await progress(timeline=Floors(E=9)).reached({"E": 5}, ("timeline", "vector"), seconds=5)


async def test_lag_counts_what_is_missing_and_how_old_the_oldest_of_it_is():
    """Over all streams."""
    clock = FixedClock()
    log = Heads(clock, A=10, B=3)
    clock.advance(seconds=100)

    lag = await progress(clock, log, vector=Floors(A=6, B=3), lexical=Floors(A=10, B=3), fresh=Floors()).lag()

    assert lag == {
        "vector": LagNow(events=4, seconds=93.0),
        "lexical": LagNow(events=0, seconds=0.0),
        "fresh": LagNow(events=13, seconds=99.0),
    }


async def test_lag_is_asked_for_at_most_twice_a_second():
    """Every request wants it."""
    clock = FixedClock()
    log = Heads(clock, E=1)
    watched = progress(clock, log, vector=Floors())
    for _ in range(5):
        await watched.lag()
    assert log.asked == 1

    clock.advance(seconds=0.6)
    await watched.lag()

    assert log.asked == 2


async def test_lag_that_cannot_be_told_is_left_out():
    """An old number would look like a fact."""
    clock = FixedClock()
    log = Heads(clock, E=1)
    watched = progress(clock, log, vector=Floors())
    await watched.lag()
    log.failure = Unavailable("away")
    clock.advance(seconds=1)

    assert await watched.lag() == {}


@pytest.mark.parametrize(
    "failure", [Unavailable("away"), DeadlineExceeded("slow"), Damaged("its record cannot be read")], ids=lambda one: one.code
)
async def test_a_projection_that_cannot_be_told_hides_no_other(failure: KalendsError) -> None:
    """Else one that is away would turn off the back-pressure of those that are far behind."""
    clock = FixedClock()
    lexical, vector = Floors(E=1), Floors(E=1)
    vector.failure = failure
    watched = progress(clock, Heads(clock, E=3), lexical=lexical, vector=vector)

    assert {name: lag.events for name, lag in (await watched.lag()).items()} == {"lexical": 2}

    vector.failure = None
    clock.advance(seconds=1)
    assert {name: lag.events for name, lag in (await watched.lag()).items()} == {"lexical": 2, "vector": 2}


async def test_a_projection_that_hangs_is_left_out_and_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that were not asked yet have as long as if it did not."""
    monkeypatch.setattr(module, "_LOOK_DEADLINE_S", 0.05)
    clock = FixedClock()

    async def hanging() -> dict[str, int]:
        return await asyncio.get_running_loop().create_future()

    watched = Progress(log=Heads(clock, E=3), clock=clock, floors={"vector": hanging, "lexical": Floors(E=1)})

    assert {name: lag.events for name, lag in (await watched.lag()).items()} == {"lexical": 2}


async def test_a_projection_can_be_added_later():
    """The engines open after the log."""
    watched = progress(timeline=Floors(E=1))
    watched.add("vector", Floors(E=7))

    assert watched.projections == ("timeline", "vector")
    assert await watched.floors("vector") == {"E": 7}


async def test_the_generation_that_serves_is_asked_anew_and_left_out_where_nobody_tells():
    """Of those that have several, and of no others."""

    async def third() -> str:
        return "g3"

    async def away() -> str:
        raise Unavailable("the record is away", dependency="log")

    watched = progress(timeline=Floors())
    watched.add("lexical", Floors(), generation=third)
    watched.add("vector", Floors(), generation=away)

    assert await watched.generations(("timeline", "lexical", "vector")) == {"lexical": "g3"}
