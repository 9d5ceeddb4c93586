"""Forgetting where the log is three real nats-servers: a thousand canaries, by each selector; no file of any node or data folder keeps one.

Belongs here: one instance with engines of its own on a replicated log. Does not belong here: what the servers keep by themselves
(``test_nats_erasing``). A newcomer would get wrong: the process may die at any step, the servers may not: one that led and is killed before
its own log was written anew may keep the bytes (docs/decisions/0020).
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from tests.support.api import Api, Away
from tests.support.canaries import BRISK, EVERYTHING, SLICES, Canaries
from tests.support.engines import copy_models
from tests.support.instance import Instance, wait_until
from tests.support.nats_cluster import NatsCluster

from kalends.adapters.nats import NatsBus, open_nats

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]

DIES_AT = {
    1: "erasure.after-destroy",
    2: "erasure.after-tombstone",
    4: "erasure.after-piece",
    5: "erasure.after-messages",
    6: "erasure.after-engines",
}
"""By the number of the slice whose erasure it is."""


@pytest.fixture
def instance(cluster: NatsCluster, tmp_path: Path) -> Iterator[Instance]:
    """Everything in one process, but for the log."""
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    copy_models(data / "models")
    keys = {f"KALENDS_AUTH__{name}": str(tmp_path / file) for name, file in (("KEY_FILE", "kek"), ("TOKEN_FILE", "token"))}
    with Instance(data, settings={**cluster.settings, **keys, **BRISK, "KALENDS_SCHEDULER__LEASE_S": "3"}) as made:
        yield made.start()


@pytest.fixture
def canaries(instance: Instance, cluster: NatsCluster) -> Iterator[Canaries]:
    """All of them, told."""

    @asynccontextmanager
    async def bus() -> AsyncIterator[NatsBus]:
        async with open_nats(url=cluster.url, user=cluster.user, password=cluster.password) as opened:
            yield opened

    with Api(lambda: instance.url, lambda: instance.token, timeout=60.0) as api:
        folders = [instance.data, *(node.folder for node in cluster.nodes)]
        made = Canaries(api=api, instance=instance, folders=folders, open_bus=bus)
        made.tell()
        yield made


def test_after_the_receipts_no_node_and_no_folder_holds_what_was_erased(canaries: Canaries) -> None:
    """Also where the process is killed on the way: their canaries, their sealed bodies, their wrapped keys; the rest is found, and open."""
    for number in range(len(SLICES)):
        if number in DIES_AT:
            _die(canaries, number)
        else:
            canaries.erase(canaries.slice(number))
    canaries.check()

    canaries.erase(EVERYTHING)

    canaries.check()


def _die(canaries: Canaries, number: int) -> None:
    """Erase a slice with a process that is killed on the way, and with another that goes on."""
    instance, some = canaries.instance, canaries.slice(number)
    assert instance.terminate() == 0
    instance.start({"KALENDS_FAILPOINTS": f"{DIES_AT[number]}=kill@1"})
    canaries.asked(some)
    with suppress(Away):
        canaries.api.ask("POST", canaries.path("/erasures"), dict(some.selector))
    assert wait_until(lambda: not instance.running, seconds=120), instance.last_words[-2000:]
    instance.start()
    for one in canaries.api.good("GET", canaries.path("/erasures?limit=200"))["items"]:
        canaries.erased(one["erasure_id"])
