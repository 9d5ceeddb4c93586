"""The archive of the log and restore drills where the roles are separate processes, two of them taking events in.

Belongs here: that whichever process does the work, all of them tell what came of it, and that erasing in the one and archiving in another
agree. Does not belong here: kills and flipped bytes of one process (``test_archive``). A newcomer would get wrong: who asks for a job, who
does it and who erases are three processes, which have nothing in common but the broker, the records and the folder of the archives.
"""

import contextlib
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.faults.conftest import NewFolder
from tests.faults.test_archive import archived, health, links, metric
from tests.faults.test_backups import MEMORY, back_up, tell
from tests.support import verdicts
from tests.support.api import Api
from tests.support.instance import Broker, Instance, wait_until

PATIENCE_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Apart:
    """The processes, each with somebody who asks it."""

    taking: Mapping[str, Instance]
    apis: Mapping[str, Api]
    folder: Path

    @property
    def writer(self) -> Api:
        """One of those that take events in."""
        return self.apis["one"]

    def of_both(self, name: str) -> list[Any]:
        """A dependency's state, as both that take events in tell it."""
        return [health(self.apis[one], name).get("state") for one in self.taking]

    def gauges(self, name: str) -> list[float]:
        """A metric of both that take events in."""
        return [metric(instance, name) for instance in self.taking.values()]


@pytest.fixture
def apart(tmp_path: Path, prepared: NewFolder) -> Iterator[Apart]:
    """Two that take events in, one that indexes and searches, one that summarizes and schedules; one broker, key, token and archive."""
    (tmp_path / "common").mkdir(mode=0o700)
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(Broker(tmp_path / "broker")).start()
        settings = {
            **archived(tmp_path),
            **broker.settings,
            "KALENDS_AUTH__KEY_FILE": str(tmp_path / "common" / "kek"),
            "KALENDS_AUTH__TOKEN_FILE": str(tmp_path / "common" / "token"),
            "KALENDS_ERASURE__SIGNING_KEY_FILE": str(tmp_path / "common" / "receipt-key"),
            "KALENDS_BACKUP__DRILL_FOLDER": str(tmp_path / "drill"),
            "KALENDS_SCHEDULER__LEASE_S": "2",
        }
        roles = {"one": ["ingest"], "two": ["ingest"], "index": ["index", "search"], "upkeep": ["summarize", "scheduler"]}
        processes = {
            name: stack.enter_context(Instance(prepared(tmp_path / name), roles=given, settings=settings)).start()
            for name, given in roles.items()
        }
        apis = {name: stack.enter_context(verdicts.api_of(instance)) for name, instance in processes.items()}
        yield Apart(taking={name: processes[name] for name in ("one", "two")}, apis=apis, folder=tmp_path)
        for api in apis.values():
            api.close()
        assert {name: instance.terminate() for name, instance in processes.items()} == dict.fromkeys(processes, 0)


def test_checks_and_drills_are_asked_for_by_one_process_done_by_another_and_told_by_all(apart: Apart) -> None:
    """Two chains of links would be a break; what was erased by a third process leaves the archive and the drill.

    A dedicated memory that one of them has only just made is in the backup of the other.
    """
    api, scheduler = apart.writer, apart.apis["upkeep"]
    api.make_memory(MEMORY)
    tell(api, 0, 60)
    tell(apart.apis["two"], 60, 80)
    api.make_memory("own", isolation="dedicated")
    assert api.append("own", [{"session_id": "s", "kind": "message", "text": "in a stream of its own"}]).status == 202
    assert wait_until(lambda: all(links(apart.apis[one]) > 0 for one in apart.taking), seconds=PATIENCE_S)
    backup = back_up(apart.apis["two"])
    scheduler.run_job("archive-check")
    scheduler.run_job("backup-drill")

    found = [apart.apis[one].good("GET", "/admin/archive") for one in apart.taking]
    drills = [apart.apis[one].good("GET", "/admin/backups")["drill"] for one in apart.taking]
    assert [(one["breaks"], one["checked_at"] is not None) for one in found] == [(0, True)] * 2
    assert [(one["backup_id"], one["succeeded"]) for one in drills] == [(backup, True)] * 2
    assert drills[0]["result"].startswith("81 events of 2 memories came back")
    assert wait_until(lambda: apart.of_both("restore-drill") == ["up", "up"], seconds=PATIENCE_S)
    assert wait_until(lambda: apart.of_both("archive") == ["up", "up"], seconds=PATIENCE_S)
    assert wait_until(lambda: apart.gauges("kalends_restore_drill_succeeded") == [1, 1], seconds=PATIENCE_S)
    assert apart.gauges("kalends_log_breaks") == [0, 0]
    assert list((apart.folder / "drill").iterdir()) == []

    erased = api.good("POST", f"/memories/{MEMORY}/erasures", {"session_id": "talk-1"})["erasure_id"]
    assert wait_until(lambda: api.good("GET", f"/memories/{MEMORY}/erasures/{erased}")["state"] == "erased", seconds=PATIENCE_S)
    scheduler.run_job("archive-check")
    scheduler.run_job("backup-drill")

    assert [apart.apis[one].good("GET", "/admin/archive")["breaks"] for one in apart.taking] == [0, 0]
    assert apart.writer.good("GET", "/admin/backups")["drill"]["result"].startswith("61 events of 2 memories came back")


def test_a_broken_archive_and_a_damaged_backup_are_told_by_every_process_that_keeps_them(apart: Apart) -> None:
    """The job that was asked for elsewhere fails with the words; whoever did not check says so, too."""
    api, scheduler = apart.writer, apart.apis["upkeep"]
    api.make_memory(MEMORY)
    tell(api, 0, 40)
    assert wait_until(lambda: links(api) > 0, seconds=PATIENCE_S)
    backup = back_up(api)
    kept = flip(next((apart.folder / "log").rglob("segment-*")))
    saved = flip(next((apart.folder / "backups" / "backups" / backup).glob("segment-*")))
    for job in ("archive-check", "backup-drill"):
        scheduler.good("POST", f"/scheduler/jobs/{job}/run")

    assert wait_until(lambda: apart.of_both("archive") == ["down", "down"], seconds=PATIENCE_S)
    assert wait_until(lambda: apart.gauges("kalends_log_intact") == [0, 0], seconds=PATIENCE_S)
    assert wait_until(lambda: all(failed(scheduler, job) for job in ("archive-check", "backup-drill")), seconds=PATIENCE_S)
    assert kept in scheduler.job("archive-check")["last_error"]
    assert saved in scheduler.job("backup-drill")["last_error"]
    drills = [apart.apis[one].good("GET", "/admin/backups")["drill"] for one in apart.taking]
    assert [(one["backup_id"], one["succeeded"], saved in one["result"]) for one in drills] == [(backup, False, True)] * 2
    assert apart.gauges("kalends_restore_drill_succeeded") == [0, 0]
    assert wait_until(lambda: apart.of_both("restore-drill") == ["degraded", "degraded"], seconds=PATIENCE_S)


def test_a_drill_whose_process_is_killed_is_done_by_another(apart: Apart) -> None:
    """The next process takes it up, and removes what the killed one left in the scratch folder that both use."""
    one, two = apart.taking.values()
    scheduler = apart.apis["upkeep"]
    apart.writer.make_memory(MEMORY)
    tell(apart.writer, 0, 40)
    backup = back_up(apart.writer)
    assert two.terminate() == 0
    assert one.terminate() == 0
    one.start({"KALENDS_FAILPOINTS": "replay.after-append=kill"})
    scheduler.good("POST", "/scheduler/jobs/backup-drill/run")
    assert one.wait() == -signal.SIGKILL
    left = {path.name for path in (apart.folder / "drill").iterdir()}
    two.start()
    scheduler.run_job("backup-drill", seconds=PATIENCE_S)

    assert len(left) == 1
    assert list((apart.folder / "drill").iterdir()) == []
    drill = apart.apis["two"].good("GET", "/admin/backups")["drill"]
    assert (drill["backup_id"], drill["succeeded"]) == (backup, True)
    assert all(item["state"] == "succeeded" for item in apart.apis["two"].good("GET", "/operations")["items"])
    one.start()


def failed(api: Api, job: str) -> bool:
    """Whether the last run of a job failed."""
    return bool(api.job(job)["last_result"] == "FAILED")


def flip(path: Path) -> str:
    """Change one byte in the middle of a file; its name."""
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    return path.name
