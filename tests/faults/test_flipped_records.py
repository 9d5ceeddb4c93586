"""A byte flips in a record: found by the check of the archive, named, told, and healed as docs/reference/archive-format.md says.

Belongs here: the broker's files of a whole instance. Does not belong here: every sentence of the check (``services/test_record_checking``).
A newcomer would get wrong: what the broker makes of such a byte differs. Stopped in order it lists the record on and says "not found";
killed, it reads its files anew and cuts off everything behind the byte, without a word.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.faults.conftest import NewFolder
from tests.faults.test_archive import archived, health, links, metric
from tests.faults.test_backups import MEMORY, back_up, replay, tell, with_key
from tests.support import verdicts
from tests.support.api import Api
from tests.support.instance import Instance, clean_environment, wait_until

OTHER = "flips"


def begin(api: Api) -> list[dict[str, Any]]:
    """Two memories with events, in the archive, and a check that finds nothing wrong; the events of the second."""
    api.make_memory(MEMORY)
    tell(api, 0, 20)
    api.make_memory(OTHER)
    api.append(OTHER, [{"session_id": "s", "kind": "message", "text": f"number {number}"} for number in range(5)])
    assert wait_until(lambda: links(api) > 0, seconds=30)
    api.quiet()
    api.run_job("archive-check")
    return list(api.events(OTHER))


def verify(instance: Instance, *flags: str) -> tuple[int, dict[str, Any]]:
    """What ``kalends archive verify`` says, and its exit code."""
    command = [sys.executable, "-m", "kalends.app.cli", "--url", instance.url, "--token-file", str(instance.token_file), "--json"]
    done = subprocess.run(
        [*command, "archive", "verify", *flags], env=clean_environment(), capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, json.loads(done.stdout)


def flip(instance: Instance) -> None:
    """Change a bit of what is stored of the second memory."""
    (block,) = (instance.data / "nats").rglob("streams/RECORDS_*/msgs/*.blk")
    content = bytearray(block.read_bytes())
    subject = f".memory.{OTHER}".encode()
    assert content.count(subject) == 1
    at = content.index(subject) + len(subject) + 60
    content[at] ^= 1
    block.write_bytes(content)


def told(instance: Instance, api: Api) -> str:
    """What the status says of the archive, once it has been told of a break; it names no record."""
    assert wait_until(lambda: health(api, "archive").get("state") == "down", seconds=30)
    assert metric(instance, "kalends_log_intact") == 0
    assert metric(instance, "kalends_log_breaks") > 0
    detail: str = health(api, "archive")["detail"]
    assert OTHER not in detail
    return detail


def test_a_flipped_byte_of_a_record_is_found_named_told_and_given_up_when_somebody_says_so(instance: Instance, tmp_path: Path) -> None:
    """Until then nobody makes a memory over it; afterwards the memory is made again, and its events are there, which the log has."""
    more = archived(tmp_path)
    instance.start(more)
    with verdicts.api_of(instance) as api:
        events = begin(api)
    assert instance.terminate() == 0
    flip(instance)

    instance.start(more)
    with verdicts.api_of(instance) as api:
        code, said = verify(instance)
        assert (code, said["state"]) == (1, "failed")
        assert f"the record {OTHER} of local, of the kind memory, cannot be read" in said["error"]
        assert "1 of the kind memory" in told(instance, api)
        assert api.good("GET", "/admin/archive")["result"] == said["error"]
        assert api.ask("GET", f"/memories/{OTHER}/events").status == 500
        assert api.ask("PUT", f"/memories/{OTHER}", {}).status == 500
        assert api.ask("GET", f"/memories/{MEMORY}/events").status == 200

        code, said = verify(instance, "--accept-lost")
        assert (code, said["state"]) == (0, "succeeded")
        assert said["result"].endswith("; 1 lost records were given up")
        assert wait_until(lambda: metric(instance, "kalends_log_intact") == 1, seconds=30)
        assert api.ask("GET", f"/memories/{OTHER}/events").status == 404
        api.make_memory(OTHER)
        assert list(api.events(OTHER)) == events
        api.run_job("archive-check")


def test_what_a_killed_broker_cut_off_behind_a_flipped_byte_is_found_named_told_and_restored(
    instance: Instance, prepared: NewFolder, tmp_path: Path
) -> None:
    """The memory and everything that was written behind it is gone without a word; a backup in a new folder brings it back."""
    more = archived(tmp_path)
    instance.start(more)
    with verdicts.api_of(instance) as api:
        events = begin(api)
        backup = back_up(api)
    instance.kill()
    flip(instance)

    instance.start(more)
    with verdicts.api_of(instance) as api:
        assert api.ask("GET", f"/memories/{OTHER}/events").status == 404
        code, said = verify(instance)
        assert (code, said["state"]) == (1, "failed")
        assert "the store of records " in said["error"]
        assert f"the record {OTHER} of local, of the kind memory, is gone" in said["error"]
        result = api.good("GET", "/admin/archive")["result"]
        assert "breaks of the records" in told(instance, api)
        assert result == said["error"]
    assert instance.terminate() == 0

    data = with_key(prepared(tmp_path / "restored"), instance)
    shutil.rmtree(instance.data)
    done = replay(backup, data, None, env=more)
    assert done.returncode == 0, done.stderr
    with Instance(data) as restored:
        restored.start(more)
        with verdicts.api_of(restored) as api:
            api.quiet()
            assert list(api.events(OTHER)) == events
            assert wait_until(lambda: links(api) > 0, seconds=30)
            api.run_job("archive-check")
            assert api.good("GET", "/admin/archive")["breaks"] == 0
        assert restored.terminate() == 0
