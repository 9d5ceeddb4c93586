"""What the design says is sealed is found in no file: a marker in every place of an event and of a document, and every file there is.

Belongs here: the data folder and the logs of a whole instance. Does not belong here: what erasure leaves. A newcomer would get wrong: names
of memories, sessions and documents are not sealed, and neither are the engines' postings and vectors; docs/security.md says which.
"""

import os
import secrets
from pathlib import Path

import pytest
from tests.faults.conftest import NewFolder
from tests.support import verdicts
from tests.support.instance import Instance, wait_until

MEMORY = "sealed"
SEALED = ("nats", "timeline", "calendar", "keys", "instance.json", "token", "lock", "place")
"""What of the data folder is searched; ``lexical``, ``vector`` and ``models`` are engines'."""


def marker(what: str) -> str:
    """A word that nobody else writes."""
    return f"zq{what}{secrets.token_hex(8)}"


def files_with(folder: Path, needle: str, *, names: tuple[str, ...] = SEALED) -> list[str]:
    """The files of *folder* that hold *needle*, as bytes of UTF-8, of UTF-16 or as hexadecimal digits."""
    forms = [needle.encode(), needle.encode("utf-16-le"), needle.encode().hex().encode()]
    # what a broker that runs has taken away meanwhile is passed over
    there = (Path(place) / name for place, _, found in os.walk(folder) for name in found)
    every = [path for path in there if path.relative_to(folder).parts[0] in names]
    return sorted(str(path.relative_to(folder)) for path in every if any(form in content(path) for form in forms))


def content(path: Path) -> bytes:
    """The bytes of a file; none of one that is gone by now."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


@pytest.fixture
def quiet(tmp_path: Path, prepared: NewFolder) -> Instance:
    """An instance that logs as much as it ever does."""
    return Instance(prepared(tmp_path / "data"), settings={"KALENDS_TELEMETRY__LEVEL": "debug", "KALENDS_SUMMARIZE__SETTLE_S": "0.2"})


def test_a_marker_is_found_in_no_file_of_what_is_sealed(quiet: Instance) -> None:
    """Not while it serves, not after it was rolled up, asked for, written again and stopped; names that are not sealed are found."""
    marks = {what: marker(what) for what in ("text", "metadata", "title", "source", "chunk", "actor", "question")}
    session, document = marker("session"), marker("document")
    with quiet as instance:
        instance.start()
        with verdicts.api_of(instance) as api:
            api.make_memory(MEMORY)
            past = {"session_id": session, "kind": "message", "role": "user", "occurred_at": "2024-03-05T10:00:00Z"}
            said = {**past, "text": f"The plan is {marks['text']}.", "actor": marks["actor"], "metadata": {"note": marks["metadata"]}}
            told = api.append(MEMORY, [said, {**past, "text": "And so it was done on that day."}])
            event_id = told.body["results"][0]["event_id"]
            body = {"document_id": document, "text": f"All of {marks['chunk']}.", "title": marks["title"], "source": marks["source"]}
            for _ in range(2):
                api.good("POST", f"/memories/{MEMORY}/documents", body)
                body = {**body, "text": f"More of {marks['chunk']}, again."}
            api.quiet()
            assert wait_until(lambda: api.good("GET", f"/memories/{MEMORY}")["toc_nodes"], seconds=60, every=0.2)
            assert api.event(MEMORY, event_id).body["text"] == said["text"]
            found = api.good("POST", f"/memories/{MEMORY}/search", {"query": f"{marks['text']} {marks['question']}"})
            assert found["hits"]
            assert api.ask("POST", f"/memories/{MEMORY}/events", {"events": [{**said, "kind": marks["question"], "role": 7}]}).status == 422
            assert {what: files_with(instance.data, mark) for what, mark in marks.items()} == {what: [] for what in marks}
        assert instance.terminate() == 0

    assert {what: files_with(instance.data, mark) for what, mark in marks.items()} == {what: [] for what in marks}
    assert [what for what, mark in marks.items() if mark in instance.logs] == []
    assert any(name.startswith("timeline") for name in files_with(instance.data, session))
    assert any(name.startswith("nats") for name in files_with(instance.data, document))
