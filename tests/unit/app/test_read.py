"""What the commands that read say about time phrases."""

import io
import json
from datetime import UTC, datetime

import httpx
import pytest
from rich.console import Console
from tests.support.answers import PreparedServer

from kalends import client
from kalends.app import cli
from kalends.app.commands import read
from kalends.client import TimeFilter

URL = "http://kalends.test"
MARCH = {"since": datetime(2026, 3, 1, tzinfo=UTC), "until": datetime(2026, 4, 1, tzinfo=UTC)}
ANSWERS = {"search": {"hits": []}, "context": {"text": ""}}


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A prepared server that the command line finds."""
    monkeypatch.setenv("KALENDS_DATA", str(tmp_path))
    (tmp_path / "instance.json").write_text(json.dumps({"url": URL, "ops_url": URL, "pid": 0}))
    (tmp_path / "token").write_text("kal_t")
    original = client.Kalends

    def prepare(answer: dict) -> PreparedServer:
        prepared = PreparedServer(httpx.Response(200, json=answer))
        monkeypatch.setattr(client, "Kalends", lambda *where, **how: original(*where, **how, through=prepared.transport))
        return prepared

    return prepare


@pytest.mark.parametrize("command", ANSWERS)
@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ([], {}),
        (["--timezone", "Europe/Berlin"], {"timezone": "Europe/Berlin"}),
        (["--no-time-phrases"], {"time_phrases": False}),
        (["--no-time-phrases", "--timezone", "UTC"], {"time_phrases": False, "timezone": "UTC"}),
    ],
)
def test_options_about_time_phrases_reach_the_server(server, command, options, sent):
    """What is not given is the server's default."""
    prepared = server(ANSWERS[command])

    assert cli.run([command, "what was said last week", *options]) == 0
    body = json.loads(prepared.requests[0].content)
    assert {name: body[name] for name in ("time_phrases", "timezone") if name in body} == sent


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (TimeFilter(phrase="in March", mode="boost", **MARCH), "from 2026-03-01 00:00 to 2026-04-01 00:00 (UTC): ranked higher"),
        (TimeFilter(phrase="last month", **MARCH), "from 2026-03-01 00:00 to 2026-04-01 00:00 (UTC): nothing else was searched"),
        (TimeFilter(phrase="since March", since=MARCH["since"]), "from 2026-03-01 00:00 (UTC): nothing else was searched"),
        (TimeFilter(phrase="before April", until=MARCH["until"]), "to 2026-04-01 00:00 (UTC): nothing else was searched"),
        (TimeFilter(phrase="last\x1b month", applied=False, **MARCH), "to 2026-04-01 00:00 (UTC): nothing was found there"),
        (None, None),
    ],
)
def test_what_a_time_phrase_did_is_one_line(found, line):
    """And none where there was no phrase."""
    console = Console(file=io.StringIO(), width=60)
    read.show_time_filter(console, found)
    printed = console.file.getvalue()

    assert printed.count("\n") == (0 if line is None else 1)
    assert "\x1b" not in printed
    assert (line or "") in printed
