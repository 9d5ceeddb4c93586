"""Roles apart: ``serve ingest`` beside ``serve index search`` over one NATS, and the errors that say what does not go together."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.platform.people import Person
from tests.support.instance import Broker, Instance, NotStarted, wait_until


@dataclass(frozen=True, slots=True, kw_only=True)
class Halves:
    """The same person at the two processes."""

    writing: Person
    reading: Person


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory, prepared: Callable[[Path], Path]) -> Iterator[Halves]:
    """Two processes with a broker, a key and a token in common."""
    folder = tmp_path_factory.mktemp("split")
    shared = {"KALENDS_AUTH__KEY_FILE": str(folder / "common" / "kek"), "KALENDS_AUTH__TOKEN_FILE": str(folder / "common" / "token")}
    (folder / "common").mkdir(mode=0o700)
    with Broker(folder / "nats").start() as broker:
        settings = {**broker.settings, **shared}
        ingest = Instance(prepared(folder / "ingest"), roles=["ingest"], settings=settings)
        search = Instance(prepared(folder / "search"), roles=["index", "search"], settings=settings)
        with ingest, search, Person(ingest.start(), ingest.token) as writing, Person(search.start(), search.token) as reading:
            yield Halves(writing=writing, reading=reading)
            assert (ingest.terminate(), search.terminate()) == (0, 0)


@pytest.mark.parametrize("isolation", ["shared", "dedicated"])
def test_what_one_process_writes_the_other_finds(halves: Halves, isolation: str) -> None:
    """With the write's token of visibility, at once and by either arm."""
    memory = halves.writing.make_memory(f"split-{isolation}", isolation=isolation)
    events = [{"session_id": "s", "kind": "note", "text": text} for text in ("the cat sleeps in the sun", "a train leaves at nine")]
    told = halves.writing.ask("POST", f"{memory}/events", {"events": events})
    assert told.status_code == 202
    asked = {"query": "where does the pet nap?", "min_visibility": told.json()["visibility"], "timeout_ms": 20_000}
    answer = halves.reading.good("POST", f"{memory}/search", asked)

    assert answer["hits"][0]["text"] == "the cat sleeps in the sun"
    assert (answer["stale"], answer["degraded"]) == (False, [])
    assert [event["text"] for event in halves.reading.good("GET", f"{memory}/events")["items"]] == [event["text"] for event in events]


def test_each_process_answers_its_own_operations_and_no_others(halves: Halves) -> None:
    """A route of another role does not exist here; both tell the same tokens."""
    memory = halves.writing.make_memory("split")

    assert halves.writing.ask("POST", f"{memory}/search", {"query": "x"}).status_code == 404
    assert halves.reading.ask("POST", f"{memory}/events", {"events": []}).status_code in {404, 405}
    assert halves.writing.good("GET", "/status")["mode"] == "ingest"
    assert halves.reading.good("GET", "/status")["mode"] == "index+search"
    with halves.writing.with_token("search", memories=["split"]) as made, Person(halves.reading.instance, made.token) as there:
        assert there.ask("GET", f"{memory}/events").status_code == 200
        halves.writing.good("DELETE", f"/tokens/{made.token_id}")


def test_a_hand_over_in_one_process_is_heard_of_in_the_other(halves: Halves) -> None:
    """The one that answers refuses the former owner from then on, the other soon after; the new owner is let in by both."""
    path = halves.writing.make_memory("handed")
    halves.writing.remember(path, "something of before")
    there = halves.reading.instance
    with (
        halves.writing.with_token("admin", memories=["handed"]) as former,
        halves.writing.with_token("search", memories=["none"]) as new,
        Person(there, former.token) as former_there,
        Person(there, new.token) as new_there,
    ):
        assert former_there.found(path, "something") == ["something of before"]

        halves.writing.good("POST", f"{path}/hand-over", {"to": f"token:{new.token_id}"})

        assert former.ask("GET", path).status_code == 404
        assert wait_until(lambda: former_there.ask("GET", f"{path}/events").status_code == 404, seconds=10, every=0.01)
        assert former_there.ask("POST", f"{path}/search", {"query": "something"}).status_code == 404
        assert new_there.found(path, "something") == ["something of before"]
        assert new.good("GET", path)["owner"] == f"token:{new.token_id}"


def test_a_duplicate_is_known_and_a_document_replaced_across_processes(halves: Halves) -> None:
    """The writing process follows the log, not the other process."""
    memory = halves.writing.make_memory("split-documents")
    same = {"events": [{"event_id": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "session_id": "s", "kind": "note", "text": "once"}]}
    statuses = [halves.writing.good("POST", f"{memory}/events", same)["results"][0]["status"] for _ in range(2)]
    for text in ("# Colours\n\nThe door is red", "# Colours\n\nThe door is blue"):
        visibility = halves.writing.good("POST", f"{memory}/documents", {"document_id": "d", "text": text})["visibility"]
    asked = {"query": "colour of the door", "targets": ["documents"], "min_visibility": visibility, "timeout_ms": 20_000}
    hits = halves.reading.good("POST", f"{memory}/search", asked)["hits"]

    assert statuses == ["new", "duplicate"]
    assert ["blue" in hit["text"] for hit in hits] == [True]


@pytest.mark.parametrize(
    ("roles", "settings", "words"),
    [
        (["index"], {"KALENDS_LOG__URL": "nats://127.0.0.1:1"}, "serve them together"),
        (["ingest", "search"], {"KALENDS_LOG__URL": "nats://127.0.0.1:1"}, "serve them together"),
        (["ingest"], {}, "KALENDS_LOG__URL"),
        (["ingest"], {"KALENDS_LOG__URL": "nats://127.0.0.1:1", "KALENDS_LOG__PASSWORD_FILE": "/nowhere"}, "password_file"),
    ],
)
def test_roles_that_cannot_work_end_with_a_clear_error(tmp_path: Path, roles: list[str], settings: dict[str, str], words: str) -> None:
    """One line that says what to do, and an exit status of its own."""
    with Instance(tmp_path / "data", roles=roles, settings=settings) as instance, pytest.raises(NotStarted) as failed:
        instance.start()

    assert failed.value.code in {1, 2}, failed.value.words
    assert words in failed.value.words
    assert "Traceback" not in failed.value.words


def test_no_broker_at_the_url_ends_with_unavailable(tmp_path: Path) -> None:
    """Exit status 5, after the time for connecting."""
    settings = {"KALENDS_LOG__URL": "nats://127.0.0.1:1"}
    with Instance(tmp_path / "data", roles=["ingest"], settings=settings) as instance, pytest.raises(NotStarted) as failed:
        instance.start()

    assert failed.value.code == 5, failed.value.words
    assert "nats" in failed.value.words
