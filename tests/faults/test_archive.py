"""The archive of the log and restore drills of a whole instance: a kill while a link is written, a log that lost what it had, a bucket.

Belongs here: both as an operator uses them. Does not belong here: what is in their files (``tests/services/test_archiving``). A newcomer
would get wrong: a check that finds a break has failed like any other operation, and the instance serves on: what is left can be read.
"""

import json
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.faults.conftest import NewFolder
from tests.faults.test_backups import MEMORY, back_up, replay, settings, tell, with_key
from tests.support import verdicts
from tests.support.api import Api
from tests.support.instance import Instance, clean_environment, wait_until
from tests.support.s3.server import BUCKET, S3Server

PLACES = ("archive.before-link",)
NEVER = "0 0 0 1 1 *"


def archived(folder: Path, *, store: str | None = None) -> dict[str, str]:
    """Settings of an instance whose log is archived below *folder*, or in *store*."""
    jobs = {f"KALENDS_SCHEDULER__{name}": NEVER for name in ("BACKUP", "BACKUP_DRILL", "ARCHIVE_CHECK")}
    place = store or f"file://{folder / 'log'}"
    return {**settings(folder / "backups"), **jobs, "KALENDS_ARCHIVE__STORE": place, "KALENDS_ARCHIVE__EVERY_S": "0.2"}


def links(api: Api) -> int:
    """How many links the archive has."""
    found: int = api.good("GET", "/admin/archive")["links"]
    return found


def health(api: Api, name: str) -> Mapping[str, Any]:
    """One dependency of the status."""
    found: Mapping[str, Any] = next((one for one in api.good("GET", "/status")["dependencies"] if one["name"] == name), {})
    return found


def metric(instance: Instance, name: str) -> float:
    """The value of a metric without labels."""
    with urllib.request.urlopen(f"{instance.ops_url}/metrics", timeout=10) as answer:  # noqa: S310 - our own
        return next(float(line.split()[1]) for line in answer.read().decode().splitlines() if line.startswith(f"{name} "))


def test_a_kill_while_a_link_is_written_loses_nothing_of_the_archive(instance: Instance, tmp_path: Path) -> None:
    """The next start goes on behind the last whole link."""
    more = archived(tmp_path)
    instance.start(more)
    with verdicts.api_of(instance) as api:
        api.make_memory(MEMORY)
        tell(api, 0, 40)
        assert wait_until(lambda: links(api) > 0, seconds=30)
    assert instance.terminate() == 0
    instance.start({**more, "KALENDS_FAILPOINTS": "archive.before-link=kill"})
    with verdicts.api_of(instance) as api:
        api.append(MEMORY, [{"session_id": "late", "kind": "message", "text": "written before the kill"}])
    assert instance.wait() == -signal.SIGKILL
    instance.start(more)
    with verdicts.api_of(instance) as api:
        before = links(api)
        tell(api, 40, 80)
        assert wait_until(lambda: links(api) > before, seconds=30)
        api.run_job("archive-check")

        assert api.good("GET", "/admin/archive")["breaks"] == 0
        assert len(list((tmp_path / "log").rglob("segment-*"))) == len(list((tmp_path / "log").rglob("link-*")))


def test_a_byte_of_the_log_that_flipped_on_the_disk_is_found_named_and_told(instance: Instance, tmp_path: Path) -> None:
    """By the check, by the status, by a metric and by the command's exit code; the instance serves what is left."""
    more = archived(tmp_path)
    instance.start(more)
    with verdicts.api_of(instance) as api:
        api.make_memory(MEMORY)
        tell(api, 0, 40)
        assert wait_until(lambda: links(api) > 0, seconds=30)
        api.quiet()
    assert instance.terminate() == 0
    block = max((instance.data / "nats").rglob("streams/EVENTS_*/msgs/*.blk"), key=lambda path: path.stat().st_size)
    whole = block.read_bytes()
    block.write_bytes(whole[: len(whole) // 2] + bytes([whole[len(whole) // 2] ^ 1]) + whole[len(whole) // 2 + 1 :])

    instance.start(more)
    with verdicts.api_of(instance) as api:
        command = [sys.executable, "-m", "kalends.app.cli", "--url", instance.url, "--token-file", str(instance.token_file), "--json"]
        done = subprocess.run(
            [*command, "archive", "verify"], env=clean_environment(), capture_output=True, text=True, timeout=60, check=False
        )
        told = json.loads(done.stdout)
        assert (done.returncode, told["state"]) == (1, "failed"), done
        assert f" of {block.parent.parent.name}, which link " in told["error"]
        assert wait_until(lambda: health(api, "archive").get("state") == "down", seconds=30)
        assert metric(instance, "kalends_log_intact") == 0
        assert metric(instance, "kalends_log_breaks") > 0
        assert api.good("GET", "/admin/archive")["result"] == told["error"]
        assert api.ask("GET", f"/memories/{MEMORY}/events").status == 200


def test_what_the_protocol_erases_is_no_break_and_leaves_the_archive(instance: Instance, tmp_path: Path) -> None:
    """An event of a session that lives on, a whole session with its nodes, a whole memory; and the receipt of the event names the check."""
    more = archived(tmp_path)
    instance.start(more)
    with verdicts.api_of(instance) as api:
        api.make_memory(MEMORY)
        api.make_memory("other")
        ids = tell(api, 0, 80)
        api.append("other", [{"session_id": "s", "kind": "message", "text": f"number {number}"} for number in range(10)])
        api.quiet()
        api.run_job("toc-day")
        verdicts.calendar_done(api)
        assert wait_until(lambda: links(api) > 1, seconds=30)
        selectors = [(MEMORY, {"event_ids": ids[:2]}), (MEMORY, {"session_id": "talk-1"}), ("other", {"everything": True})]
        begun = [(memory, api.good("POST", f"/memories/{memory}/erasures", selector)["erasure_id"]) for memory, selector in selectors]
        for memory, one in begun:
            assert wait_until(lambda m=memory, o=one: api.good("GET", f"/memories/{m}/erasures/{o}")["state"] == "erased", seconds=90)
        api.quiet()
        verdicts.calendar_done(api)

        api.run_job("archive-check")
        first = api.good("GET", "/admin/archive")
        api.run_job("archive-check")
        assert (first["breaks"], api.good("GET", "/admin/archive")["breaks"]) == (0, 0)
        assert "were erased or brought back, and left it" in first["result"]
        assert "left it" not in api.good("GET", "/admin/archive")["result"]
        ends = [api.good("GET", f"/memories/{memory}/erasures/{one}/receipt")["backups_expire_at"] for memory, one in begun]
        assert ends[0].endswith("-01-01T12:00:00Z")
        assert ends[1:] == [None, None]


def test_a_restore_drill_proves_the_last_backup_and_its_result_is_shown(instance: Instance, tmp_path: Path) -> None:
    """Also after something of it was erased; a damaged backup fails the drill, which is told; and nothing is left of either."""
    more = archived(tmp_path)
    instance.start(more)
    with verdicts.api_of(instance) as api:
        api.make_memory(MEMORY)
        tell(api, 0, 60)
        first = back_up(api)
        tell(api, 60, 80)
        second = back_up(api, incremental_from=first)
        erased = api.good("POST", f"/memories/{MEMORY}/erasures", {"session_id": "talk-1"})["erasure_id"]
        assert wait_until(lambda: api.good("GET", f"/memories/{MEMORY}/erasures/{erased}")["state"] == "erased", seconds=60)
        api.run_job("backup-drill")

        drill = api.good("GET", "/admin/backups")["drill"]
        assert (drill["backup_id"], drill["succeeded"]) == (second, True)
        assert drill["result"].startswith("60 events of 1 memories came back")
        assert wait_until(lambda: health(api, "restore-drill").get("state") == "up", seconds=30)
        assert (metric(instance, "kalends_restore_drill_succeeded"), metric(instance, "kalends_log_intact")) == (1, 1)
        assert list((instance.data / "drill").iterdir()) == []

        segment = next((tmp_path / "backups" / "backups" / second).glob("segment-*"))
        whole = segment.read_bytes()
        segment.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
        api.good("POST", "/scheduler/jobs/backup-drill/run")
        assert wait_until(lambda: not api.good("GET", "/admin/backups")["drill"]["succeeded"], seconds=60)
        assert segment.name in api.good("GET", "/admin/backups")["drill"]["result"]
        assert wait_until(lambda: health(api, "restore-drill").get("state") == "degraded", seconds=30)
        assert list((instance.data / "drill").iterdir()) == []


@pytest.mark.cluster
def test_backups_and_the_archive_in_a_bucket_bring_a_wiped_installation_back(
    instance: Instance, prepared: NewFolder, tmp_path: Path
) -> None:
    """Under one prefix each; the same events, and the archive of the log that is gone can still be checked."""
    with S3Server(tmp_path / "s3") as server:
        bucket = {
            "KALENDS_S3__URL": server.url,
            "KALENDS_S3__ACCESS_KEY_FILE": str(server.folder / "access"),
            "KALENDS_S3__SECRET_KEY_FILE": str(server.folder / "secret"),
        }
        more = {**archived(tmp_path, store=f"s3://{BUCKET}/log"), **bucket}
        del more["KALENDS_BACKUP__FOLDER"]
        more["KALENDS_BACKUP__STORE"] = f"s3://{BUCKET}/backups"
        instance.start(more)
        with verdicts.api_of(instance) as api:
            api.make_memory(MEMORY)
            tell(api, 0, 100)
            assert wait_until(lambda: links(api) > 0, seconds=30)
            api.quiet()
            expected = list(api.events(MEMORY))
            backup = back_up(api)
            api.run_job("archive-check")
            api.run_job("backup-drill")
        assert instance.terminate() == 0
        data = with_key(prepared(tmp_path / "restored"), instance)
        shutil.rmtree(instance.data)

        done = replay(backup, data, None, env={name: value for name, value in more.items() if "BACKUP__" in name or "S3__" in name})
        assert done.returncode == 0, done.stderr
        with Instance(data) as restored:
            restored.start(more)
            with verdicts.api_of(restored) as api:
                api.quiet()
                assert list(api.events(MEMORY)) == expected
                assert wait_until(lambda: links(api) > 0, seconds=30)
                api.run_job("archive-check")
            assert restored.terminate() == 0
