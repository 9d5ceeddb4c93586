"""Check 4: both projections are built anew while events come in and questions are asked; nobody notices.

``KALENDS_TEST_REBUILD_EVENTS`` and ``KALENDS_TEST_REBUILD_QUESTIONS`` make it as large as one likes.
"""

import os
import random
import threading
from typing import Self

from tests.platform.people import Person
from tests.support import verdicts
from tests.support.api import Api
from tests.support.instance import Instance, wait_until

EVENTS = int(os.environ.get("KALENDS_TEST_REBUILD_EVENTS", "200"))
QUESTIONS = int(os.environ.get("KALENDS_TEST_REBUILD_QUESTIONS", "200"))
PAUSE_S = 0.05
"""Between two writes of the load."""
WORDS = [
    "river",
    "stone",
    "lamp",
    "paper",
    "cloud",
    "engine",
    "garden",
    "winter",
    "bridge",
    "copper",
    "violin",
    "harbour",
    "mirror",
    "saffron",
    "ladder",
    "comet",
]
ACTS = ["found", "lost", "painted", "repaired", "bought", "forgot", "described", "measured", "borrowed", "hid"]


def sentences(count: int) -> list[str]:
    """Different sentences, the same in every run."""
    chosen = random.Random(4)
    found = []
    for number in range(count):
        what, near, and_near = chosen.choice(WORDS), chosen.choice(WORDS), chosen.choice(WORDS)
        found.append(f"On day {number} we {chosen.choice(ACTS)} the {what} near the {near} and the {and_near}")
    return found


def questions(count: int) -> list[str]:
    """Different questions, the same in every run."""
    chosen = random.Random(5)
    return [f"who {chosen.choice(ACTS)} a {chosen.choice(WORDS)} by the {chosen.choice(WORDS)}, day {number}?" for number in range(count)]


def answers(person: Person, memory: str) -> dict[str, list[str]]:
    """The top ten of every question."""
    found = {}
    for question in questions(QUESTIONS):
        answer = person.good("POST", f"{memory}/search", {"query": question, "limit": 10, "timeout_ms": 20_000})
        assert answer["degraded"] == []
        found[question] = [hit["id"] for hit in answer["hits"]]
    return found


class Load:
    """Two who ask *reads* and one who writes to *writes*, until the end of the block; notes what went wrong, and how many searches."""

    def __init__(self, instance: Instance, *, reads: str, writes: str) -> None:
        self.wrong: list[object] = []
        self.searches = 0
        self._instance = instance
        self._reads = reads
        self._writes = writes
        self._over = threading.Event()
        self._threads = [threading.Thread(target=work) for work in (self._ask, self._ask, self._write)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    def _ask(self) -> None:
        with self._api() as api:
            for question in questions(100_000):
                if self._over.is_set():
                    return
                reply = api.ask("POST", f"{self._reads}/search", {"query": question, "timeout_ms": 20_000})
                self.searches += 1
                if reply.status != 200 or reply.body["degraded"] or len(reply.body["hits"]) != 10:
                    self.wrong.append(reply)

    def _write(self) -> None:
        with self._api() as api:
            for sentence in sentences(100_000):
                if self._over.wait(PAUSE_S):
                    return
                reply = api.append(self._writes.rpartition("/")[2], [{"session_id": "load", "kind": "note", "text": sentence}])
                if reply.status != 202:
                    self.wrong.append(reply)

    def _api(self) -> Api:
        return Api(lambda: self._instance.url, lambda: self._instance.token, timeout=30)


def test_a_rebuild_under_load_changes_no_answer_and_fails_no_search(admin: Person) -> None:
    """The same ten events for each of the fixed questions, before, while both are rebuilt, and after; the digests agree."""
    memory = admin.make_memory("rebuilt")
    other = admin.make_memory("rebuilt-load")
    made = sentences(EVENTS)
    for start in range(0, EVENTS, 100):
        admin.remember(memory, *made[start : start + 100], session_id=f"s{start}")
    before = answers(admin, memory)
    generations = admin.good("GET", "/status")["generations"]

    with Load(admin.instance, reads=memory, writes=other) as work:
        assert wait_until(lambda: work.searches >= 5, seconds=30)
        asked = work.searches
        operation = admin.good("POST", "/admin/reindexes", {"projection": "all"})["operation_id"]
        told: dict[str, object] = {}

        def ended() -> bool:
            told.update(admin.good("GET", f"/operations/{operation}"))
            return told["state"] not in {"queued", "running"}

        assert wait_until(ended, seconds=240, every=0.2), told
        asked = work.searches - asked

    assert told["state"] == "succeeded"
    assert asked > 0
    assert work.wrong == []
    renewed = admin.good("GET", "/status")["generations"]
    assert {name for name in renewed if renewed[name] != generations[name]} == {"lexical", "vector"}
    with Api(lambda: admin.instance.url, lambda: admin.instance.token) as api:
        api.quiet()
        verdicts.projections_agree(api)
    after = answers(admin, memory)
    assert {question for question in before if before[question] != after[question]} == set()


def test_a_second_start_serves_the_rebuilt_generation(admin: Person) -> None:
    """What is listed says how it went."""
    listed = admin.good("GET", "/operations")["items"]

    assert [one["state"] for one in listed if not one["dry_run"]][:1] == ["succeeded"]
