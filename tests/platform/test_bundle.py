"""The support bundle of a real instance: what it tells, and that nothing that was told to the instance is in it.

Belongs here: one instance that was told unique words in every way there is, and a bundle that is unpacked and searched byte by byte. Does
not belong here: masking line by line (``tests/unit/app/test_bundle``). A newcomer would get wrong: names of memories and sessions are
somebody's words too.
"""

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import verdicts
from tests.support.instance import Instance, clean_environment

PLANTED = "zebrafinch"
SECRET = "hunter2-zebrafinch"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, prepared) -> Iterator[Instance]:  # type: ignore[no-untyped-def]
    """An instance that was told the word as a text, a document, a question, a name, a label and a secret."""
    with Instance(prepared(tmp_path_factory.mktemp("bundle") / "data")) as started:
        (started.data / "config.toml").write_text(
            f'[summarize]\nchat_url = "http://127.0.0.1:9/{PLANTED}"\nchat_model = "a-model"\nchat_key_file = "{started.data / PLANTED}"\n',
            encoding="utf-8",
        )
        (started.data / PLANTED).write_text(SECRET, encoding="ascii")
        started.start()
        with verdicts.api_of(started) as api:
            api.make_memory(PLANTED)
            event = {
                "session_id": f"session-{PLANTED}",
                "kind": "message",
                "role": "user",
                "actor": PLANTED,
                "text": f"the {PLANTED} sings",
                "metadata": {PLANTED: PLANTED},
                "labels": [PLANTED],
            }
            assert api.append(PLANTED, [event]).status == 202
            api.good("POST", f"/memories/{PLANTED}/documents", {"document_id": f"doc-{PLANTED}", "text": f"# {PLANTED}\n\nIt sings."})
            assert api.ask("POST", f"/memories/{PLANTED}/search", {"query": PLANTED}).status == 200
            assert api.ask("POST", f"/memories/{PLANTED}/search", {"query": PLANTED, PLANTED: 1}).status == 422
            assert api.ask("GET", f"/memories/none-{PLANTED}/events").status == 404
            api.rebuild_calendar()
            api.quiet()
        yield started
        assert started.terminate() == 0


def bundle(data: Path, target: Path) -> dict[str, bytes]:
    """What ``doctor --bundle`` writes, by name."""
    done = subprocess.run(
        [sys.executable, "-m", "kalends.app.cli", "doctor", "--bundle", str(target), "--json"],
        capture_output=True,
        check=False,
        timeout=120,
        env=clean_environment() | {"KALENDS_DATA": str(data)},
    )
    assert json.loads(done.stdout)["bundle"] == str(target), done.stderr
    with tarfile.open(target) as archive:
        members = [(member.name, archive.extractfile(member)) for member in archive.getmembers()]
        return {name.removeprefix("kalends-bundle/"): file.read() for name, file in members if file is not None}


def test_nothing_that_was_told_is_in_the_bundle(told: Instance, tmp_path: Path) -> None:
    """Not in a byte of any file, whatever its case; nor the token of the instance."""
    found = bundle(told.data, tmp_path / "bundle.tar.gz")

    assert json.loads(found["missing.json"]) == {}
    for name, body in found.items():
        for planted in (PLANTED, SECRET, told.token):
            assert planted.lower().encode() not in body.lower(), (name, planted)
    assert (tmp_path / "bundle.tar.gz").stat().st_mode & 0o077 == 0


def test_the_bundle_says_what_support_asks_first(told: Instance, tmp_path: Path) -> None:
    """Versions, settings, state, lag, generations, jobs, metrics, sizes and the broker's last words."""
    found = bundle(told.data, tmp_path / "bundle.tar.gz")
    parts = {name: json.loads(body) for name, body in found.items() if name.endswith(".json")}

    assert parts["about.json"]["distributions"]["tantivy"]
    assert parts["about.json"]["bytes"]["nats"] > 0
    assert parts["settings.json"]["summarize"]["chat_url"] == "http://127.0.0.1:9"
    assert parts["settings.json"]["http"]["port"] == 7410
    assert parts["status.json"]["lag"].keys() >= {"timeline", "lexical", "vector"}
    assert parts["status.json"]["generations"].keys() == {"lexical", "vector"}
    assert "compaction" in {job["job_name"] for job in parts["jobs.json"]}
    assert [one["kind"] for one in parts["operations.json"]] == ["toc-rebuild"]
    assert b"kalends_projection_lag_messages" in found["metrics.txt"]
    assert b"Server is ready" in found["logs/broker.log"]


def test_what_cannot_be_asked_is_named(prepared, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """A bundle of an instance that does not run has the rest, and says what is missing and why."""
    found = bundle(prepared(tmp_path / "data"), tmp_path / "bundle.tar.gz")

    missing = json.loads(found["missing.json"])
    assert missing.keys() == {"status.json", "jobs.json", "operations.json", "metrics.txt", "logs/broker.log"}
    assert missing["logs/broker.log"] == f"FileNotFoundError: {os.strerror(2)}"
    assert json.loads(found["findings.json"])
