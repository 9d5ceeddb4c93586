"""Check 4: both projections are built anew while events come in and questions are asked; nobody notices.

``KALENDS_TEST_REBUILD_EVENTS`` and ``KALENDS_TEST_REBUILD_QUESTIONS`` make it as large as one likes.
"""

import os
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.platform.people import Person
from tests.support.api import Api
from tests.support.instance import Instance, wait_until

EVENTS = int(os.environ.get("KALENDS_TEST_REBUILD_EVENTS", "200"))
QUESTIONS = int(os.environ.get("KALENDS_TEST_REBUILD_QUESTIONS", "200"))
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


@contextmanager
def load(instance: Instance, *, reads: str, writes: str) -> Iterator[tuple[list[object], list[int]]]:
    """Ask and write until the end of the block; gives what went wrong and how many searches there were."""
    over = threading.Event()
    wrong: list[object] = []
    searches = [0]

    def ask() -> None:
        with Api(lambda: instance.url, lambda: instance.token, timeout=30) as api:
            for question in questions(100_000):
                if over.is_set():
                    return
                reply = api.ask("POST", f"{reads}/search", {"query": question, "timeout_ms": 20_000})
                searches[0] += 1
                if reply.status != 200 or reply.body["degraded"] or len(reply.body["hits"]) != 10:
                    wrong.append(reply)

    def write() -> None:
        with Api(lambda: instance.url, lambda: instance.token, timeout=30) as api:
            for sentence in sentences(100_000):
                if over.wait(0.05):
                    return
                reply = api.append(writes.rpartition("/")[2], [{"session_id": "load", "kind": "note", "text": sentence}])
                if reply.status != 202:
                    wrong.append(reply)

    threads = [threading.Thread(target=work) for work in (ask, ask, write)]
    for thread in threads:
        thread.start()
    try:
        yield wrong, searches
    finally:
        over.set()
        for thread in threads:
            thread.join(60)


def test_a_rebuild_under_load_changes_no_answer_and_fails_no_search(admin: Person) -> None:
    """The same ten events for each of the fixed questions, before, while both are rebuilt, and after; the digests agree."""
    memory = admin.make_memory("rebuilt")
    other = admin.make_memory("rebuilt-load")
    made = sentences(EVENTS)
    for start in range(0, EVENTS, 100):
        admin.remember(memory, *made[start : start + 100], session_id=f"s{start}")
    before = answers(admin, memory)
    generations = admin.good("GET", "/status")["generations"]

    with load(admin.instance, reads=memory, writes=other) as (wrong, searches):
        assert wait_until(lambda: searches[0] >= 5, seconds=30)
        asked = searches[0]
        operation = admin.good("POST", "/admin/reindexes", {"projection": "all"})["operation_id"]
        told: dict[str, object] = {}

        def ended() -> bool:
            told.update(admin.good("GET", f"/operations/{operation}"))
            return told["state"] not in {"queued", "running"}

        assert wait_until(ended, seconds=240, every=0.2), told
        asked = searches[0] - asked

    assert told["state"] == "succeeded"
    assert asked > 0
    assert wrong == []
    renewed = admin.good("GET", "/status")["generations"]
    assert {name for name in renewed if renewed[name] != generations[name]} == {"lexical", "vector"}
    with Api(lambda: admin.instance.url, lambda: admin.instance.token) as api:
        api.quiet()
        digests = api.digests()
    assert len(set(digests.values())) == 1, digests
    after = answers(admin, memory)
    assert {question for question in before if before[question] != after[question]} == set()


def test_a_second_start_serves_the_rebuilt_generation(admin: Person) -> None:
    """What is listed says how it went."""
    listed = admin.good("GET", "/operations")["items"]

    assert [one["state"] for one in listed if not one["dry_run"]][:1] == ["succeeded"]
