"""Forgetting in a whole instance: nothing of what was erased is left in any answer or file, and everything else is still found."""

import itertools
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.support.api import Api, Reply
from tests.support.files import contents
from tests.support.instance import Instance, wait_until
from tests.support.load import AGAIN

SESSIONS = 4
EVENTS = 12
"""Of each session."""

MOMENT = "2026-01-{day:02d}T10:{minute:02d}:00Z"
SETTINGS = {"KALENDS_SUMMARIZE__SETTLE_S": "0", "KALENDS_ERASURE__FENCE_S": "0.5"}
AWHILE = 90.0


@dataclass(kw_only=True)
class World:
    """A memory of its own, and what was told to it: canaries by the event's id."""

    instance: Instance
    api: Api
    memory: str
    isolation: str = "shared"
    told: dict[str, dict[str, Any]] = field(default_factory=dict)

    def path(self, rest: str = "") -> str:
        """A path below the memory."""
        return f"/memories/{self.memory}{rest}"

    def tell(self) -> None:
        """Some sessions, each on a day of its own, with a canary in each event; and the calendar of them."""
        self.api.make_memory(self.memory, isolation=self.isolation)
        items = [self._event(session, number) for session in range(SESSIONS) for number in range(EVENTS)]
        reply = self.append(items)
        assert reply.status == 202, reply
        self.told = {one["event_id"]: item for one, item in zip(reply.body["results"], items, strict=True)}
        self.api.quiet()
        self.api.run_job("toc-day")
        self.api.quiet()

    def append(self, items: Sequence[Mapping[str, Any]]) -> Reply:
        """Append, again while the instance says so: a session takes nothing until it is known that its erasure is over."""
        replies: list[Reply] = []

        def taken() -> bool:
            replies.append(self.api.append(self.memory, items))
            return replies[-1].status not in AGAIN

        assert wait_until(taken, seconds=AWHILE, every=0.1), replies[-1]
        return replies[-1]

    def _event(self, session: int, number: int) -> dict[str, Any]:
        canary = self.canary(session, number)
        return {
            "session_id": f"{self.memory}-session-{session}",
            "kind": "message",
            "text": f"{canary} told of the river {session} and of stone {number}",
            "actor": f"{self.memory}-actor-{number % 3}",
            "occurred_at": MOMENT.format(day=10 + session, minute=number),
            "metadata": {"label": f"label-{number % 4}"},
            "labels": ["blue"] if number == 5 else [],
        }

    def canary(self, session: int, number: int) -> str:
        """A word that occurs in one event only."""
        return f"zz{self.memory}q{session}w{number}zz"

    def erase(self, selector: Mapping[str, Any]) -> dict[str, Any]:
        """Erase, and wait for the end."""
        begun = self.api.ask("POST", self.path("/erasures"), selector)
        assert begun.status == 202, begun
        assert begun.body["state"] == "hidden"
        return self.erased(begun.body["erasure_id"])

    def erased(self, erasure_id: str) -> dict[str, Any]:
        """Wait for the end of an erasure."""
        told: dict[str, Any] = {}

        def over() -> bool:
            told.update(self.api.good("GET", self.path(f"/erasures/{erasure_id}")))
            return told["state"] == "erased"

        assert wait_until(over, seconds=AWHILE, every=0.1), (told, self.instance.last_words[-4000:])
        return told

    def gone(self, selector: str) -> set[str]:
        """The ids that each selector of the test means."""
        return {event_id for event_id, item in self.told.items() if MEANT[selector](self, event_id, item)}

    def search(self, word: str) -> list[str]:
        """The ids that a word finds by BM25."""
        body = {"query": word, "mode": "lexical", "limit": 10}
        return [hit["id"] for hit in self.api.good("POST", self.path("/search"), body)["hits"]]

    def check(self, gone: set[str]) -> None:
        """What is gone is in no answer; all the rest is."""
        left = {event["event_id"] for event in self.api.events(self.memory)}
        assert left == self.told.keys() - gone
        for event_id, item in self.told.items():
            status = 410 if event_id in gone else 200
            assert self.api.event(self.memory, event_id).status == status, item
        for event_id in sorted(self.told)[::7]:
            canary = self.told[event_id]["text"].split()[0]
            assert (event_id in self.search(canary)) is (event_id not in gone)
        canaries = {self.told[event_id]["text"].split()[0] for event_id in gone}
        said = str([*self.every_node(), self.api.good("GET", self.path("/sessions")), self.api.good("GET", self.path())])
        assert not [canary for canary in canaries if canary in said]

    def every_node(self) -> Iterator[Any]:
        """Every node of the calendar, in every version that can be read."""
        todo = [one["node_id"] for one in self.api.good("GET", self.path("/toc"))["items"]]
        for node_id in todo:  # grows while it is walked
            node = self.api.good("GET", self.path(f"/toc/{node_id}"))
            yield node
            for number in range(1, node["newest_version"]):
                version = self.api.ask("GET", self.path(f"/toc/{node_id}?version={number}"))
                assert version.status in {200, 404, 410}, version
                yield version.body
            if node["level"] != "segment":
                todo += [one["node_id"] for one in self.api.good("GET", self.path(f"/toc/{node_id}/children"))["items"]]


SELECTORS: Mapping[str, Any] = {
    "event_ids": lambda world: {"event_ids": sorted(world.told)[3:9]},
    "session_id": lambda world: {"session_id": f"{world.memory}-session-1"},
    "actor": lambda world: {"actor": f"{world.memory}-actor-2"},
    "range": lambda _: {"from": MOMENT.format(day=11, minute=6), "to": MOMENT.format(day=12, minute=3)},
    "metadata": lambda _: {"metadata": {"label": "label-3"}},
    "label": lambda _: {"label": "blue"},
    "everything": lambda _: {"everything": True},
}
MEANT: Mapping[str, Any] = {
    "event_ids": lambda world, event_id, _: event_id in sorted(world.told)[3:9],
    "session_id": lambda world, _, item: item["session_id"] == f"{world.memory}-session-1",
    "actor": lambda world, _, item: item["actor"] == f"{world.memory}-actor-2",
    "range": lambda _, __, item: MOMENT.format(day=11, minute=6) <= item["occurred_at"] < MOMENT.format(day=12, minute=3),
    "metadata": lambda _, __, item: item["metadata"]["label"] == "label-3",
    "label": lambda _, __, item: "blue" in item["labels"],
    "everything": lambda _, __, ___: True,
}


@pytest.fixture
def isolation() -> str:
    """What kind of memory it is, unless a test is for both kinds."""
    return "shared"


BOTH = pytest.mark.parametrize("isolation", ["shared", "dedicated"])


@pytest.fixture
def world(request: pytest.FixtureRequest, brisk: Instance, isolation: str) -> Iterator[World]:
    """A memory named after the test."""
    if not brisk.running:
        brisk.start()
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_"))[-30:].strip("-")
    with Api(lambda: brisk.url, lambda: brisk.token) as api:
        made = World(instance=brisk, api=api, memory=name, isolation=isolation)
        made.tell()
        yield made


def left_in_files(folder: Path, words: set[str]) -> list[str]:
    """The files below *folder* that hold one of *words*, in any case: what is not compressed or sealed."""
    found = []
    wanted = [word.lower().encode() for word in words]
    for path, content in contents(folder):
        folded = content.lower()
        found += [str(path.relative_to(folder)) for word in wanted if word in folded][:1]
    return found


@pytest.mark.parametrize(
    ("selector", "isolation"),
    [
        *((selector, "shared") for selector in SELECTORS),
        *((selector, "dedicated") for selector in ("session_id", "event_ids", "everything")),
    ],
)
def test_what_is_erased_is_in_no_answer_and_no_file_and_the_rest_is_found(world: World, selector: str) -> None:
    """By each selector; and what is written again under the same ids is refused."""
    gone = world.gone(selector)
    canaries = {world.told[event_id]["text"].split()[0] for event_id in gone}
    assert gone
    assert world.api.good("POST", world.path("/erasures"), {**SELECTORS[selector](world), "dry_run": True})["counts"]["events"] == len(gone)

    told = world.erase(SELECTORS[selector](world))

    world.api.quiet()
    world.check(gone)
    assert told["counts"]["timeline"] == told["counts"]["lexical"] == told["counts"]["vector"] == len(gone)
    assert left_in_files(world.instance.data, canaries) == []
    again = world.append([{**world.told[event_id], "event_id": event_id} for event_id in sorted(gone)])
    assert again.status == 422
    assert {fault["code"] for fault in again.body["errors"]} == {"erased"}


@BOTH
def test_neither_rebuild_brings_anything_back(world: World) -> None:
    """Of the projections from the log, and of the calendar."""
    gone = world.gone("session_id") | world.gone("event_ids")
    world.erase(SELECTORS["session_id"](world))
    world.erase(SELECTORS["event_ids"](world))

    world.api.rebuild()
    world.api.rebuild_calendar()
    world.api.quiet()

    world.check(gone)


def test_whatever_was_acknowledged_while_its_session_was_erased_is_readable_or_erased(world: World) -> None:
    """Also after a restart, when no process has a key at hand that is gone from the store."""
    session = f"{world.memory}-session-1"
    acked: list[str] = []
    over = threading.Event()

    def write() -> None:
        with Api(lambda: world.instance.url, lambda: world.instance.token) as api:
            for number in itertools.count():
                item = {"session_id": session, "kind": "message", "text": f"word {number}"}
                reply = api.append(world.memory, [item])
                if reply.status == 202:
                    acked.append(reply.body["results"][0]["event_id"])
                assert reply.status in {202, 503}, reply
                if over.is_set() and reply.status == 202:
                    return

    with ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(write) for _ in range(2)]
        try:
            assert wait_until(lambda: len(acked) > 4, seconds=30)
            world.erase({"session_id": session})
        finally:
            over.set()
        for writer in writers:
            writer.result(timeout=60)
    world.api.quiet()
    world.instance.terminate()
    world.instance.start()

    found = {event_id: world.api.event(world.memory, event_id).status for event_id in acked}
    assert set(found.values()) == {200, 410}
    assert [found[acked[-1]], world.api.ask("GET", world.path(f"/sessions/{session}")).status] == [200, 200]


def test_the_calendar_has_a_new_version_without_what_was_erased(world: World) -> None:
    """And the old version does not show it any more."""
    day = "/toc/toc:day:2026-01-11"
    before = world.api.good("GET", world.path(day))
    grip = before["bullets"][0]["grips"][0]

    world.erase({"event_ids": [grip["first_event_id"]]})

    after = world.api.good("GET", world.path(day))
    assert after["version"] > before["version"]
    assert grip["excerpt"] not in str(after)
    assert world.api.ask("GET", world.path(f"{day}?version={before['version']}")).status in {404, 410}
    assert world.api.ask("GET", world.path(f"/grips/{grip['grip_id']}")).status in {404, 410}


@BOTH
def test_a_document_is_erased_with_its_chunks(world: World) -> None:
    """Its session is its own."""
    text = "# River\n\nzzdocumentcanaryzz flows.\n\n# Stone\n\nzzanothercanaryzz lies still.\n"
    world.api.good("POST", world.path("/documents"), {"document_id": "guide", "text": text})
    world.api.quiet()

    told = world.erase({"document_id": "guide"})

    assert told["counts"]["documents"] == 1
    assert world.api.good("GET", world.path("/documents"))["items"] == []
    assert left_in_files(world.instance.data, {"zzdocumentcanaryzz", "zzanothercanaryzz"}) == []
    world.check(set())


@BOTH
def test_a_memory_is_erased_with_its_name(world: World) -> None:
    """It can be made anew, of the same kind and no other, and is empty then; what is written to it is found."""
    begun = world.api.ask("DELETE", world.path())
    assert begun.status == 202
    world.erased(begun.body["erasure_id"])

    assert world.api.ask("GET", world.path()).status == 404
    other = {"shared": "dedicated", "dedicated": "shared"}[world.isolation]
    refused = world.api.ask("PUT", world.path(), {"isolation": other})
    assert (refused.status, refused.body["code"]) == (409, "conflict")
    assert world.api.ask("GET", world.path()).status == 404
    world.api.make_memory(world.memory, isolation=world.isolation)
    assert world.api.good("GET", world.path())["events"] == 0
    assert list(world.api.events(world.memory)) == []
    world.tell()
    world.check(set())


@BOTH
def test_a_session_can_be_used_again_after_its_erasure(world: World) -> None:
    """With a new key; what is written then survives a restart."""
    session = f"{world.memory}-session-1"
    world.erase({"session_id": session})

    item = {"session_id": session, "kind": "message", "text": "zznewlifezz after all", "occurred_at": MOMENT.format(day=11, minute=30)}
    written = world.append([item])
    assert written.status == 202, written
    world.api.quiet()
    world.instance.terminate()
    world.instance.start()

    assert world.api.event(world.memory, written.body["results"][0]["event_id"]).body["text"] == item["text"]


def test_what_is_only_hidden_can_be_shown_again(world: World) -> None:
    """Until the time is over, and nothing is lost by it."""
    gone = world.gone("session_id")
    begun = world.api.ask("POST", world.path("/erasures"), {**SELECTORS["session_id"](world), "undo_s": 3600}).body
    assert begun["undoable"]

    assert {world.api.event(world.memory, event_id).status for event_id in gone} == {404}
    assert not [hit for event_id in gone for hit in world.search(world.told[event_id]["text"].split()[0]) if hit in gone]
    assert not [node for node in world.every_node() if f"zz{world.memory}q1w" in str(node)]

    undone = world.api.good("DELETE", world.path(f"/erasures/{begun['erasure_id']}"))
    assert undone["state"] == "undone"
    world.check(set())
    assert world.api.ask("DELETE", world.path(f"/erasures/{begun['erasure_id']}")).status == 409


def test_a_hold_wins_and_says_its_name(world: World) -> None:
    """Over what overlaps it, by whatever it is named; not over anything else."""
    world.api.good("PUT", world.path("/holds/case-7"), {"session_id": f"{world.memory}-session-1"})

    for selector in ("session_id", "actor", "everything", "range", "metadata"):
        refused = world.api.ask("POST", world.path("/erasures"), SELECTORS[selector](world))
        assert (refused.status, refused.body["code"]) == (409, "held"), selector
        assert "case-7" in refused.body["detail"]
    world.erase({"session_id": f"{world.memory}-session-2"})
    world.api.good("DELETE", world.path("/holds/case-7"))
    world.erase(SELECTORS["session_id"](world))


def test_a_receipt_is_good_without_a_server_and_bad_once_it_is_changed(world: World, tmp_path: Path) -> None:
    """``kalends forget --verify``."""
    told = world.erase(SELECTORS["session_id"](world))
    receipt = world.api.ask("GET", world.path(f"/erasures/{told['erasure_id']}/receipt"))
    assert receipt.status == 200
    assert f"{world.memory}-session" not in str(receipt.body)

    assert verified(receipt, tmp_path) == 0
    assert verified(Reply(status=200, body={**receipt.body, "counts": {**receipt.body["counts"], "keys": 0}}, headers={}), tmp_path) == 1
    assert verified(receipt, tmp_path, key="00" * 32) == 1
    assert verified(receipt, tmp_path, key=receipt.body["key"]) == 0


def verified(receipt: Reply, folder: Path, *, key: str = "") -> int:
    """The exit status of the command."""
    path, trusted = folder / "receipt.json", folder / "key"
    path.write_text(json.dumps(receipt.body, indent=2), encoding="utf-8")
    trusted.write_text(key, encoding="ascii")
    command = [sys.executable, "-m", "kalends.app.cli", "forget", "--verify", str(path), *(["--key", str(trusted)] if key else [])]
    return subprocess.run(command, check=False, capture_output=True, timeout=60).returncode


def test_it_is_hidden_within_a_second_and_unreadable_and_erased_soon(world: World) -> None:
    """The answer to the request comes after it is hidden; the rest in the order of the states."""
    event_id = min(world.gone("session_id"))
    begun = world.api.ask("POST", world.path("/erasures"), SELECTORS["session_id"](world)).body

    assert world.api.event(world.memory, event_id).status == 404
    told = world.erased(begun["erasure_id"])
    assert sorted(told["times"], key=lambda state: told["times"][state]) == ["hidden", "unreadable", "erased"]
