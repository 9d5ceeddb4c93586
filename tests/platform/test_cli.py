"""The command line against a real instance, as people and scripts use it."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.instance import Instance, clean_environment, wait_until

EVENTS = [
    {"text": "The harbour pilot boards at pier nine.", "session_id": "harbour", "kind": "note", "occurred_at": "2026-05-01T08:00:00Z"},
    {"text": "Tugs are ordered for the afternoon tide.", "session_id": "harbour", "kind": "note", "occurred_at": "2026-05-01T09:00:00Z"},
    {"text": "Fog delays the ferry until noon.", "session_id": "harbour", "kind": "note", "occurred_at": "2026-05-02T08:00:00Z"},
]


class Shell:
    """Runs ``kalends`` beside an instance, the way a terminal would."""

    def __init__(self, data: Path) -> None:
        self.data = data

    def __call__(self, *arguments: str, code: int = 0, typed: str | None = None) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "kalends.app.cli", *arguments],
            capture_output=True,
            text=True,
            check=False,
            input=typed or "",
            timeout=120,
            env=clean_environment() | {"KALENDS_DATA": str(self.data)},
        )
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *arguments: str, code: int = 0, typed: str | None = None):
        return json.loads(self(*arguments, code=code, typed=typed).stdout)


@pytest.fixture(scope="module")
def running(tmp_path_factory, prepared) -> Iterator[Instance]:
    """One instance for the whole file."""
    with Instance(prepared(tmp_path_factory.mktemp("cli") / "data")) as started:
        yield started.start()
        assert started.terminate() == 0
        assert started.left_running() == []


@pytest.fixture(scope="module")
def kalends(running) -> Shell:
    """``kalends`` that finds the instance by its own files."""
    return Shell(running.data)


@pytest.fixture(scope="module")
def harbour(kalends, tmp_path_factory) -> dict:
    """A memory with three events that can be found."""
    file = tmp_path_factory.mktemp("files") / "harbour.jsonl"
    file.write_text("".join(json.dumps(event) + "\n" for event in EVENTS))
    report = kalends.json("ingest", str(file), "--memory", "harbour")
    assert wait_until(lambda: len(kalends.json("search", "pilot tugs ferry", "--memory", "harbour")["hits"]) == 3, seconds=60)
    return {"file": str(file), "report": report}


def test_what_was_added_is_found(kalends):
    """From a first word to a first answer, in a memory that nobody had made."""
    added = kalends.json("add", "The spare key is under the blue flowerpot", "--actor", "ana")

    assert added["status"] == "new"
    assert wait_until(lambda: [hit["id"] for hit in kalends.json("search", "flowerpot")["hits"]] == [added["event_id"]], seconds=60)


def test_a_file_is_stored_once_however_often_it_is_ingested(kalends, harbour):
    """Dated lines carry their identity."""
    again = kalends.json("ingest", harbour["file"], "--memory", "harbour")

    assert harbour["report"]["events"] == {"new": 3, "duplicate": 0, "rejected": 0}
    assert again["events"] == {"new": 0, "duplicate": 3, "rejected": 0}


def test_a_bad_line_costs_the_exit_code_and_not_its_neighbours(kalends):
    """A syntax error, an unknown kind and a good line, from standard input."""
    lines = ["{", json.dumps(EVENTS[0] | {"kind": "gossip"}), json.dumps(EVENTS[1])]

    report = kalends.json("ingest", "-", "--memory", "mixed", code=1, typed="\n".join(lines))

    assert report["events"] == {"new": 1, "duplicate": 0, "rejected": 2}
    assert [(one["line"], one["reason"].split(":")[0]) for one in report["rejected"]] == [(1, "is not a JSON object"), (2, "/kind")]


def test_a_search_can_be_limited_in_time(kalends, harbour):
    """Days are of UTC; the end is not included."""
    found = kalends.json("search", "pilot tugs ferry", "--memory", "harbour", "--from", "2026-05-02", "--to", "2026-05-03")

    assert [hit["text"] for hit in found["hits"]] == ["Fog delays the ferry until noon."]


def test_events_are_listed_as_they_happened(kalends, harbour):
    """One JSON object per line, so that a pipe need not hold them all."""
    lines = kalends("events", "--memory", "harbour", "--all", "--order", "desc").stdout.splitlines()

    assert [json.loads(line)["text"] for line in lines] == [event["text"] for event in reversed(EVENTS)]


def test_an_event_comes_with_its_neighbours(kalends, harbour):
    """The evidence around a hit."""
    middle = kalends.json("events", "--memory", "harbour", "--limit", "3")["items"][1]

    found = kalends.json("event", middle["event_id"], "--memory", "harbour", "--before", "1", "--after", "1")

    assert [one["text"] for one in (*found["before"], found, *found["after"])] == [event["text"] for event in EVENTS]


def test_sessions_are_listed_and_shown(kalends, harbour):
    """With their counts and times."""
    (listed,) = kalends.json("sessions", "--memory", "harbour")["items"]

    assert (listed["session_id"], listed["events"]) == ("harbour", 3)
    assert kalends.json("sessions", "harbour", "--memory", "harbour") == listed


def test_a_context_stays_within_its_tokens(kalends, harbour):
    """And names the events that it shows."""
    found = kalends.json("context", "ferry", "--memory", "harbour", "--max-tokens", "200")

    assert found["tokens"] <= 200
    assert found["ids"]


def test_documents_are_found_by_what_they_say(kalends, tmp_path):
    """A folder of Markdown; the same again changes nothing."""
    (tmp_path / "guide.md").write_text("# Lighthouse\n\nThe lamp of the lighthouse is wound up every evening at six.\n")

    kalends("memory", "create", "papers")
    first = kalends.json("ingest", str(tmp_path), "--memory", "papers")
    again = kalends.json("ingest", str(tmp_path), "--memory", "papers")

    assert (first["documents"]["new"], again["documents"]["unchanged"]) == (1, 1)
    assert wait_until(
        lambda: [hit["document_id"] for hit in kalends.json("search", "lamp", "--documents", "--memory", "papers")["hits"]] == ["guide.md"],
        seconds=60,
    )


def test_a_token_can_do_what_it_was_made_for_and_nothing_else(kalends, harbour, tmp_path):
    """Search in one memory: not write there (4), not read elsewhere (3), and nothing once it is revoked (4)."""
    out = tmp_path / "reader.token"
    made = kalends.json(
        "token", "create", "--for", "harbour", "--right", "search", "--label", "reader", "--expires-in", "1h", "--out", str(out)
    )

    assert kalends.json("search", "ferry", "--memory", "harbour", "--token-file", str(out))["hits"]
    kalends("add", "x", "--memory", "harbour", "--token-file", str(out), code=4)
    kalends("search", "x", "--memory", "default", "--token-file", str(out), code=3)
    kalends("token", "list", "--token-file", str(out), code=4)
    assert "reader" in [token["label"] for token in kalends.json("token", "list")["items"]]
    kalends("token", "revoke", made["token_id"])
    kalends("search", "ferry", "--memory", "harbour", "--token-file", str(out), code=4)


def test_memories_are_made_shown_and_listed(kalends):
    """Making one twice is no error."""
    kalends("memory", "create", "empty", "--description", "nothing in it")
    made = kalends.json("memory", "create", "empty")

    assert (made["name"], made["description"]) == ("empty", "nothing in it")
    assert kalends.json("memory", "show", "empty")["events"] == 0
    assert "empty" in [memory["name"] for memory in kalends.json("memory", "list")["items"]]
    kalends("memory", "show", "no-such-memory", code=3)


def test_a_memory_may_be_dedicated_and_stays_so(kalends):
    """Asked for by an option; another word later is a conflict, and none changes nothing."""
    made = kalends.json("memory", "create", "alone", "--isolation", "dedicated")
    again = kalends.json("memory", "create", "alone")

    assert (made["isolation"], again["isolation"]) == ("dedicated", "dedicated")
    kalends("memory", "create", "alone", "--isolation", "shared", code=1)


def test_a_rebuild_can_be_waited_for(kalends, harbour):
    """And the answers are the same afterwards."""
    before = kalends.json("search", "pilot tugs ferry", "--memory", "harbour")["hits"]

    assert kalends.json("admin", "reindex", "--wait")["state"] == "succeeded"
    assert [hit["id"] for hit in kalends.json("search", "pilot tugs ferry", "--memory", "harbour")["hits"]] == [hit["id"] for hit in before]


def test_stores_can_be_compacted(kalends, harbour):
    """While they serve, and the answers stay the same."""
    before = kalends.json("search", "pilot tugs ferry", "--memory", "harbour")["hits"]

    ended = kalends.json("admin", "compact", "--wait")

    assert (ended["kind"], ended["state"]) == ("compaction", "succeeded")
    assert "timeline" in ended["result"]
    alone = kalends.json("admin", "compact", "--store", "vector", "--wait")
    assert alone["result"].startswith("vector: ")
    assert "timeline" not in alone["result"]
    assert kalends.json("search", "pilot tugs ferry", "--memory", "harbour")["hits"] == before


def test_a_migration_says_what_it_takes_and_what_cannot_be(kalends):
    """There is one format so far: staying takes nothing, and every other way is refused with words."""
    assert kalends.json("status")["format"] == 1
    done = kalends.json("admin", "migrate", "--from", "1", "--to", "1", "--dry-run")
    assert done == {"from": 1, "to": 1, "steps": [], "rollback": True, "dry_run": True}

    refused = kalends("admin", "migrate", "--from", "1", "--to", "2", code=1)
    assert "knows nothing of 2" in refused.stderr


def test_status_statistics_and_dead_letters_are_there(kalends, harbour):
    """What an operator looks at first."""
    assert kalends.json("status")["state"] == "up"
    assert {"lag", "generations", "memories"} <= set(kalends.json("admin", "stats"))
    assert kalends.json("dead-letters", "list")["items"] == []
    kalends("dead-letters", "replay", "nothing", code=3)


def test_the_doctor_finds_a_running_instance_healthy(kalends):
    """Each dependency by name."""
    report = kalends.json("doctor")

    assert report["healthy"] is True
    assert {"data folder", "nats-server", "model files", "API", "log", "vector"} <= {one["name"] for one in report["findings"]}


def test_a_second_instance_on_the_same_folder_is_refused(kalends, running):
    """And it says who holds the folder."""
    done = kalends("up", "--data", str(running.data), "--port", "0", "--ops-port", "0", code=1)

    assert "in use by process" in done.stderr


def test_after_its_end_commands_say_that_none_runs(tmp_path, prepared):
    """Exit code 5, and the next step; no file claims that it still runs."""
    with Instance(prepared(tmp_path / "data")) as running:
        running.start()
        Shell(tmp_path / "data")("status")
        assert running.terminate() == 0

    done = Shell(tmp_path / "data")("status", code=5)

    assert "kalends up" in done.stderr


def test_the_demo_tells_its_story_and_every_check_holds(tmp_path):
    """In well under a minute, through the public API only, and nothing is left running."""
    started = time.monotonic()

    record = Shell(tmp_path).json("demo", "--json")

    assert record["passed"] is True
    assert len(record["scenes"]) == 10
    assert all(check["holds"] for scene in record["scenes"] for check in scene["checks"])
    assert record["seconds"] <= time.monotonic() - started


def test_the_demo_tells_its_story_with_a_readers_own_data(tmp_path):
    """A folder of Markdown and a file of events together."""
    (tmp_path / "guide.md").write_text(
        "# Lighthouse\n\nThe lamp of the lighthouse is wound up every evening at six by whoever keeps watch.\n"
    )
    (tmp_path / "harbour.jsonl").write_text("".join(json.dumps(event) + "\n" for event in EVENTS))

    record = Shell(tmp_path / "nowhere").json("demo", str(tmp_path), "--json")

    assert record["passed"] is True
