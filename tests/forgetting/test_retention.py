"""Retention in a whole instance: what is kept no longer is in no answer and no file, the rest is found, and the calendar is made anew."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.forgetting.test_forgetting import AWHILE, left_in_files
from tests.support.api import Api
from tests.support.instance import Instance, clean_environment, wait_until

from kalends.client import AsyncKalends, Kalends

IDLE_S = 3
SETTINGS = {
    "KALENDS_SUMMARIZE__SETTLE_S": "0",
    "KALENDS_ERASURE__FENCE_S": "0.5",
    "KALENDS_RETENTION__SESSION_IDLE_S": str(IDLE_S),
    "KALENDS_SCHEDULER__RETENTION": "0 0 0 1 1 *",
}
DAY = "2026-01-{day:02d}T10:{minute:02d}:00Z"


@dataclass(kw_only=True)
class World:
    """A memory of its own, with a canary in each event, by a name that the test gives."""

    instance: Instance
    api: Api
    memory: str
    ids: dict[str, str] = field(default_factory=dict)

    def path(self, rest: str = "") -> str:
        """A path below the memory."""
        return f"/memories/{self.memory}{rest}"

    def make(self, retention: Any = None) -> None:
        """Make the memory."""
        made = self.api.ask("PUT", self.path(), {} if retention is None else {"retention": retention})
        assert made.status == 201, made

    def tell(self, *names: str, day: int = 10, **members: Any) -> None:
        """Events on a day of January, one request each, so that they are recorded in this order."""
        for name in names:
            at = DAY.format(day=day, minute=len(self.ids) % 60)
            item = {"session_id": "s", "kind": "message", "occurred_at": at, "text": f"{self.canary(name)} told of the river", **members}
            reply = self.api.append(self.memory, [item])
            assert reply.status == 202, reply
            self.ids[name] = reply.body["results"][0]["event_id"]

    def canary(self, name: str) -> str:
        """A word that occurs in one event only."""
        return f"zz{self.memory}{name}zz"

    def settle(self) -> None:
        """Wait for every projection and the calendar."""
        self.api.quiet()
        self.api.run_job("toc-day")
        self.api.quiet()

    def retain(self) -> None:
        """Have the job run, and wait for every erasure of this memory."""
        self.api.run_job("retention")
        self.erased()

    def erased(self) -> list[dict[str, Any]]:
        """The erasures, once all are done."""
        found: list[dict[str, Any]] = []

        def over() -> bool:
            found[:] = self.api.good("GET", self.path("/erasures"))["items"]
            return all(one["state"] == "erased" for one in found)

        assert wait_until(over, seconds=AWHILE, every=0.1), self.instance.last_words[-4000:]
        self.api.quiet()
        return found

    def check(self, *gone: str) -> None:
        """What is gone is in no list, search, node of the calendar or file; all the rest is listed and found."""
        listed = {event["event_id"] for event in self.api.events(self.memory)}
        assert listed == {event_id for name, event_id in self.ids.items() if name not in gone}
        for name, event_id in self.ids.items():
            found = self.api.good("POST", self.path("/search"), {"query": self.canary(name), "mode": "lexical"})["hits"]
            assert (event_id in {hit["id"] for hit in found}) is (name not in gone), name
            assert self.api.event(self.memory, event_id).status == (410 if name in gone else 200)
        calendar = str(list(self.nodes()))
        assert not [name for name in gone if self.canary(name) in calendar]
        assert left_in_files(self.instance.data, {self.canary(name) for name in gone}) == []

    def nodes(self) -> Iterator[Any]:
        """Every node of the calendar."""
        todo = [one["node_id"] for one in self.api.good("GET", self.path("/toc"))["items"]]
        for node_id in todo:  # grows while it is walked
            node = self.api.good("GET", self.path(f"/toc/{node_id}"))
            yield node
            if node["level"] != "segment":
                todo += [one["node_id"] for one in self.api.good("GET", self.path(f"/toc/{node_id}/children"))["items"]]

    def dry_run(self) -> list[dict[str, Any]]:
        """What the job would do here."""
        answer = self.api.good("POST", "/admin/retention", {"memory": self.memory, "dry_run": True})
        assert answer["dry_run"]
        items: list[dict[str, Any]] = answer["items"]
        return items


@pytest.fixture
def world(request: pytest.FixtureRequest, brisk: Instance) -> Iterator[World]:
    """A memory named after the test, which is not made yet."""
    if not brisk.running:
        brisk.start()
    name = request.node.name.removeprefix("test_").replace("_", "-")[:24].strip("-")
    with Api(lambda: brisk.url, lambda: brisk.token) as api:
        yield World(instance=brisk, api=api, memory=name)


def counted(world: World, **numbers: Any) -> dict[str, Any]:
    """What a dry run says of one memory."""
    plain = {"expired": 0, "age": 0, "count": 0, "session": 0, "held": 0, "erasures": 0, "more": False}
    return {"memory": world.memory, **plain, **numbers}


def test_what_is_too_many_or_expired_goes_from_everywhere_and_the_newest_stay(world: World) -> None:
    """Pinned kinds too; the calendar is made anew of what is left, and the receipt says who asked."""
    world.make({"max_events": 5, "pinned_kinds": ["preference"]})
    world.tell("pin", kind="preference")
    world.tell("old1", "old2", "old3")
    world.tell("brief", expires_at=(datetime.now(UTC) + timedelta(seconds=1)).isoformat())
    world.tell("new1", "new2", "new3", "new4", day=11)
    assert wait_until(lambda: bool(world.dry_run()) and world.dry_run()[0]["expired"] == 1, seconds=10)
    world.settle()
    assert world.dry_run() == [counted(world, expired=1, count=3)]
    assert set(world.ids) == {name for name in world.ids if world.canary(name) in left_words(world)} | {"brief"}

    world.retain()

    world.check("old1", "old2", "old3", "brief")
    (erasure,) = world.erased()
    receipt = world.api.good("GET", world.path(f"/erasures/{erasure['erasure_id']}/receipt"))
    assert (receipt["requested_by"], receipt["reason"], receipt["counts"]["timeline"]) == ("retention", "retention", 4)
    assert world.dry_run() == []


def left_words(world: World) -> str:
    """All texts of the memory."""
    return " ".join(event["text"] for event in world.api.events(world.memory))


def test_a_dry_run_changes_nothing_and_a_hold_is_counted(world: World) -> None:
    """Once the hold is gone, the next run takes what it kept."""
    world.make({"kinds": {"note": {"max_events": 1}}})
    world.tell("case", kind="note", session_id="case")
    world.tell("loose", "last", kind="note")
    world.api.good("PUT", world.path("/holds/case-7"), {"session_id": "case"})
    world.settle()
    for _ in range(2):
        assert world.dry_run() == [counted(world, count=1, held=1)]
    assert world.erased() == []

    world.retain()
    world.check("loose")
    world.api.good("DELETE", world.path("/holds/case-7"))
    world.retain()
    world.check("loose", "case")


def test_a_session_that_ends_is_gone_from_everywhere(world: World) -> None:
    """Another one stays; the ended one may be begun anew."""
    world.make({"session_only": True})
    world.tell("one", "two", session_id="talk/1")
    world.tell("other", session_id="later")
    world.settle()

    ended = world.api.ask("POST", world.path("/sessions/talk%2F1/end"))

    assert (ended.status, ended.body["session_id"], ended.body["state"]) == (202, "talk/1", "hidden")
    world.erased()
    world.check("one", "two")
    again = world.api.ask("POST", world.path("/sessions/talk%2F1/end"))
    assert (again.status, again.body) == (200, {"session_id": "talk/1", "state": "empty", "erasure_id": None})
    world.tell("new", session_id="talk/1")
    world.api.quiet()
    world.check("one", "two")


def test_a_session_that_goes_quiet_is_gone_by_the_job(world: World) -> None:
    """And one that was heard of stays, whatever it tells of."""
    world.make({"session_only": True})
    world.tell("quiet", session_id="quiet", day=20)
    world.settle()
    assert wait_until(lambda: world.dry_run() == [counted(world, session=1)], seconds=20)
    world.tell("loud", session_id="loud")

    answer = world.api.good("POST", "/admin/retention", {"memory": world.memory})

    assert answer["items"] == [counted(world, session=1, erasures=1)]
    world.erased()
    world.check("quiet")


def test_elsewhere_the_end_of_a_session_changes_nothing(world: World) -> None:
    """It is accepted; a memory that there is not is not found, and who may only search may not."""
    world.make()
    world.tell("a", session_id="talk")
    world.api.quiet()
    kept = world.api.ask("POST", world.path("/sessions/talk/end"))
    assert (kept.status, kept.body["state"]) == (200, "kept")
    world.check()
    assert world.api.ask("POST", "/memories/nowhere/sessions/talk/end").status == 404


def test_a_memory_tells_what_it_keeps_and_takes_it_back(world: World) -> None:
    """Replaced whole, and null takes it away; other changes leave it as it is."""
    world.make({"max_age_days": 365, "kinds": {"episode": {"max_age_days": 90}}, "pinned_kinds": ["preference"]})
    whole = {
        "max_age_days": 365,
        "max_events": None,
        "kinds": {"episode": {"max_age_days": 90, "max_events": None}},
        "pinned_kinds": ["preference"],
        "session_only": False,
    }
    assert world.api.good("GET", world.path())["retention"] == whole
    assert world.api.good("PATCH", world.path(), {"description": "x"})["retention"] == whole
    changed = world.api.good("PATCH", world.path(), {"retention": {"session_only": True}})["retention"]
    assert changed == {"max_age_days": None, "max_events": None, "kinds": {}, "pinned_kinds": [], "session_only": True}
    assert world.api.good("PATCH", world.path(), {"retention": None})["retention"] is None


@pytest.mark.parametrize(
    ("said", "pointer"),
    [
        ({"max_age_days": 0}, "/retention/max_age_days"),
        ({"kinds": {"decision": {}}}, "/retention/kinds"),
        ({"kinds": {"note": {"max_events": 0}}}, "/retention/kinds"),
        ({"kinds": {"chunk": {"max_events": 5}}}, "/retention/kinds/chunk/max_events"),
        ({"pinned_kinds": ["vow"]}, "/retention/pinned_kinds"),
        ({"pinned_kinds": ["note"], "kinds": {"note": {"max_age_days": 1}}}, "/retention/kinds/note"),
    ],
)
def test_what_cannot_be_is_refused_with_a_pointer(brisk: Instance, said: Any, pointer: str) -> None:
    """Nothing is made of it."""
    with Api(lambda: brisk.url, lambda: brisk.token) as api:
        refused = api.ask("PUT", "/memories/impossible", {"retention": said})
        assert (refused.status, refused.body["errors"][0]["pointer"]) == (422, pointer)
        assert api.ask("GET", "/memories/impossible").status == 404


def test_a_killed_run_goes_on(world: World) -> None:
    """Whatever it had asked for is done by itself, and the next run finds the rest."""
    world.make({"max_events": 1})
    world.tell("a", "b", "c")
    world.settle()
    world.instance.terminate()
    world.instance.start({"KALENDS_FAILPOINTS": "retention.after-ask=kill", "KALENDS_RETENTION__BATCH_EVENTS": "1"})
    world.api.ask("POST", "/scheduler/jobs/retention/run")
    assert wait_until(lambda: not world.instance.running, seconds=30)
    world.instance.start()
    world.erased()

    world.retain()

    world.check("a", "b")


async def test_both_clients_and_the_command_line_say_the_same(world: World) -> None:
    """``kalends retention``, ``kalends session end``, and the rules of a memory."""
    with Kalends(world.instance.url, token=world.instance.token) as kalends:
        made = kalends.create_memory(world.memory, retention={"session_only": True, "max_events": 7})
        assert made.retention is not None
        world.tell("a", session_id="talk")
        world.api.quiet()
        assert kalends.run_retention(memory=world.memory, dry_run=True).dry_run
        assert kalends.memory(world.memory).end_session("talk").state == "hidden"
    async with AsyncKalends(world.instance.url, token=world.instance.token) as kalends_too:
        memory = kalends_too.memory(world.memory)
        assert (await memory.end_session("nothing")).state == "empty"
        world.erased()
        assert (await kalends_too.run_retention(memory=world.memory)).items == []
        assert (await memory.change(description="x")).retention is not None
        assert (await memory.change(retention=None)).retention is None
    world.check("a")
    cli = "cli" + world.memory[:10].rstrip("-")
    assert command(world, "memory", "create", cli, "--max-age-days", "30", "--pin", "preference")["retention"]["max_age_days"] == 30
    assert command(world, "memory", "show", cli)["retention"]["pinned_kinds"] == ["preference"]
    assert command(world, "retention", "--dry-run", "--memory", cli) == {"items": [], "dry_run": True}
    assert command(world, "session", "end", "talk", "--memory", cli) == {"session_id": "talk", "state": "kept", "erasure_id": None}


def command(world: World, *words: str) -> Any:
    """What a command prints."""
    where = ["--url", world.instance.url, "--token-file", str(world.instance.token_file), "--json"]
    line = [sys.executable, "-m", "kalends.app.cli", *words, *where]
    ran = subprocess.run(line, check=True, capture_output=True, timeout=60, env=clean_environment(), cwd=Path.cwd())
    return json.loads(ran.stdout)
