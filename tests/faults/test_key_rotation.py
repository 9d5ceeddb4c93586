"""The key-encryption key is rotated while a whole instance serves, and while it is killed: no request fails, and nothing needs the old key.

Belongs here: the rotation as an operator runs it, from the new key file to the old one's end. Does not belong here: its steps
(``tests/services/test_rotating``). A newcomer would get wrong: without kills each request must succeed at its first try.
"""

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.support import verdicts
from tests.support.api import Away
from tests.support.instance import Instance, wait_until
from tests.support.load import writing

from kalends.adapters.embedded.kek import add_successor

MEMORY = "keys"
LOADED = "load"
SESSIONS = int(os.environ.get("KALENDS_TEST_ROTATION_SESSIONS", "400"))
QUICK = {"KALENDS_KEYS__RELOAD_S": "0.5"}
ROTATION_S = 120.0


@dataclass
class Reader:
    """Reads one event of an old session after the other; ``failures`` are answers that were none of a success."""

    asked: int = 0
    failures: list[object] = field(default_factory=list)


@contextlib.contextmanager
def reading(instance: Instance, ids: list[str]) -> Iterator[Reader]:
    """Somebody who reads until the end of the block."""
    told, stop = Reader(), threading.Event()

    def read() -> None:
        with verdicts.api_of(instance) as api:
            while not stop.is_set():
                for event_id in ids[:: max(1, len(ids) // 50)]:
                    try:
                        reply = api.event(MEMORY, event_id)
                        if reply.status != 200:
                            told.failures.append(reply)
                    except Away as error:
                        told.failures.append(error)
                    told.asked += 1

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield told
    finally:
        stop.set()
        thread.join()


@pytest.fixture
def filled(instance: Instance) -> Iterator[tuple[Instance, list[str]]]:
    """An instance with an event in each of many sessions, and their ids."""
    started = Instance(instance.data, settings=QUICK)
    with started:
        started.start()
        ids: list[str] = []
        with verdicts.api_of(started) as api:
            api.make_memory(MEMORY)
            api.make_memory(LOADED)
            for start in range(0, SESSIONS, 200):
                events = [
                    {"session_id": f"old-{number}", "kind": "message", "role": "user", "text": f"said in {number}"}
                    for number in range(start, start + 200)
                ]
                reply = api.append(MEMORY, events)
                assert reply.status == 202, reply
                ids += [one["event_id"] for one in reply.body["results"]]
        yield started, ids


def begin(instance: Instance) -> str:
    """Make the next key file and ask for the rotation; the operation."""
    add_successor(instance.data / "keys" / "kek")
    with verdicts.api_of(instance) as api:
        operation: str = api.good("POST", "/admin/key-rotations", {})["operation_id"]
    return operation


def check(instance: Instance, ids: list[str], result: str, first: Path) -> None:
    """Nothing needs the first key any more: without its file the instance starts, and every event is there."""
    assert "no older key-encryption key is needed" in result, result
    assert instance.terminate() == 0, instance.last_words
    first.unlink()
    instance.start()
    with verdicts.api_of(instance) as api:
        assert [api.event(MEMORY, event_id).status for event_id in ids[::25]] == [200] * len(ids[::25])
        api.run_job("key-check")
        told = [one for one in api.status()["dependencies"] if "key" in one["name"]]
        assert {one["name"]: one["state"] for one in told} == {"keys": "up", "key-encryption keys": "up"}, told


def test_under_load_no_request_fails(filled: tuple[Instance, list[str]]) -> None:
    """Writers make keys and readers open them; doctor's source, the status, tells what was wrapped."""
    instance, ids = filled
    with reading(instance, ids) as reader, writing(lambda: verdicts.api_of(instance), memory=LOADED, seed=3) as ledger:
        operation = begin(instance)
        with verdicts.api_of(instance) as api:
            result = api.finished(operation, seconds=ROTATION_S)["result"]
        acked = ledger.requests
        assert wait_until(lambda: ledger.requests > acked + 5 and reader.asked > 50, seconds=30)

    assert reader.failures == []
    assert ledger.tries == ledger.requests
    with verdicts.api_of(instance) as api:
        told = next(one for one in api.status()["dependencies"] if one["name"] == "key-encryption keys")
        assert (told["state"], "version 2" in told["detail"]) == ("up", True)
    check(instance, ids, result, instance.data / "keys" / "kek")


def test_a_kill_in_the_middle_and_another_change_nothing(filled: tuple[Instance, list[str]]) -> None:
    """The rotation goes on by itself after each start, and ends."""
    instance, ids = filled
    with writing(lambda: verdicts.api_of(instance), memory=LOADED, seed=4) as ledger:
        operation = begin(instance)
        for share in (0.1, 0.5):
            with verdicts.api_of(instance) as api:
                far = wait_until(lambda share=share, api=api: how_far(api, operation) >= share, seconds=30, every=0.005)  # type: ignore[misc]
            assert far
            instance.kill()
            instance.start()
        with verdicts.api_of(instance) as api:
            result = api.finished(operation, seconds=ROTATION_S)["result"]

    with verdicts.api_of(instance) as api:
        api.quiet(seconds=60)
    verdicts.nothing_lost(instance, ledger, memory=LOADED)
    check(instance, ids, result, instance.data / "keys" / "kek")


def how_far(api: verdicts.Api, operation: str) -> float:
    """The share of the keys that was looked at; all of them once it has ended."""
    told = api.good("GET", f"/operations/{operation}")
    return 1.0 if told["state"] == "succeeded" else told["done"] / max(1, told["total"])
