"""Canary questions of a running instance: over HTTP, by the SDK and on the command line, asked by the scheduler and counted."""

import json
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest
from tests.platform.people import Person
from tests.support.api import Api
from tests.support.instance import Instance, clean_environment

from kalends.client import Kalends

WORDS = "who climbed the campanile"
SAID = ("The bell ringer went up the campanile at dawn.", "A cooper mends barrels by the quay.")


@pytest.fixture(scope="module")
def ids(admin: Person) -> list[str]:
    """Two events of the memory ``towers`` that can be found."""
    return admin.remember(admin.make_memory("towers"), *SAID)


@pytest.fixture(scope="module")
def api(instance: Instance) -> Iterator[Api]:
    """The admin's, who runs jobs."""
    with Api(lambda: instance.url, lambda: instance.token) as found:
        yield found


def counted(instance: Instance) -> dict[str, float]:
    """What the metrics say of canary questions."""
    lines = httpx.get(f"{instance.ops_url}/metrics").text.splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line.startswith("kalends_canary_answers_total")}


def command(instance: Instance, *arguments: str, code: int = 0) -> str:
    """What ``kalends canaries`` prints beside the instance."""
    done = subprocess.run(
        [sys.executable, "-m", "kalends.app.cli", "canaries", *arguments, "--memory", "towers"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=clean_environment() | {"KALENDS_DATA": str(instance.data)},
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def test_questions_are_asked_by_the_scheduler_told_by_memory_and_counted(instance: Instance, ids: list[str], api: Api) -> None:
    """One is set by the SDK and found, one on the command line and missed; the command says so by how it ends."""
    before = counted(instance)
    with Kalends(instance.url, token=instance.token) as kalends:
        canaries = kalends.memory("towers").canaries
        assert canaries.set("bell", WORDS, expect=[ids[0]], within=1).state == "new"
        command(instance, "set", "both", WORDS, "--expect", ids[0], "--expect", ids[1], "--within", "1")
        api.run_job("canary-questions")
        found = canaries.list()
        told = command(instance, "list", code=1)
        shown = command(instance, "show", "both")
        command(instance, "remove", "both")
        left = [one.canary for one in canaries.list().items]
        canaries.remove("bell")

    after = counted(instance)
    assert {one.canary: one.state for one in found.items} == {"bell": "found", "both": "missed"}
    assert found.accuracy == 0.5
    assert [one["state"] for one in json.loads(told)["items"]] == ["found", "missed"]
    assert json.loads(shown)["expect"] == ids
    assert left == ["bell"]
    for verdict, grown in (("found", 1), ("missed", 1), ("gone", 0)):
        series = f'kalends_canary_answers_total{{verdict="{verdict}"}}'
        assert after[series] - before[series] == grown, series


def test_neither_words_nor_memories_are_in_logs_or_metrics(admin: Person, instance: Instance, ids: list[str], api: Api) -> None:
    """A question is what somebody wrote; whose it is is nobody's business either."""
    admin.good("PUT", "/memories/towers/canaries/bell", {"question": WORDS, "expect": ids[:1]})
    api.run_job("canary-questions")
    said = instance.logs + httpx.get(f"{instance.ops_url}/metrics").text + json.dumps(api.job("canary-questions"))

    assert "canary-questions" in said
    assert "campanile" not in said
    assert ids[0] not in said
    admin.good("DELETE", "/memories/towers/canaries/bell")


def test_only_an_admin_who_sees_everything_sets_and_reads_them(admin: Person, stranger: Person, ids: list[str]) -> None:
    """They are asked of everything; for anybody else's tenant there is no such memory."""
    path, body = "/memories/towers/canaries/bell", {"question": WORDS, "expect": ids[:1]}
    admin.good("PUT", path, body)
    with (
        admin.with_token("search", "append", "erase", memories=["towers"]) as writer,
        admin.with_token("admin", memories=["towers"], labels=["team"]) as partly_sighted,
    ):
        for who, status in ((writer, 403), (partly_sighted, 403), (stranger, 404)):
            for method, at in (("PUT", path), ("GET", path), ("DELETE", path), ("GET", "/memories/towers/canaries")):
                assert who.ask(method, at, body if method == "PUT" else None).status_code == status, (method, at)
    assert admin.good("GET", path)["question"] == WORDS
    admin.good("DELETE", path)


def test_what_cannot_be_asked_is_refused(admin: Person, ids: list[str]) -> None:
    """Names, questions, ids and places, each told by a pointer where there is one."""
    for name, body in (
        ("Bell", {"question": WORDS, "expect": ids[:1]}),
        ("bell", {"question": "  ", "expect": ids[:1]}),
        ("bell", {"question": WORDS, "expect": []}),
        ("bell", {"question": WORDS, "expect": ["no id"]}),
        ("bell", {"question": WORDS, "expect": ["01ARZ3NDEKTSV4RRFFQ69G5FAV"]}),
        ("bell", {"question": WORDS, "expect": ids[:1], "within": 101}),
        ("bell", {"question": "x" * 4097, "expect": ids[:1]}),
    ):
        assert admin.ask("PUT", f"/memories/towers/canaries/{name}", body).status_code == 422, body
    assert admin.good("GET", "/memories/towers/canaries")["items"] == []
    assert admin.ask("GET", "/memories/towers/canaries/bell").status_code == 404


def test_a_memory_that_is_made_anew_has_none_of_the_old_questions(admin: Person, instance: Instance) -> None:
    """They went with everything that was in it."""
    memory = admin.make_memory("passing")
    (event_id,) = admin.remember(memory, "A lamplighter passes by.")
    admin.good("PUT", f"{memory}/canaries/lamp", {"question": "who passes?", "expect": [event_id]})
    with Kalends(instance.url, token=instance.token) as kalends:
        erasure = kalends.memory("passing").forget_all()
        kalends.memory("passing").wait_for_erasure(erasure.erasure_id, timeout_s=60)
    admin.make_memory("passing")

    assert admin.good("GET", f"{memory}/canaries") == {"items": [], "accuracy": None}
