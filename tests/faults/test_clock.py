"""The wall clock jumps by an hour, forward and back, under load.

Belongs here: what happens when the time of day is wrong or put right. Does not belong here: daylight saving, for which no clock is
wrong (``test_daylight_saving``). A newcomer would get wrong: order is by place in the log, so events that were recorded "earlier" than
those before them are no fault; what is told of past days is cut by its own dates.
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from tests.faults.conftest import NewFolder
from tests.faults.test_kill import MEMORY, check
from tests.support import verdicts
from tests.support.clock import WallClock
from tests.support.instance import Instance, wait_until
from tests.support.load import writing
from tests.support.readers import Client, Known, Telling, lossless, reading

HOUR_S = 3600
JUMPS = (0, HOUR_S, 0, -HOUR_S, 0)
EACH = 60
"""Acked events between two jumps."""
GONE = "gone"

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


@pytest.fixture
def clock(tmp_path: Path) -> WallClock:
    """The instance's clock."""
    return WallClock(tmp_path / "clock")


@pytest.fixture
def instance(tmp_path: Path, prepared: NewFolder, clock: WallClock) -> Iterator[Instance]:
    """One whose clock is moved."""
    with Instance(prepared(tmp_path / "data"), settings=clock.settings) as made:
        yield made.start()
    assert made.left_running() == []


def test_a_clock_that_jumps_by_an_hour_and_back_loses_and_doubles_nothing(instance: Instance, clock: WallClock) -> None:
    """Writers and readers go on, whoever leads goes on leading, and what is to be forgotten is."""
    known = Known()
    with verdicts.api_of(instance) as api:
        api.make_memory(MEMORY)
        api.make_memory(GONE)
        load = writing(lambda: Telling(known, lambda: [instance]), memory=MEMORY, rest=1.5)
        with load as ledger, reading(lambda _: Client(lambda: [instance]), known, rest=1.0) as answers:
            for number, (before, now) in enumerate(pairwise(JUMPS)):
                have = len(ledger.acked)
                assert wait_until(lambda have=have: len(ledger.acked) >= have + EACH, seconds=60, every=0.05), (before, now)  # type: ignore[misc]
                clock.move(now)
                event = {
                    "session_id": f"jump {number}",
                    "kind": "message",
                    "text": f"said when the clock was moved from {before} to {now} seconds",
                }
                said = api.append(GONE, [event])
                assert said.status == 202, said.body
                assert api.ask("POST", f"/memories/{GONE}/erasures", {"session_id": f"jump {number}"}).status == 202
                api.run_job("segment-sweep", seconds=120)

        def forgotten() -> bool:
            listed = api.good("GET", f"/memories/{GONE}/erasures")["items"]
            return {one["state"] for one in listed} == {"erased"}

        assert wait_until(forgotten, seconds=60, every=0.1), api.good("GET", f"/memories/{GONE}/erasures")
        assert list(api.events(GONE)) == []
    check(instance, ledger)
    lossless(answers)
