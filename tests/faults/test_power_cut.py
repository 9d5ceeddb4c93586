"""The power is cut right after the last ack: nothing acked may be missing, and the projections must catch up with the log.

Belongs here: the cut, played with an image of what the device has, and its control. Does not belong here: images (``disk``). A newcomer
would get wrong: the control is part of the proof; where it loses nothing, the cut was none.
"""

import contextlib
import logging
import os
import random
import signal
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.faults.conftest import NewFolder
from tests.support import disk, verdicts
from tests.support.instance import Instance, wait_until
from tests.support.load import Ledger, an_event

from kalends.adapters.nats.server import find_binary

LOG = logging.getLogger(__name__)
MEMORY = "cut"
BATCH = 200
WRITERS = 4
QUIET_S = 900.0
_UNSYNCED_BROKER = """#!/bin/sh
sed 's/"sync_interval": "always"/"sync_interval": "2m"/' "$2" > "$2.unsynced" || exit 1
grep -q '"2m"' "$2.unsynced" || exit 1
exec '{binary}' "$1" "$2.unsynced"
"""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How many events are acked before the cut; of the *early* ones, *indexed* must be in every projection before the rest is written."""

    events: int
    early: int
    indexed: int
    mib: int


SMALL = Sizes(events=2_000, early=1_000, indexed=700, mib=1024)
LARGE = Sizes(events=20_000, early=4_000, indexed=3_000, mib=4096)
EVERY_SIZE = pytest.mark.parametrize("sizes", [SMALL, pytest.param(LARGE, marks=[pytest.mark.slow, pytest.mark.timeout(3600)], id="all")])


@dataclass(frozen=True, kw_only=True)
class Cut:
    """What the acks promised, and the image of what the device had."""

    ledger: Ledger
    image: Path


def write(instance: Instance, ledger: Ledger, *, events: int, seed: str) -> None:
    """Have *events* events acked, a few requests at a time."""
    source = random.Random(seed)
    batches = [[an_event(source, session=f"s{number}") for _ in range(BATCH)] for number in range(events // BATCH)]

    def send(batch: list[dict[str, Any]]) -> None:
        with verdicts.api_of(instance) as api:
            reply = api.append(MEMORY, batch)
        assert reply.status == 202, reply
        ledger.note(batch, reply.body["results"])

    with ThreadPoolExecutor(WRITERS) as writers:
        list(writers.map(send, batches))


def cut(tmp_path: Path, prepared: NewFolder, sizes: Sizes, env: Mapping[str, str] | None = None) -> Cut:
    """Write to an instance on a disk of its own, and cut its power right after the last ack."""
    disk.need_loop_devices(tmp_path)
    ledger, image, copy = Ledger(), tmp_path / "disk.img", tmp_path / "after.img"
    disk.make_image(image, mib=sizes.mib)
    with disk.mounted(image, tmp_path / "disk") as device, Instance(prepared(tmp_path / "disk" / "data")) as instance:
        os.sync()  # the folder as such and the model's graph were there long ago
        instance.start(env)
        with verdicts.api_of(instance) as api:
            api.make_memory(MEMORY)
            write(instance, ledger, events=sizes.early, seed="early")
            assert wait_until(lambda: _held(api.digests()) >= sizes.indexed, seconds=QUIET_S, every=0.5)
            write(instance, ledger, events=sizes.events - sizes.early, seed="late")
        broker = instance.broker_pid
        with stopped(instance.pid, broker):
            disk.copy_as_the_device_has_it(image, device, copy)
            instance.kill()
    assert instance.left_running() == []
    return Cut(ledger=ledger, image=copy)


def _held(digests: Mapping[str, str]) -> int:
    return min(verdicts.count_of(digest) for name, digest in digests.items() if name != "toc")


@contextlib.contextmanager
def stopped(*pids: int) -> Iterator[None]:
    """Processes that write nothing for as long as the block runs; they may be dead at its end."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@EVERY_SIZE
def test_a_power_cut_loses_no_acked_event_and_the_projections_catch_up(tmp_path: Path, prepared: NewFolder, sizes: Sizes) -> None:
    """Zero of the acked are missing; what a projection lost after its consumer had acked it is there again, as a rebuild says too."""
    after = cut(tmp_path, prepared, sizes)

    with disk.mounted(after.image, tmp_path / "after"), Instance(tmp_path / "after" / "data") as instance:
        instance.start()
        with verdicts.api_of(instance) as api:
            LOG.info("after the cut: %s", api.digests())
            api.quiet(seconds=QUIET_S)
            verdicts.nothing_lost(instance, after.ledger, memory=MEMORY, by_id=False)
            verdicts.logged_once(instance, after.ledger)
            verdicts.projections_agree(api, events=sizes.events)
            verdicts.equal_a_fresh_rebuild(api, seconds=QUIET_S)


@EVERY_SIZE
def test_without_syncing_the_same_cut_loses_events(tmp_path: Path, prepared: NewFolder, sizes: Sizes) -> None:
    """The control: a broker that syncs every two minutes, as it does unless told otherwise, has lost what it had acked."""
    folder = tmp_path / "unsynced"
    folder.mkdir()
    script = folder / "nats-server"
    script.write_text(_UNSYNCED_BROKER.format(binary=find_binary(None)), encoding="utf-8")
    script.chmod(0o755)
    after = cut(tmp_path, prepared, sizes, {"PATH": f"{folder}:{os.environ['PATH']}"})

    with disk.mounted(after.image, tmp_path / "after"), Instance(tmp_path / "after" / "data") as instance:
        instance.start()
        with verdicts.api_of(instance) as api:
            api.make_memory(MEMORY)
            found = {event["event_id"] for event in api.events(MEMORY)}

    missing = len(after.ledger.acked.keys() - found)
    LOG.info("without syncing, %s of %s acked are missing", missing, len(after.ledger.acked))
    assert missing > 0
