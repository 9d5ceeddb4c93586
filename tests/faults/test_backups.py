"""Backups of a whole instance: taken under load, everything wiped, restored; kills in the middle of restores; what was erased stays away.

Belongs here: backups as an operator uses them. Does not belong here: what is in their files (``tests/services/test_backing_up``), or kills
while one is made (``test_failpoints``). A newcomer would get wrong: the key file is no part of a backup; whoever restores brings it.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.faults.acts import BRISK
from tests.faults.conftest import NewFolder
from tests.support import verdicts
from tests.support.api import Api, Away
from tests.support.instance import Instance, wait_until
from tests.support.load import writing
from tests.support.walks import walk

PLACES = (
    *("restore.after-memory", "restore.after-append", "restore.after-erasing"),
    *("replay.after-records", "replay.after-append", "replay.before-done"),
)
MEMORY, LOADED = "notes", "load"
EVENTS = int(os.environ.get("KALENDS_TEST_BACKUP_EVENTS", "1000"))
QUESTIONS = int(os.environ.get("KALENDS_TEST_BACKUP_QUESTIONS", "200"))
WORDS = ["river", "heron", "bridge", "winter", "lantern", "orchard", "harbour", "letter", "violin", "market", "garden", "thunder"]


def events_of(first: int, last: int) -> list[dict[str, Any]]:
    """Talk of past days, in sessions of twenty, all different."""
    return [
        {
            "session_id": f"talk-{number // 20}",
            "kind": "message",
            "text": f"{WORDS[number % 12]} and {WORDS[number * 7 % 11]} of the day {number}, said the {WORDS[number * 5 % 12]}",
            "occurred_at": f"2025-{1 + number // 100 % 12:02d}-{1 + number // 20 % 5:02d}T10:{number % 20:02d}:00Z",
        }
        for number in range(first, last)
    ]


def tell(api: Api, first: int, last: int) -> list[str]:
    """Have them acked; their ids."""
    ids: list[str] = []
    for start in range(first, last, 200):
        reply = api.append(MEMORY, events_of(start, min(last, start + 200)))
        assert reply.status == 202, reply
        ids += [one["event_id"] for one in reply.body["results"]]
    return ids


def back_up(api: Api, **asked: Any) -> str:
    """Have a backup made; its id."""
    begun: str = api.good("POST", "/admin/backups", {"all": True, **asked})["operation_id"]
    api.finished(begun, seconds=120)
    return begun


def answers(api: Api) -> list[list[str]]:
    """The first ten ids for each of many questions, by words and by everything that there is in turns."""
    return [
        [hit["id"] for hit in api.good("POST", f"/memories/{MEMORY}/search", {"query": question, "limit": 10, **mode})["hits"]]
        for number in range(QUESTIONS)
        for question in [f"{WORDS[number % 12]} {WORDS[number * 5 % 11]} day {number * 13}"]
        for mode in [{"mode": "lexical"} if number % 2 else {}]
    ]


def settings(folder: Path) -> dict[str, str]:
    """Backups in *folder*."""
    return {**BRISK, "KALENDS_BACKUP__FOLDER": str(folder)}


def replay(backup: str, data: Path, folder: Path | None, *, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """``kalends backup restore --into-empty``; without a *folder* the settings say where the backups are."""
    command = [sys.executable, "-m", "kalends.app.cli", "--json", "backup", "restore", backup]
    told = {name: value for name, value in os.environ.items() if not name.startswith("KALENDS_")}
    return subprocess.run(
        [*command, "--into-empty", "--data", str(data), *([] if folder is None else ["--folder", str(folder)])],
        env={**told, **(env or {})},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def with_key(folder: Path, of: Instance) -> Path:
    """A prepared data folder that has the key file of another."""
    (folder / "keys").mkdir(mode=0o700)
    shutil.copy2(of.data / "keys" / "kek", folder / "keys" / "kek")
    return folder


def test_after_everything_is_wiped_a_backup_taken_under_load_brings_it_back(
    instance: Instance, prepared: NewFolder, tmp_path: Path
) -> None:
    """Ids, texts, counts, answers and the calendar; what was acked before the last backup began is there, and the old admin token works."""
    folder = tmp_path / "archive"
    instance.start(settings(folder))
    with verdicts.api_of(instance) as api:
        api.make_memory(MEMORY)
        api.make_memory(LOADED)
        tell(api, 0, EVENTS // 2)
        with writing(lambda: verdicts.api_of(instance), memory=LOADED, writers=3, seed=8) as ledger:
            assert wait_until(lambda: ledger.requests > 5, seconds=60)
            first = back_up(api)
        tell(api, EVENTS // 2, EVENTS)
        api.quiet()
        api.run_job("toc-day")  # which cuts sessions that still talk, too
        verdicts.calendar_done(api)
        api.quiet()
        expected = {memory: list(api.events(memory)) for memory in (MEMORY, LOADED)}
        found, calendar = answers(api), walk(api, MEMORY)
        last = back_up(api, incremental_from=first)
    token = instance.token
    instance.kill()

    data = with_key(prepared(tmp_path / "restored"), instance)
    shutil.rmtree(instance.data)
    done = replay(last, data, folder)
    assert done.returncode == 0, done.stderr
    assert f"{len(expected[MEMORY]) + len(expected[LOADED])} events" in json.loads(done.stdout)["result"]
    with Instance(data) as restored:
        restored.start(settings(folder))
        with verdicts.api_of(restored) as api:
            api.quiet()
            assert {memory: list(api.events(memory)) for memory in expected} == expected
            assert ledger.acked.keys() <= {event["event_id"] for event in expected[LOADED]}
            api.run_job("toc-day")
            verdicts.calendar_done(api)
            after = walk(api, MEMORY)
            assert (after.said, after.versions) == (calendar.said, calendar.versions)
            api.quiet()
            assert answers(api) == found
            verdicts.equal_a_fresh_rebuild(api)
            with Api(lambda: restored.url, lambda: token) as old:
                assert old.ask("GET", "/memories").status == 200
        assert restored.terminate() == 0


def test_what_is_erased_after_the_last_backup_stays_away_when_everything_is_wiped(
    instance: Instance, prepared: NewFolder, tmp_path: Path
) -> None:
    """The erasure left a note beside the backups; its receipt names the day on which the last backup ends, and is there afterwards."""
    folder = tmp_path / "archive"
    instance.start(settings(folder))
    with verdicts.api_of(instance) as api:
        api.make_memory(MEMORY)
        ids = tell(api, 0, 60)
        api.quiet()
        backup = back_up(api)
        asked = [{"session_id": "talk-1"}, {"event_ids": [ids[0]]}]
        erasures = [api.good("POST", f"/memories/{MEMORY}/erasures", selector)["erasure_id"] for selector in asked]
        assert wait_until(lambda: states(api) == {"erased"}, seconds=60, every=0.2)
        receipts = [api.good("GET", f"/memories/{MEMORY}/erasures/{one}/receipt") for one in erasures]
        expires = api.good("GET", f"/admin/backups/{backup}")["expires_at"]
        assert [one["backups_expire_at"] for one in receipts] == [expires, expires]
        left = {event["event_id"] for event in api.events(MEMORY)}
        assert left == {*ids[1:20], *ids[40:]}
        restore(api, backup, into="copy")
        restore(api, backup, replace=True)
        api.quiet()
        assert {event["event_id"] for event in api.events("copy")} == {event["event_id"] for event in api.events(MEMORY)} == left
    instance.kill()

    data = with_key(prepared(tmp_path / "restored"), instance)
    done = replay(backup, data, folder)
    assert done.returncode == 0, done.stderr
    with Instance(data) as restored:
        restored.start(settings(folder))
        with verdicts.api_of(restored) as api:
            api.quiet()
            assert {event["event_id"] for event in api.events(MEMORY)} == left
            assert {api.event(MEMORY, one).status for one in ids[20:40]} <= {404, 410}
            again = [api.good("GET", f"/memories/{MEMORY}/erasures/{one}/receipt") for one in erasures]
            assert again == receipts
        assert restored.terminate() == 0


def states(api: Api) -> set[str]:
    """How the erasures are."""
    return {one["state"] for one in api.good("GET", f"/memories/{MEMORY}/erasures?limit=200")["items"]}


def restore(api: Api, backup: str, **asked: Any) -> None:
    """Have the memory restored."""
    begun = api.good("POST", "/admin/restores", {"backup_id": backup, "memory": MEMORY, **asked})["operation_id"]
    api.finished(begun, seconds=120)


def test_a_restore_that_is_killed_goes_on_at_the_next_start(instance: Instance, tmp_path: Path) -> None:
    """At each of its steps, into a new memory and in place; nothing comes twice."""
    more = settings(tmp_path / "archive")
    instance.start(more)
    with verdicts.api_of(instance) as api:
        api.make_memory(MEMORY)
        ids = tell(api, 0, 250)
        api.quiet()
        backup = back_up(api)
        tell(api, 250, 260)
        api.quiet()
    assert instance.terminate() == 0

    asked: Sequence[tuple[str, dict[str, Any]]] = (
        ("restore.after-memory=kill", {"into": "after-memory"}),
        ("restore.after-append=kill@1", {"into": "after-append"}),
        ("restore.after-erasing=kill", {"replace": True}),
    )
    for place, how in asked:
        instance.start({**more, "KALENDS_FAILPOINTS": place})
        with verdicts.api_of(instance) as api, suppress(Away):
            api.good("POST", "/admin/restores", {"backup_id": backup, "memory": MEMORY, **how})
        assert instance.wait() == -signal.SIGKILL
    instance.start(more)
    with verdicts.api_of(instance) as api:
        assert wait_until(lambda: all_succeeded(api), seconds=120, every=0.2), api.good("GET", "/operations")
        api.quiet()
        for memory in ("after-memory", "after-append", MEMORY):
            assert sorted(event["event_id"] for event in api.events(memory)) == sorted(ids), memory
        verdicts.equal_a_fresh_rebuild(api)


def all_succeeded(api: Api) -> bool:
    """Whether all that was asked for has been done."""
    return {one["state"] for one in api.good("GET", "/operations")["items"]} == {"succeeded"}


@pytest.mark.parametrize("place", [place for place in PLACES if place.startswith("replay")])
def test_a_whole_restore_that_is_killed_serves_nobody_until_it_is_done(
    instance: Instance, prepared: NewFolder, tmp_path: Path, place: str
) -> None:
    """A start in between is refused and says what to do; the same command goes on."""
    folder = tmp_path / "archive"
    instance.start(settings(folder))
    with verdicts.api_of(instance) as api:
        api.make_memory(MEMORY)
        ids = tell(api, 0, 250)
        backup = back_up(api)
    instance.kill()
    data = with_key(prepared(tmp_path / "restored"), instance)

    assert replay(backup, data, folder, env={"KALENDS_FAILPOINTS": f"{place}=kill"}).returncode == -signal.SIGKILL
    refused = subprocess.run(
        [sys.executable, "-m", "kalends.app.cli", "up", "--data", str(data), "--port", "0", "--ops-port", "0"],
        env={name: value for name, value in os.environ.items() if not name.startswith("KALENDS_")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (refused.returncode, "was cut off" in refused.stderr) == (2, True), refused.stderr
    assert replay(backup, data, folder).returncode == 0
    with Instance(data) as restored:
        restored.start(settings(folder))
        with verdicts.api_of(restored) as api:
            api.quiet()
            assert [event["event_id"] for event in api.events(MEMORY)] == ids
