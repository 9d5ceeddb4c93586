"""Forgetting as people do it: by the SDK, by the command line, again after a lost answer, and a whole tenant.

Belongs here: what a caller of a running instance relies on. Does not belong here: what is left in files (``test_forgetting``). A newcomer
would get wrong: the tenant-wide erasure takes every memory of the tenant, so it has an instance of its own.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.platform.conftest import another_tenant
from tests.platform.people import Person
from tests.support.instance import Instance, clean_environment, wait_until

from kalends.client import AsyncKalends, Kalends
from kalends.domain.errors import NotFound

WAIT_S = 120.0
SETTINGS = {"KALENDS_ERASURE__FENCE_S": "0.5"}


@pytest.fixture
def owner(brisk: Instance) -> Iterator[Person]:
    """Who has its admin token."""
    with Person(brisk, brisk.token) as person:
        yield person


def told(owner: Person, name: str) -> tuple[str, list[str]]:
    """A memory with two sessions of two events each: its path, and the ids of the events."""
    path = owner.make_memory(name)
    return path, [
        one for session in ("gone", "kept") for one in owner.remember(path, f"{session} one", f"{session} two", session_id=session)
    ]


def test_the_sdk_forgets_and_waits_for_the_receipt(brisk: Instance, owner: Person) -> None:
    """A dry run counts, an undo shows again, and what is forgotten is gone with a receipt."""
    path, ids = told(owner, "sdk-sync")
    with Kalends(brisk.url, token=brisk.token) as kalends:
        memory = kalends.memory("sdk-sync")
        planned = memory.forget(session_id="gone", dry_run=True)
        assert (planned.state, planned.counts["events"], planned.ended) == ("planned", 2, True)
        hidden = memory.forget(session_id="gone", undo_s=600)
        assert memory.undo_erasure(hidden.erasure_id).state == "undone"
        begun = memory.forget(session_id="gone", reason="legal")
        ended = memory.wait_for_erasure(begun.erasure_id, timeout_s=WAIT_S)
        assert (ended.state, ended.reason, ended.counts["timeline"]) == ("erased", "legal", 2)
        assert memory.erasure_receipt(begun.erasure_id)["erasure_id"] == begun.erasure_id
        assert [one.erasure_id for one in memory.erasures()] == [begun.erasure_id, hidden.erasure_id]
        with pytest.raises(NotFound):
            memory.erasure_receipt(hidden.erasure_id)
    assert [owner.ask("GET", f"{path}/events/{one}").status_code for one in ids] == [410, 410, 200, 200]


async def test_the_sdk_does_the_same_without_blocking(brisk: Instance, owner: Person) -> None:
    """The nouns are the same."""
    path, ids = await asyncio.to_thread(told, owner, "sdk-async")
    async with AsyncKalends(brisk.url, token=brisk.token) as kalends:
        memory = kalends.memory("sdk-async")
        assert (await memory.forget(label="hr", dry_run=True)).counts["events"] == 0
        begun = await memory.forget(event_ids=ids[:2])
        ended = await memory.wait_for_erasure(begun.erasure_id, timeout_s=WAIT_S)
        assert ended.state == "erased"
        assert (await memory.erasure_receipt(begun.erasure_id))["selector"] == "event_ids"
        assert [one.erasure_id async for one in memory.erasures()] == [begun.erasure_id]
    assert [owner.ask("GET", f"{path}/events/{one}").status_code for one in ids] == [410, 410, 200, 200]


def kalends_command(brisk: Instance, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """A run of the command line against the instance."""
    env = {**clean_environment(), "KALENDS_URL": brisk.url, "KALENDS_TOKEN_FILE": str(brisk.token_file)}
    command = [sys.executable, "-m", "kalends.app.cli", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=200, env=env)


def test_the_command_line_waits_for_a_receipt_and_checks_it(brisk: Instance, owner: Person, tmp_path: Path) -> None:
    """What ``--wait --json`` printed is checked as it is; once a number in it is changed it is good no more."""
    path, ids = told(owner, "by-hand")
    done = kalends_command(brisk, "--json", "--memory", "by-hand", "forget", "--session", "gone", "--wait", "--yes")
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed["erasure"]["state"] == "erased"
    good, changed = tmp_path / "good.json", tmp_path / "changed.json"
    good.write_text(done.stdout, encoding="utf-8")
    printed["receipt"]["counts"]["timeline"] += 1
    changed.write_text(json.dumps(printed), encoding="utf-8")

    assert kalends_command(brisk, "forget", "--verify", str(good)).returncode == 0
    refused = kalends_command(brisk, "forget", "--verify", str(changed))
    assert refused.returncode == 1
    assert "NOT good" in refused.stdout or '"genuine":false' in refused.stdout.replace(" ", "")
    assert [owner.ask("GET", f"{path}/events/{one}").status_code for one in ids] == [410, 410, 200, 200]


def test_the_same_request_again_is_the_same_erasure(owner: Person) -> None:
    """Also while it goes on and after its end; with another body it is refused, and with another key it is another one."""
    path, _ = told(owner, "again")
    key = {"idempotency-key": "once"}

    def ask(body: dict[str, Any], headers: dict[str, str]) -> Any:
        return owner.ask("POST", f"{path}/erasures", body, headers=headers)

    first = ask({"session_id": "gone"}, key).json()
    assert ask({"session_id": "gone"}, key).json()["erasure_id"] == first["erasure_id"]
    for other in ({"session_id": "kept"}, {"session_id": "gone", "reason": "legal"}, {"session_id": "gone", "undo_s": 5}):
        assert ask(other, key).status_code == 409
    assert wait_until(lambda: owner.good("GET", f"{path}/erasures/{first['erasure_id']}")["state"] == "erased", seconds=WAIT_S)
    assert ask({"session_id": "gone"}, key).json()["state"] == "erased"
    assert ask({"session_id": "gone"}, {"idempotency-key": "twice"}).json()["erasure_id"] != first["erasure_id"]
    assert ask({"session_id": "gone", "dry_run": True}, key).json()["state"] == "planned"


def test_a_lost_answer_forgets_once(brisk: Instance, owner: Person) -> None:
    """Each call of the SDK has a key of its own."""
    path, _ = told(owner, "lost-answer")
    with Kalends(brisk.url, token=brisk.token) as kalends:
        memory = kalends.memory("lost-answer")
        memory.forget(session_id="gone")
        memory.forget(session_id="gone")
    assert len(owner.good("GET", f"{path}/erasures")["items"]) == 2


def test_a_whole_tenant_is_forgotten_and_no_other(tmp_path: Path, prepared: Callable[[Path], Path]) -> None:
    """Both memories with their names; of the other tenant nothing, which has a memory of the same name."""
    started = Instance(prepared(tmp_path / "data"), settings=SETTINGS)
    with started as instance, Person(instance.start(), instance.token) as mine, another_tenant(instance) as theirs:
        (first, ids), (second, _), (foreign, kept) = told(mine, "one"), told(mine, "two"), told(theirs, "one")
        with mine.with_token("admin", memories=["one"]) as limited:
            assert limited.ask("POST", "/erasures", {"everything": True}).status_code == 403
        assert [one["counts"]["events"] for one in mine.good("POST", "/erasures", {"everything": True, "dry_run": True})["items"]] == [
            4,
            4,
        ]

        key = {"idempotency-key": "all of it"}
        begun = mine.good("POST", "/erasures", {"everything": True}, headers=key)["items"]
        assert [one["memory"] for one in begun] == ["one", "two"]
        again = mine.good("POST", "/erasures", {"everything": True}, headers=key)["items"]
        assert {one["erasure_id"] for one in again} <= {one["erasure_id"] for one in begun}
        for one in begun:
            where = f"/memories/{one['memory']}/erasures/{one['erasure_id']}"
            assert wait_until(lambda at=where: mine.good("GET", at)["state"] == "erased", seconds=WAIT_S), instance.last_words[-2000:]
            assert mine.good("GET", f"{where}/receipt")["memory"] == one["memory"]
        assert mine.good("GET", "/memories")["items"] == []
        assert [mine.ask("GET", path).status_code for path in (first, second, f"{first}/events/{ids[0]}")] == [404] * 3
        assert [theirs.good("GET", f"{foreign}/events/{one}")["event_id"] for one in kept] == kept
        assert theirs.good("GET", foreign)["events"] == 4
        assert theirs.good("GET", f"{foreign}/erasures")["items"] == []
