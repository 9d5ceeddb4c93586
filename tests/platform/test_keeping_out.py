"""Secrets that people send are in no file of an instance afterwards, and in no answer.

A newcomer would get wrong: bodies in the log are sealed, so a scan of the files proves nothing about them; that is proved by reading every
event back. The scan is for all that is not sealed: engines, databases, logs, records.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.platform.people import Person
from tests.support.files import contents
from tests.support.instance import Instance
from tests.support.secrets import planted

PIECE = 16
"""Characters of a secret that must not be found anywhere together."""


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory, prepared: Callable[[Path], Path]) -> Iterator[Instance]:
    """An instance of this module's own, for its files are read when it has ended."""
    with Instance(prepared(tmp_path_factory.mktemp("keeping-out") / "data")) as instance:
        yield instance.start()


def pieces(secret: str) -> list[bytes]:
    """Stretches of a secret from its middle on; its first characters say whose it is, which the mask does too."""
    middle = secret[len(secret) // 3 :]
    return [middle[start : start + PIECE].encode() for start in range(0, max(1, len(middle) - PIECE), PIECE)]


def test_what_was_masked_is_nowhere(started: Instance) -> None:
    """Sent as text, metadata, a document, again, and to a memory that refuses it: no file and no answer has a part of it."""
    secrets = planted(7)
    with Person(started, started.token) as person:
        memory = person.make_memory("kept-out")
        person.good("PUT", "/memories/strict", {"redaction": {"credentials": "refuse", "kinds": {"note": {"credentials": "mask"}}}})
        events = [
            {
                "session_id": "s",
                "kind": "message",
                "text": one.text,
                "metadata": {"seen": one.text},
                "event_id": f"01ARZ3NDEKTSV4RRFFQ69G{number:04d}",
            }
            for number, one in enumerate(secrets)
        ]
        told = person.ask("POST", f"{memory}/events", {"events": events}, headers={"prefer": "wait=30"})
        again = person.ask("POST", f"{memory}/events", {"events": events})
        refused = person.ask("POST", "/memories/strict/events", {"events": events})
        document = {
            "document_id": "d",
            "title": secrets[0].text,
            "text": "\n\n".join(one.text for one in secrets),
            "source": secrets[1].text,
        }
        kept = person.ask("POST", f"{memory}/documents", document, headers={"prefer": "wait=30"})
        listed = person.ask("GET", f"{memory}/events?limit=200")
        found = person.ask("POST", f"{memory}/search", {"query": "here, use and tell nobody", "limit": 100})
        metrics = person.client.get(f"{started.ops_url}/metrics")

        assert [result["status"] for result in told.json()["results"]] == ["new"] * len(secrets)
        assert {result["status"] for result in again.json()["results"]} == {"duplicate"}
        assert all(one.label in result["masked"] for one, result in zip(secrets, told.json()["results"], strict=True))
        assert refused.status_code == 422
        assert {fault["code"] for fault in refused.json()["errors"]} == {"refused_content"}
        assert person.good("GET", "/memories/strict")["redaction"]["credentials"] == "refuse"
        assert kept.json()["masked"]
        assert 'kalends_masked_total{kind="github-token"}' in metrics.text
        answers = [reply.content for reply in (told, again, refused, kept, listed, found, metrics)]
    assert started.terminate() == 0

    files = dict(contents(started.data)) | {started.log_file: started.log_file.read_bytes()}
    assert len(files) > 20
    for one in secrets:
        for piece in pieces(one.secret):
            assert not [path for path, content in files.items() if piece in content], one.label
            assert not [number for number, answer in enumerate(answers) if piece in answer], one.label
