"""A disk that hangs: in turns and for longer than any deadline, under load; what was acked stays, and all goes on once the disk does.

Belongs here: a disk of the test's own that is frozen and thawed. Does not belong here: the looks at it (unit tests). A newcomer would get
wrong: who waits for a frozen disk cannot be killed, so it is thawed before anything is taken down; and a call of the embedded vector store
that meets a frozen disk holds the interpreter, so an answer may come only after the thaw.
"""

import asyncio
import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.contracts.projections import DIMENSION, SCOPE, entry, vectors, window
from tests.faults.test_kill import MEMORY, check
from tests.support import disk, verdicts
from tests.support.api import Api, Away, Reply
from tests.support.instance import Instance, wait_until
from tests.support.load import AGAIN, Ledger, an_event, writing
from tests.support.readers import Client, Known, Telling, lossless, reading

from kalends.adapters.embedded.vectors import EdgeVectors

ROUNDS, SAMPLE = 40, 8
FROZEN_S, THAWED_S = 0.3, 0.15
LONG_S = 12.0
"""Longer than a write may take (``NatsOptions.append_timeout``)."""
STUCK_S = 40.0
"""Less than what it takes the guard of a frozen disk to thaw it, and more than any busy machine needs for a second."""
FIRST = 100
MORE = 100

pytestmark = [pytest.mark.timeout(300)]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The folder of a disk of 512 MiB."""
    disk.need_loop_devices(tmp_path)
    image = tmp_path / "disk.img"
    disk.make_image(image, mib=512)
    with disk.mounted(image, tmp_path / "disk"):
        yield tmp_path / "disk"


@pytest.fixture
def instance(folder: Path, models: Path) -> Iterator[Instance]:
    """One of which everything is on that disk, the log of the process too."""
    data = folder / "data"
    data.mkdir()
    (data / "models").symlink_to(models)
    with Instance(data) as made:
        yield made.start()
    assert made.left_running() == []


@pytest.fixture
def frozen(folder: Path, instance: Instance) -> Iterator[disk.Frozen]:
    """What freezes that disk; it is thawed before the instance is ended."""
    assert instance.running
    with disk.freezing(folder) as freeze:
        yield freeze


@pytest.mark.parametrize("rounds", [SAMPLE, pytest.param(ROUNDS, marks=[pytest.mark.slow, pytest.mark.timeout(600)], id="all")])
def test_a_disk_that_hangs_in_turns_and_for_long_loses_and_doubles_nothing(instance: Instance, frozen: disk.Frozen, rounds: int) -> None:
    """Eight write and eight ask meanwhile; no write is acked while nothing can be durable, and nobody had to do anything."""
    known, pids = Known(), (instance.pid, instance.broker_pid)
    with verdicts.api_of(instance) as api:
        api.make_memory(MEMORY)
        load = writing(lambda: Telling(known, lambda: [instance]), memory=MEMORY, rest=0.5)
        with load as ledger, reading(lambda _: Client(lambda: [instance]), known, rest=0.5) as answers:
            assert wait_until(lambda: len(ledger.acked) > FIRST, seconds=60)
            for _ in range(rounds):
                with frozen():
                    _pass(FROZEN_S)
                _pass(THAWED_S)
            _long(lambda: Telling(known, lambda: [instance]), ledger, frozen)
            acked = len(ledger.acked)
            assert wait_until(lambda: len(ledger.acked) > acked + MORE, seconds=60), instance.last_words[-2000:]
    assert (instance.pid, instance.broker_pid) == pids
    check(instance, ledger)
    with verdicts.api_of(instance) as api:
        assert _disk(api)["state"] == "up"
    lossless(answers)
    assert instance.terminate() == 0


def test_while_a_disk_hangs_the_status_says_so_and_every_request_has_an_answer(instance: Instance, frozen: disk.Frozen) -> None:
    """Reads are answered or told to come again, for the broker may hang in what they need; a write that was refused is stored later."""
    event = an_event(random.Random(MEMORY), session="refused")
    with verdicts.api_of(instance) as api:
        api.make_memory(MEMORY)
        assert api.append(MEMORY, [an_event(random.Random(number), session="before") for number in range(20)]).status == 202
        api.quiet()
        with frozen():
            assert wait_until(lambda: _disk(api)["state"] == "degraded", seconds=20, every=0.1)
            told = _disk(api)
            assert "hangs" in told["detail"], told
            assert "go on by themselves" in told["next_step"], told
            assert api.status()["state"] == "degraded"
            read = api.ask("GET", f"/memories/{MEMORY}/events?limit=5")
            assert read.status in AGAIN or len(read.body["items"]) == 5, read
            found = api.ask("POST", f"/memories/{MEMORY}/search", {"query": "amber birch", "timeout_ms": 2000})
            assert found.status in AGAIN or len(found.body["hits"]) == 10, found
            for refused in (api.append(MEMORY, [event]), api.ask("PUT", "/memories/other", {"isolation": "shared"})):
                assert refused.status in {503, 504}, refused
                assert refused.body["dependency"] in {"disk", "nats"}, refused

        assert wait_until(lambda: _disk(api)["state"] == "up", seconds=20, every=0.1)
        assert wait_until(lambda: api.append(MEMORY, [event]).status == 202, seconds=30, every=0.1)
        api.quiet()
        assert [one["event_id"] for one in api.events(MEMORY)].count(event["event_id"]) == 1
    assert instance.terminate() == 0


async def test_vectors_that_wait_for_a_disk_let_everything_else_in_the_process_go_on(folder: Path) -> None:
    """Edge holds the interpreter's lock whatever it does, so what is written waits before Edge is called; and is there after the thaw."""
    index = await EdgeVectors.open(folder / "vectors", identity="test", dimension=DIMENSION)
    try:
        with disk.freezing(folder) as freeze:
            with freeze():
                writing = asyncio.create_task(index.put([vectors(entry("a"), window("a"))]))
                begun = time.monotonic()
                done, _ = await asyncio.wait({writing}, timeout=1.0)
                assert time.monotonic() - begun < STUCK_S, "until its guard thawed the disk nothing ran here"
                assert done == set()
                assert await index.count(SCOPE) == 0
            await writing
        assert await index.count(SCOPE) == 1
    finally:
        await index.close()


def _long(client: Callable[[], Api], ledger: Ledger, frozen: disk.Frozen) -> None:
    """A freeze that outlasts every deadline: what is sent meanwhile is refused with words or not answered, and acked after it."""
    source, over = random.Random(LONG_S), threading.Event()
    events = [an_event(source, session="in vain") for _ in range(8)]
    refused: list[Reply] = []

    def write() -> None:
        with client() as api:
            for event in events:
                with contextlib.suppress(Away):
                    refused.append(api.append(MEMORY, [event]))
                if over.wait(1.0):
                    return

    writer = threading.Thread(target=write, name="in-vain")
    with frozen():
        writer.start()
        _pass(LONG_S)
        seen = list(refused)
        over.set()
    writer.join(60)
    assert [reply for reply in seen if reply.status not in {503, 504} or not reply.body["detail"]] == []
    with client() as api:
        for event in events:
            assert wait_until(lambda event=event: _acked(api, event, ledger), seconds=60, every=0.1), event  # type: ignore[misc]


def _acked(api: Api, event: dict[str, Any], ledger: Ledger) -> bool:
    reply = api.append(MEMORY, [event])
    if reply.status == 202:
        ledger.note([event], reply.body["results"])
    return reply.status == 202


def _disk(api: Api) -> Mapping[str, Any]:
    return next(one for one in api.status()["dependencies"] if one["name"] == "disk")


def _pass(seconds: float) -> None:
    threading.Event().wait(seconds)
