"""A thousand canaries in ten sessions: erased by each selector, and with a kill -9 at each step of the protocol.

Belongs here: one instance on its own broker. Does not belong here: several brokers (``cluster/test_forgetting_cluster``). A newcomer would
get wrong: the slices overlap, so that each erasure meets events that an earlier one took.
"""

import json
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from tests.faults.test_failpoints import FAMILIES
from tests.support.api import Api, Away
from tests.support.canaries import BRISK, EVERYTHING, SLICES, Canaries
from tests.support.instance import Instance, wait_until

from kalends.adapters.nats import NatsBus, open_nats

pytestmark = pytest.mark.timeout(900)

PLACES = tuple(FAMILIES["erasure"])
DIED_S = 60.0


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, prepared: Callable[[Path], Path]) -> Canaries:
    """All of them, told to an instance that has ended."""
    with (
        Instance(prepared(tmp_path_factory.mktemp("canaries") / "data"), settings=BRISK) as instance,
        canaries_of(instance.start()) as made,
    ):
        made.tell()
        assert instance.terminate() == 0
    return made


@pytest.fixture
def canaries(told: Canaries, tmp_path: Path) -> Iterator[Canaries]:
    """The same, told to an instance that runs on a copy of that one's data folder."""
    shutil.copytree(told.instance.data, tmp_path / "data")
    with Instance(tmp_path / "data", settings=BRISK) as instance, canaries_of(instance.start()) as made:
        yield replace(made, events=told.events, sections=told.sections, sealed=told.sealed, wrapped=told.wrapped)


@contextmanager
def canaries_of(instance: Instance) -> Iterator[Canaries]:
    """None yet, on *instance*."""

    @asynccontextmanager
    async def bus() -> AsyncIterator[NatsBus]:
        user = json.loads((instance.data / "nats" / "broker.conf").read_bytes())["authorization"]["users"][0]
        url = json.loads((instance.data / "instance.json").read_bytes())["nats_url"]
        async with open_nats(url=url, user=user["user"], password=user["password"]) as opened:
            yield opened

    with Api(lambda: instance.url, lambda: instance.token, timeout=60.0) as api:
        yield Canaries(api=api, instance=instance, folders=[instance.data], open_bus=bus)


def test_by_each_selector_what_is_meant_goes_and_everything_else_stays(canaries: Canaries) -> None:
    """Event ids, session, actor, range, metadata, label, document, and at last everything."""
    for number in range(len(SLICES)):
        canaries.erase(canaries.slice(number))
    canaries.check()

    canaries.erase(EVERYTHING)

    canaries.check()


def test_a_kill_at_each_step_changes_nothing_of_that(canaries: Canaries) -> None:
    """Each step dies in an erasure of its own; the next start goes on with it by itself."""
    instance = canaries.instance
    for number, place in enumerate(PLACES):
        some = canaries.slice(number)
        instance.terminate()
        instance.start({"KALENDS_FAILPOINTS": f"{place}=kill@1"})
        canaries.asked(some)
        with suppress(Away):
            canaries.api.ask("POST", canaries.path("/erasures"), dict(some.selector))
        assert wait_until(lambda: not instance.running, seconds=DIED_S), (place, instance.last_words[-2000:])

        instance.start()
        listed = canaries.api.good("GET", canaries.path("/erasures?limit=200"))["items"]
        assert len(listed) == number + 1, "an erasure whose record was written is not forgotten"
        for one in listed:
            canaries.erased(one["erasure_id"])

    canaries.check()
