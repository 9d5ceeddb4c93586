"""Memories as files: what leaves one installation comes into another, and leaves that as the same file.

Belongs here: running instances, the SDK and the command line. Does not belong here: what one line says (``tests/unit/wire/test_exported``),
or how other programs' files are read (``tests/unit/foreign``). A newcomer would get wrong: files are only compared once both calendars have
nothing left to do, for what is due becomes a version.
"""

import base64
import hashlib
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.platform.people import Person
from tests.support.instance import Instance, clean_environment, wait_until
from tests.support.moving import exported, loaded, of_kind, settle

from kalends.client import AsyncKalends
from kalends.domain.errors import Malformed

MEMORY = "moving"
DAYS = ("2021-03-04", "2021-03-05", "2022-07-08")
SECRET = "the canary sings at four"


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory, prepared: Callable[[Path], Path]) -> Iterator[Instance]:
    """Another installation, with keys of its own and nothing in it."""
    with Instance(prepared(tmp_path_factory.mktemp("elsewhere") / "data")) as started:
        yield started.start()
        assert started.terminate() == 0


@pytest.fixture(scope="module")
def there(elsewhere: Instance) -> Iterator[Person]:
    """Its admin."""
    with Person(elsewhere, elsewhere.token) as person:
        yield person


def turn(number: int, day: str) -> dict[str, Any]:
    """One thing said on a *day*, in one of three sessions."""
    return {
        "session_id": f"talk-{number % 3}",
        "kind": "user_message" if number % 2 else "assistant_message",
        "role": "user" if number % 2 else "assistant",
        "text": f"On {day} the ferry number {number} left the harbour at {number} past noon. Häfen, 港 and a \u2028 line.",
        "occurred_at": f"{day}T12:{number:02d}:00.000{number:03d}+02:00",
        "actor": "Ana" if number % 4 == 0 else None,
        "metadata": {"number": number, "share": number / 7, "by": "sea", "late": number % 2 == 0, "nothing": None},
    }


@pytest.fixture(scope="module")
def moved(admin: Person) -> str:
    """A memory with everything in it: years, versions of the calendar, a document that was replaced, labels, an event without a time."""
    path = admin.make_memory(MEMORY)
    for day in DAYS:
        admin.good("POST", f"{path}/events", {"events": [turn(number, day) for number in range(20)]})
    settle(admin)
    late = [{**turn(31, DAYS[0]), "text": "The tug was late, and came at night to everybody's surprise."}]
    admin.good("POST", f"{path}/events", {"events": late})
    admin.remember(path, "something without a time")
    labelled = {"session_id": "closed", "kind": "note", "text": SECRET, "labels": ["hr"], "priority": "high", "trust": "untrusted"}
    admin.good("POST", f"{path}/events", {"events": [labelled]})
    for text in ("# Plan\n\nBuy flour", "# Plan\n\nBuy flour and salt\n\n## Later\n\nBake"):
        admin.good("POST", f"{path}/documents", {"document_id": "plan", "text": text, "title": "The plan"}, headers={"prefer": "wait=30"})
    settle(admin)
    return MEMORY


@pytest.fixture(scope="module")
def file(admin: Person, moved: str) -> bytes:
    """Its export."""
    return exported(admin.instance, moved)


def test_an_export_tells_of_everything_and_sums_it_up(file: bytes) -> None:
    """Counts and hashes of every kind, sessions as their events tell, only the chunks that the document has now."""
    told = [json.loads(line) for line in file.splitlines(keepends=False)]
    assert told[0] == {"type": "begin", "format": "kalends-export", "version": 1, "complete": True}
    for kind, section in told[-1]["sections"].items():
        lines = [line for line in file.splitlines(keepends=True) if json.loads(line)["type"] == kind]
        assert section == {"lines": len(lines), "sha256": hashlib.sha256(b"".join(lines)).hexdigest()}

    events = of_kind(file, "event")
    (document,) = of_kind(file, "document")
    assert [one["event_id"] for one in events if one.get("document_id")] == document["chunk_ids"]
    assert len([one for one in events if not one.get("document_id")]) == len(DAYS) * 20 + 3
    assert [one["text"] for one in events if one.get("dated") is False] == ["something without a time", SECRET, *_chunks(events)]
    counts = {one["session_id"]: one["events"] for one in of_kind(file, "session")}
    assert counts == {"talk-0": 21, "talk-1": 22, "talk-2": 18, "s": 1, "closed": 1, "document:plan": 2}
    assert len([one for one in of_kind(file, "node") if one["node_id"] == f"toc:day:{DAYS[0]}"]) > 1, "no version of the calendar"
    assert {grip for one in of_kind(file, "node") for bullet in one.get("bullets", ()) for grip in bullet["grips"]} == {
        one["grip_id"] for one in of_kind(file, "grip")
    }


def _chunks(events: list[dict[str, Any]]) -> list[str]:
    return [one["text"] for one in events if one.get("document_id")]


def test_what_comes_into_an_empty_installation_leaves_it_as_the_same_file(admin: Person, there: Person, file: bytes) -> None:
    """Byte by byte, also when it comes in twice, and after the calendar there had its say."""
    there.make_memory(MEMORY)
    foreseen = loaded(there.instance, MEMORY, file, dry_run=True)
    assert (foreseen.events, there.good("GET", f"/memories/{MEMORY}/events")["items"]) == ({"new": 65}, [])
    report = loaded(there.instance, MEMORY, file)
    lines = {kind: len(of_kind(file, kind)) for kind in ("event", "document", "node")}
    assert (report.events, report.documents, report.nodes) == tuple({"new": lines[kind]} for kind in ("event", "document", "node"))
    assert (report.untaken, report.masked) == ([], 0)
    assert exported(there.instance, MEMORY) == file

    settle(there)
    assert exported(there.instance, MEMORY) == file
    again = loaded(there.instance, MEMORY, file)
    assert (again.events, again.documents, again.nodes) == (
        {"duplicate": lines["event"]},
        {"duplicate": lines["document"]},
        {"known": lines["node"]},
    )
    settle(there)
    assert exported(there.instance, MEMORY) == file
    listed = "limit=200&from=2021-01-01T00:00:00Z&to=2023-01-01T00:00:00Z"
    assert (
        there.good("GET", f"/memories/{MEMORY}/events?{listed}")["items"]
        == admin.good("GET", f"/memories/{MEMORY}/events?{listed}")["items"]
    )
    node = f"/memories/{MEMORY}/toc/toc:day:{DAYS[0]}?version=1"
    assert there.good("GET", node) == admin.good("GET", node)
    assert there.good("GET", f"/memories/{MEMORY}/documents")["items"] == admin.good("GET", f"/memories/{MEMORY}/documents")["items"]


def test_what_was_erased_stays_erased_and_its_days_are_told_anew(there: Person, file: bytes) -> None:
    """Tombstones refuse the ids; of its day, week, month and year no version comes from the file."""
    path = there.make_memory("scarred")
    loaded(there.instance, "scarred", file)
    gone = next(one for one in of_kind(file, "event") if "number 7 left" in one["text"])
    there.good("POST", f"{path}/erasures", {"event_ids": [gone["event_id"]]})
    assert wait_until(lambda: there.ask("GET", f"{path}/events/{gone['event_id']}").status_code == 404, seconds=30)
    assert wait_until(lambda: all(one["state"] == "erased" for one in there.good("GET", f"{path}/erasures")["items"]), seconds=60)
    settle(there)

    report = loaded(there.instance, "scarred", file)

    assert report.events == {"duplicate": 64, "erased": 1}
    assert report.nodes.get("new", 0) == 0
    assert report.nodes["remade"] >= 4
    assert [(one.status, one.line) for one in report.untaken] == [("erased", _line_of(file, gone["event_id"]))]
    settle(there)
    left = exported(there.instance, "scarred")
    assert gone["event_id"].encode() not in left
    assert gone["text"][:40].encode() not in left


def _line_of(file: bytes, event_id: str) -> int:
    return next(number for number, line in enumerate(file.splitlines(), start=1) if f'"event_id":"{event_id}"'.encode() in line)


def test_a_file_that_is_not_whole_changes_nothing(there: Person, file: bytes) -> None:
    """Cut off, with one byte changed, or of another version: the line is named before anything is sent."""
    there.make_memory("untouched")
    lines = file.splitlines(keepends=True)
    changed = [*lines[:5], lines[5].replace(b"ferry", b"fairy"), *lines[6:]]
    later = [lines[0].replace(b'"version":1', b'"version":2'), *lines[1:]]
    for wrong, told in (
        (lines[:-1], f"line {len(lines)} should be there"),
        (changed, f"line {len(lines)} tells of other event lines"),
        (later, "line 1 is of version 2"),
        ([*lines[:3], b"{nonsense\n", *lines[3:]], "line 4 is no line of an export"),
        ([*lines, b'{"type":"event"}\n'], f"line {len(lines) + 1} stands behind the end"),
    ):
        with pytest.raises(Malformed, match=told):
            loaded(there.instance, "untouched", b"".join(wrong))
    assert there.good("GET", "/memories/untouched")["events"] == 0


def test_who_lacks_a_label_exports_what_it_sees_and_says_so(admin: Person, moved: str) -> None:
    """And imports nothing; who only reads does neither. Every page that was given is in the audit."""
    with admin.with_token("admin", memories=[moved], labels=[]) as plain:
        file = exported(plain.instance, moved, token=plain.token)
        assert SECRET.encode() not in file
        assert of_kind(file, "begin")[0]["complete"] is False
        assert plain.ask("POST", f"/memories/{moved}/imports", {"lines": []}).status_code == 403
        assert wait_until(lambda: plain.token_id in _exporters(admin), seconds=10)
    with admin.with_token("append", "search", "erase", memories=[moved]) as curator:
        assert curator.ask("POST", f"/memories/{moved}/exports", {}).status_code == 403


def _exporters(admin: Person) -> set[str]:
    """By whose credentials something was exported, as the audit tells."""
    return {one.get("actor", "") for one in admin.good("GET", "/audit?operation=exports.read")["items"]}


def test_what_the_other_memory_masks_comes_in_masked_and_its_calendar_is_made_there(there: Person) -> None:
    """Neither an event, nor a chunk, nor an excerpt in the calendar brings in what the memory does not keep."""
    source, target = there.make_memory("talkative"), there.make_memory("discreet")
    there.good("PATCH", source, {"redaction": {"email": "off"}})
    there.good("PATCH", target, {"redaction": {"email": "mask"}})
    words = "Write to ana.canary@example.org about the harbour before the tide turns."
    there.remember(source, words, occurred_at="2020-05-06T10:00:00Z")
    there.good("POST", f"{source}/documents", {"document_id": "card", "text": f"# Card\n\n{words}"}, headers={"prefer": "wait=30"})
    settle(there)
    file = exported(there.instance, "talkative")
    assert b"ana.canary@example.org" in file

    report = loaded(there.instance, "discreet", file)

    assert (report.events, report.masked, report.nodes.get("new")) == ({"new": 2}, 2, None)
    assert loaded(there.instance, "discreet", file).events == {"duplicate": 2}
    settle(there)
    assert b"ana.canary@example.org" not in exported(there.instance, "discreet")


def test_a_line_that_breaks_a_rule_is_refused_by_itself(there: Person) -> None:
    """Its neighbours come in; a line that is none refuses the request and says which it is."""
    path = there.make_memory("rules")
    good = {"type": "event", "session_id": "s", "kind": "note", "role": "user", "occurred_at": "2020-01-01T00:00:00Z"}
    good |= {"recorded_at": "2020-01-01T00:00:01Z", "text": "x", "dated": True}
    ids = [f"01ARZ3NDEKTSV4RRFFQ69G5F{number:02d}" for number in range(10)]
    day = {"type": "node", "node_id": "toc:day:2020-01-01", "recorded_at": "2020-01-02T00:00:00Z"}
    day |= {"first_at": "2020-01-01T00:00:00Z", "last_at": "2020-01-01T00:00:00Z"}
    lines: list[dict[str, Any]] = [
        {**good, "event_id": ids[0]},
        {**good, "event_id": ids[0], "text": "something else"},
        {**good, "event_id": ids[1], "kind": "poem"},
        {**good, "event_id": ids[2], "recorded_at": "2999-01-01T00:00:00Z"},
        {**good, "event_id": ids[3], "labels": ["b", "a"]},
        {**good, "event_id": ids[6], "document_id": "d"},
        {**day, "title": "long" * 200_000},
        {
            "type": "document",
            "document_id": "",
            "title": "",
            "source": "",
            "content_hash": "",
            "number": 1,
            "updated_at": "2020-01-01T00:00:00Z",
        }
        | {"chunk_ids": []},
        {**day, "bullets": [{"text": "a line", "grips": ["grip:000000000000000000000000"]}]},
        {
            "type": "document",
            "document_id": "d",
            "title": "",
            "source": "",
            "content_hash": "00",
            "number": 1,
            "updated_at": "2020-01-01T00:00:00Z",
        }
        | {"chunk_ids": [ids[9]]},
    ]
    told = there.good("POST", f"{path}/imports", {"lines": [json.dumps(line) for line in lines], "finish": True})["results"]

    assert [(one["status"], one.get("error", {}).get("pointer")) for one in told] == [
        ("new", None),
        ("conflict", "/lines/1/event_id"),
        ("refused", "/lines/2/kind"),
        ("refused", "/lines/3/recorded_at"),
        ("refused", "/lines/4/labels"),
        ("refused", "/lines/5/session_id"),
        ("refused", "/lines/6"),
        ("refused", "/lines/7/document_id"),
        ("refused", "/lines/8/bullets"),
        ("refused", "/lines/9/chunk_ids"),
    ]
    for wrong, pointer in (({**good, "event_id": ids[5], "colour": 1}, "/lines/1/colour"), ({"type": "poem"}, "/lines/1")):
        answer = there.ask("POST", f"{path}/imports", {"lines": [json.dumps({**good, "event_id": ids[4]}), json.dumps(wrong)]})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"][: len(pointer)]) == (422, pointer)
    assert there.good("GET", path)["events"] == 1


def test_a_document_that_is_there_with_other_content_is_kept(there: Person, file: bytes) -> None:
    """Neither the other's record nor a chunk of it comes in beside it; everything else does."""
    path = there.make_memory("crowded")
    there.good("POST", f"{path}/documents", {"document_id": "plan", "text": "# Another plan"}, headers={"prefer": "wait=30"})

    report = loaded(there.instance, "crowded", file)

    assert (report.events, report.documents, report.failed) == ({"new": 63, "kept": 2}, {"kept": 1}, 3)
    (kept,) = there.good("GET", f"{path}/documents")["items"]
    chunks = [one["text"] for one in there.good("GET", f"{path}/events?limit=200")["items"] if one.get("document_id")]
    assert (kept["chunks"], chunks) == (1, ["# Another plan"])


def test_a_page_goes_on_only_where_its_own_cursor_says(admin: Person, moved: str) -> None:
    """Small pages make the same lines as large ones; a cursor of another memory, or one that was made up, is refused."""
    path = f"/memories/{moved}/exports"
    lines, cursor, pages = [], None, 0
    while True:
        page = admin.good("POST", path, {"limit": 7, "cursor": cursor})
        lines += page["lines"]
        cursor, pages = page["next_cursor"], pages + 1
        if cursor is None:
            break
        last = cursor
    whole = admin.good("POST", path, {"limit": 5000})
    rest = admin.good("POST", path, {"limit": 5000, "cursor": whole["next_cursor"]})
    rest2 = admin.good("POST", path, {"limit": 5000, "cursor": rest["next_cursor"]})
    assert lines == whole["lines"] + rest["lines"] + rest2["lines"]
    assert (pages > 20, rest2["next_cursor"]) == (True, None)

    other = admin.make_memory("unmoved")
    assert admin.ask("POST", f"{other}/exports", {"cursor": last}).status_code == 422
    mark, part, after, upto, document = json.loads(base64.urlsafe_b64decode(last + "=="))
    for wrong, status in (
        ([mark, "keys", after, upto, document], 422),
        ([mark, part, "[]", upto, document], 422),
        ([mark, part, '{"EVENTS_0":-1}', upto, document], 422),
        ([mark, "events", "{}", '{"AUDIT":9,"nothing":1,"EVENTS_0":9223372036854775807}', document], 200),
    ):
        forged = base64.urlsafe_b64encode(json.dumps(wrong).encode()).decode().rstrip("=")
        assert admin.ask("POST", path, {"cursor": forged}).status_code == status, wrong


async def test_programs_on_asyncio_move_memories_as_others_do(there: Person, file: bytes) -> None:
    """The same file, in and out; a dedicated memory, too."""
    there.make_memory("evented", isolation="dedicated")
    into = io.BytesIO()
    async with AsyncKalends(url=there.instance.url, token=there.token) as kalends:
        report = await kalends.transfers.load("evented", io.BytesIO(file))
        await kalends.transfers.export("evented", into)

    assert (report.events, into.getvalue()) == ({"new": 65}, file)


def shell(data: Path, *arguments: str, code: int = 0) -> Any:
    """What ``kalends`` beside an instance prints."""
    done = subprocess.run(
        [sys.executable, "-m", "kalends.app.cli", *arguments],
        capture_output=True,
        check=False,
        timeout=120,
        env=clean_environment() | {"KALENDS_DATA": str(data)},
    )
    assert done.returncode == code, (arguments, done.stdout, done.stderr)
    return json.loads(done.stdout) if done.stdout.startswith(b"{") else done.stdout


def test_the_command_line_moves_a_memory(admin: Person, there: Person, file: bytes, tmp_path: Path) -> None:
    """A file for nobody else's eyes; nothing is overwritten by mistake; the memory is made where there is none."""
    path = tmp_path / "moving.jsonl"
    told = shell(admin.instance.data, "export", str(path), "--memory", MEMORY)
    assert (told["events"], told["bytes"]) == (65, len(file))
    assert path.read_bytes() == file
    assert path.stat().st_mode & 0o777 == 0o600
    shell(admin.instance.data, "export", str(path), "--memory", MEMORY, code=1)
    assert shell(there.instance.data, "import", str(path), "--memory", "arrived")["events"] == {"new": 65}
    assert shell(there.instance.data, "import", str(path), "--memory", "arrived")["events"] == {"duplicate": 65}


def test_other_programs_files_come_in_once(there: Person, tmp_path: Path) -> None:
    """Counted, with their times; the second time nothing is new, and one bad record stops it all unless it may be skipped."""
    folder = tmp_path / "projects"
    folder.mkdir()
    line = {
        "type": "user",
        "uuid": "u1",
        "sessionId": "s1",
        "timestamp": "2025-05-26T07:27:40.079Z",
        "message": {"role": "user", "content": "Hi"},
    }
    (folder / "a.jsonl").write_text(json.dumps(line) + "\n{broken\n", encoding="utf-8")
    data, memory = there.instance.data, ("--memory", "transcripts")

    refused = shell(data, "import", str(folder), "--from", "claude-code", *memory, code=1)
    assert (refused["bad"], refused["events"]) == (1, {"read": 1})
    assert ":2: is no JSON object" in refused["rejected"][0]
    assert there.ask("GET", "/memories/transcripts").status_code == 404
    foreseen = shell(data, "import", str(folder), "--from", "claude-code", "--skip-bad", "--dry-run", *memory)
    assert foreseen["events"] == {"read": 1}
    taken = shell(data, "import", str(folder), "--from", "claude-code", "--skip-bad", *memory)
    assert taken["events"] == {"read": 1, "new": 1}
    again = shell(data, "import", str(folder), "--from", "claude-code", "--skip-bad", *memory)
    assert again["events"] == {"read": 1, "duplicate": 1}
    (event,) = there.good("GET", "/memories/transcripts/events")["items"]
    assert (event["text"], event["occurred_at"]) == ("Hi", "2025-05-26T07:27:40.079000Z")

    (folder / "note.md").write_text("# Note\n\nBuy salt\n", encoding="utf-8")
    assert shell(data, "import", str(folder), "--from", "markdown", *memory)["documents"]["new"] == 1
    assert shell(data, "import", str(folder), "--from", "markdown", *memory)["documents"]["unchanged"] == 1
