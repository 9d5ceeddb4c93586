"""The disk is full under load: what was acked stays, reads go on, writes are refused with words, and all goes on once there is room.

Belongs here: a disk of the test's own that is filled to the last block while eight writers write, and given free again. Does not belong
here: the guards themselves (unit and contract tests). A newcomer would get wrong: the log of the process is on the full disk too, as
where somebody redirects it; a line that cannot be written must not end anything.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support import disk, verdicts
from tests.support.api import Api
from tests.support.instance import Instance, wait_until
from tests.support.load import Ledger, writing
from tests.support.waiting import until

from kalends.adapters.nats import NatsOptions, open_nats
from kalends.adapters.nats.broker_config import ServerOptions
from kalends.adapters.nats.bus import NatsBus
from kalends.adapters.nats.room import MIB
from kalends.adapters.nats.server import LocalServer
from kalends.domain.errors import KalendsError

MEMORY = "full"
FIRST = 300
MORE = 100


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """The folder of a disk of 256 MiB."""
    disk.need_loop_devices(tmp_path)
    image = tmp_path / "disk.img"
    disk.make_image(image, mib=256)
    with disk.mounted(image, tmp_path / "disk"):
        yield tmp_path / "disk"


def test_a_full_disk_refuses_writes_answers_reads_and_loses_nothing(small_disk: Path, models: Path) -> None:
    """Every invariant holds afterwards, nobody did anything but make room, and the process is the one of before."""
    data = small_disk / "data"
    data.mkdir()
    (data / "models").symlink_to(models)
    with Instance(data) as instance:
        instance.start()
        with verdicts.api_of(instance) as api:
            api.make_memory(MEMORY)
            with writing(lambda: verdicts.api_of(instance), memory=MEMORY, rest=0.05) as ledger:
                assert wait_until(lambda: len(ledger.acked) > FIRST, seconds=30)
                with disk.filled(small_disk) as fill:
                    _look_while_full(api, fill_again=fill)
                acked = len(ledger.acked)
                assert wait_until(lambda: len(ledger.acked) > acked + MORE, seconds=60), instance.last_words[-2000:]
            _all_is_well(instance, api, ledger)
        assert instance.terminate() == 0


def _look_while_full(api: Api, *, fill_again: disk.Fill) -> None:
    """Reads are answered and writes refused, for as long as this looks; what is written meanwhile finds no room."""
    for number in range(4):
        fill_again()
        found = api.ask("POST", f"/memories/{MEMORY}/search", {"query": "amber birch"})
        assert (found.status, len(found.body["hits"])) == (200, 10)
        assert len(api.good("GET", f"/memories/{MEMORY}/events?limit=5")["items"]) == 5

        event = _an_event(f"new-{number}")
        for refused in (api.append(MEMORY, [event]), api.ask("PUT", f"/memories/other-{number}", {"isolation": "shared"})):
            assert (refused.status, refused.body["dependency"]) == (503, "disk"), refused
            assert float(refused.headers["retry-after"]) > 0

        status = api.status()
        told = {one["name"]: one for one in status["dependencies"]}
        assert (status["state"], told["disk"]["state"]) == ("degraded", "degraded")
        assert "make room" in told["disk"]["next_step"]


def _an_event(session: str) -> dict[str, str]:
    return {"session_id": session, "kind": "message", "role": "user", "text": "no room for me"}


def _all_is_well(instance: Instance, api: Api, ledger: Ledger) -> None:
    api.quiet(seconds=60)
    assert api.good("GET", "/dead-letters")["items"] == []
    assert {one["name"]: one["state"] for one in api.status()["dependencies"]}["disk"] == "up"
    verdicts.nothing_lost(instance, ledger, memory=MEMORY, by_id=False)
    verdicts.logged_once(instance, ledger)
    verdicts.projections_agree(api, events=len(ledger.acked))
    verdicts.equal_a_fresh_rebuild(api)


def test_vectors_that_are_being_written_while_somebody_takes_all_room_end_no_process(small_disk: Path) -> None:
    """The disk is filled between the look at its room and the write, each time; what was refused is written later, and all is there."""
    command = (sys.executable, "-m", "tests.faults.full_disk_writer", str(small_disk))
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])

    told = json.loads(done.stdout)
    assert told["filled"] == told["rounds"], told  # each write but the first, and taking out
    assert told["held"] == told["written"] - told["taken_out"], told
    assert told["taken_out"] > 0
    assert told["refused"] < told["rounds"], told


async def test_a_broker_that_ran_out_of_room_is_started_anew_once_there_is_room(small_disk: Path) -> None:
    """Its streams take nothing more by themselves, not even with room; what it had acked before is there afterwards."""
    unguarded = NatsOptions(request_timeout=1.0)
    async with LocalServer(small_disk / "nats", options=ServerOptions(room_bytes=MIB)) as server, asyncio.TaskGroup() as group:
        watching = group.create_task(server.run())
        before = server.pid
        async with open_nats(url=server.url, user=server.user, password=server.password, options=unguarded) as bus:
            await bus.records.put("test", "owner", "kept", b"acked")
            with disk.filled(small_disk):
                with pytest.raises(KalendsError):
                    await _write_much(bus)
                assert server.pid == before

            async def written() -> bool:
                try:
                    await bus.records.put("test", "owner", "again", b"room")
                except KalendsError:
                    return False
                return True

            await until(written, deadline=30)
            assert server.pid != before
            kept = await bus.records.get("test", "owner", "kept")
            assert kept is not None
            assert kept.value == b"acked"
        watching.cancel()


async def _write_much(bus: NatsBus) -> None:
    for number in range(500):
        await bus.records.put("test", "owner", f"n{number}", b"more" * 4096)


async def test_nothing_at_all_is_written_to_a_broker_of_our_own_without_room(small_disk: Path) -> None:
    """So it never finds out by itself, and serves on: the refusal is ours, at once, and says what is missing."""
    async with LocalServer(small_disk / "nats") as server:
        options = replace(NatsOptions(request_timeout=1.0), store=small_disk / "nats")
        async with open_nats(url=server.url, user=server.user, password=server.password, options=options) as bus:
            with disk.filled(small_disk):
                for refused in (bus.records.put("test", "owner", "n", b"v"), bus.dead_letters.remove(1)):
                    with pytest.raises(KalendsError, match="0 MiB free of the 8 needed"):
                        await refused
            assert await bus.records.put("test", "owner", "n", b"v")
