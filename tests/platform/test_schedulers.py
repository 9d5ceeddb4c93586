"""Schedulers as processes: a pause outlives them, one of two leads, and a leader that is killed is replaced.

A newcomer would get wrong: nobody serves the tasks where a scheduler runs alone, so its runs fail; that they are begun is what shows who
leads. What a leader writes too late is refused in ``tests/services/test_scheduler.py``.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.api import Api
from tests.support.instance import Broker, Instance, wait_until

SWEEP = "segment-sweep"
RARE = "key-check"
LEASE_S = 5.0
MARGIN_S = 20.0
"""For a machine that is busy with other things."""


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Instance, Instance]]:
    """A scheduler that leads, and one that came later, over one broker."""
    (tmp_path / "common").mkdir(mode=0o700)
    with Broker(tmp_path / "nats").start() as broker:
        settings = {
            **broker.settings,
            "KALENDS_SCHEDULER__LEASE_S": f"{LEASE_S:g}",
            "KALENDS_AUTH__KEY_FILE": str(tmp_path / "common" / "kek"),
            "KALENDS_AUTH__TOKEN_FILE": str(tmp_path / "common" / "token"),
        }
        first, second = (Instance(tmp_path / name, roles=["scheduler"], settings=settings) for name in ("first", "second"))
        with first, second:
            first.start()
            assert wait_until(lambda: leads(first), seconds=MARGIN_S, every=0.1)
            yield first, second.start()


def leads(instance: Instance) -> bool:
    """Whether it says so itself."""
    lines = httpx.get(f"{instance.ops_url}/metrics", trust_env=False).text.splitlines()
    return "kalends_scheduler_leader 1.0" in lines


def api_of(instance: Instance) -> Api:
    """A client that asks for the address with every connection."""
    return Api(lambda: instance.url, lambda: instance.token)


def runs(api: Api, job: str) -> int:
    """How many runs of a job have ended."""
    count: int = api.job(job)["run_count"]
    return count


def test_a_job_that_was_paused_stays_so_over_a_kill_and_runs_again_once_it_is_resumed(
    tmp_path: Path, prepared: Callable[[Path], Path]
) -> None:
    """Over HTTP, as a person does it."""
    with Instance(prepared(tmp_path / "data")) as instance, api_of(instance) as api:
        instance.start()
        paused: dict[str, Any] = api.good("POST", f"/scheduler/jobs/{SWEEP}/pause")
        instance.kill()
        instance.start()
        assert wait_until(lambda: leads(instance), seconds=MARGIN_S, every=0.1)
        found = api.job(SWEEP)
        resumed = api.good("POST", f"/scheduler/jobs/{SWEEP}/resume")

        assert (paused["is_paused"], paused["next_run_at"]) == (True, None)
        assert (found["is_paused"], found["next_run_at"]) == (True, None)
        assert (resumed["is_paused"], resumed["next_run_at"] is None) == (False, False)
        assert wait_until(lambda: runs(api, SWEEP) > found["run_count"], seconds=MARGIN_S, every=0.1)


def test_of_two_schedulers_one_leads_and_the_other_takes_over_within_the_lease_once_it_is_killed(two: tuple[Instance, Instance]) -> None:
    """A pause that was told to the one that does not lead holds for both, before and after."""
    first, second = two
    with api_of(first) as one, api_of(second) as other:
        other.good("POST", f"/scheduler/jobs/{RARE}/pause")
        assert wait_until(lambda: bool(one.job(RARE)["is_paused"]), seconds=MARGIN_S, every=0.1)
        assert (leads(first), leads(second)) == (True, False)

        first.kill()

        assert wait_until(lambda: leads(second), seconds=LEASE_S + MARGIN_S, every=0.1), second.last_words
        before = runs(other, SWEEP)
        assert wait_until(lambda: runs(other, SWEEP) > before, seconds=MARGIN_S, every=0.1), other.job(SWEEP)
        first.start()
        assert [api.job(RARE)["is_paused"] for api in (one, other)] == [True, True]
        assert (leads(first), leads(second)) == (False, True)
