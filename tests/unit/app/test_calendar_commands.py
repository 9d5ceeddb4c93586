"""The calendar on the command line: a tree for people, JSON for programs."""

import json
import re

import httpx
import pytest
from tests.support.answers import PreparedServer, problem
from tests.unit.app.test_cli import no_surroundings, served  # noqa: F401 - fixtures

from kalends.app import cli
from kalends.app.invocation import Invocation

TIMES = {"start": "2026-01-30T09:05:00Z", "end": "2026-01-30T10:15:00Z"}
GRIP = {"grip_id": "grip:0a", "excerpt": "the excerpt", "first_event_id": "E1", "last_event_id": "E2", "session_id": "s", "speaker": "ada"}
EVENT = {"session_id": "s", "kind": "message", "role": "user", "occurred_at": "2026-01-30T09:05:00Z"}


def entry(node_id: str, label: str, title: str, **changes) -> dict:
    """A node as lists show it."""
    return {
        "node_id": node_id,
        "level": node_id.split(":")[1],
        "label": label,
        "title": title,
        "event_count": 2,
        "version": 1,
        **TIMES,
        **changes,
    }


YEAR = entry("toc:year:2026", "2026", "A year\x1b[31m")
MONTH = entry("toc:month:2026-01", "January 2026", "A month", degraded="chat-timeout")
WEEK = entry("toc:week:2026-W05", "week 5 of 2026", "A week")
DAY = entry("toc:day:2026-01-30", "30 January 2026", "A day")
SEGMENT = entry("toc:segment:2026-01-30:0123456789abcdef", "30 January 2026", "A talk", event_count=1)
NODE = {**DAY, "bullets": [{"text": "A line.", "grips": [GRIP]}], "author": "extractive", "newest_version": 3, "keywords": ["word"]}


class Calendar(PreparedServer):
    """A calendar of one branch."""

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        _, found, path = request.url.path.partition("/toc")
        if not found:
            return problem(404, "not_found")
        below = {"": YEAR, YEAR["node_id"]: MONTH, MONTH["node_id"]: WEEK, WEEK["node_id"]: DAY, DAY["node_id"]: SEGMENT}
        if path in ("", *(f"/{name}/children" for name in below if name)):
            return httpx.Response(200, json={"items": [below[path.strip("/").removesuffix("/children")]], "next_cursor": None})
        return httpx.Response(200, json=NODE) if path == f"/{DAY['node_id']}" else problem(404, "not_found")


@pytest.fixture
def calendar(served, monkeypatch):  # noqa: F811 - a fixture of that name
    """The command line in front of that calendar."""
    server = Calendar()
    prepared = served()
    monkeypatch.setattr(type(prepared), "__call__", lambda _, request: server(request))
    return server


@pytest.fixture
def terminal(monkeypatch):
    """Somebody is looking."""
    monkeypatch.setattr(Invocation, "machine_readable", property(lambda invocation: invocation.json))
    monkeypatch.setenv("COLUMNS", "200")


def asked(server: PreparedServer) -> list[str]:
    """What was asked for, below the memory."""
    return [request.url.path.partition("/memories/default")[2] for request in server.requests]


def plain(text: str) -> list[str]:
    """The lines of a tree without its guides."""
    return [re.sub(r"^[\s│├└─]+", "", line).rstrip() for line in text.splitlines()]


def test_the_whole_tree_goes_down_to_the_days(calendar, terminal, capsys):
    """Each line has what people call it, its title and the id to ask for; nothing in a title is obeyed."""
    assert cli.run(["toc"]) == 0
    out = capsys.readouterr().out

    assert plain(out) == [
        "2026  A year\ufffd[31m  2 events  toc:year:2026",
        "January 2026  A month  2 events  toc:month:2026-01  degraded: chat-timeout",
        "week 5 of 2026  A week  2 events  toc:week:2026-W05",
        "30 January 2026  A day  2 events  toc:day:2026-01-30",
    ]
    assert "\x1b[31m" not in out


def test_a_node_shows_its_lines_with_their_grips_and_what_lies_below(calendar, terminal, capsys):
    """Segments are told apart by their hours."""
    assert cli.run(["toc", "toc:day:2026-01-30"]) == 0

    assert plain(capsys.readouterr().out) == [
        "30 January 2026  A day  2 events  toc:day:2026-01-30",
        "• A line.  grip:0a",
        "09:05-10:15  A talk  1 event  toc:segment:2026-01-30:0123456789abcdef",
        "version 1 of 3; by extractive; keywords: word",
    ]


@pytest.mark.parametrize(
    ("options", "paths"),
    [
        (["--depth", "1"], ["/toc"]),
        (["--depth", "0"], ["/toc"]),
        (["--depth", "2"], ["/toc", "/toc/toc:year:2026/children"]),
        (["toc:day:2026-01-30", "--depth", "0"], ["/toc/toc:day:2026-01-30"]),
        (["toc:day:2026-01-30", "--version", "2"], ["/toc/toc:day:2026-01-30"]),
    ],
)
def test_no_more_is_asked_for_than_is_shown(calendar, options, paths, capsys):
    """An old version is shown alone: what lies below it now may be something else."""
    assert cli.run(["toc", *options]) == 0
    assert asked(calendar) == paths
    assert capsys.readouterr().out


def test_programs_get_the_tree_as_json(calendar, capsys):
    """Nested, with the lines of the node that was asked for."""
    assert cli.run(["toc", "toc:day:2026-01-30"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["bullets"][0]["grips"][0]["grip_id"], shown["children"][0]["title"]) == ("grip:0a", "A talk")

    assert cli.run(["toc"]) == 0
    (year,) = json.loads(capsys.readouterr().out)["items"]
    assert year["children"][0]["children"][0]["children"][0]["node_id"] == "toc:day:2026-01-30"


def test_an_empty_calendar_says_so(served, terminal, capsys):  # noqa: F811 - a fixture of that name
    """Instead of nothing at all."""
    served(httpx.Response(200, json={"items": [], "next_cursor": None}))

    assert cli.run(["toc"]) == 0
    assert "empty" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["toc", "--version", "2"], ["toc", "toc:year:2026", "--version", "2", "--depth", "1"], ["expand"]])
def test_what_makes_no_sense_is_a_usage_error(calendar, arguments):
    """Nothing was sent."""
    assert cli.run(arguments) == 2
    assert calendar.requests == []


@pytest.mark.parametrize("arguments", [["toc", "toc:year:1999"], ["expand", "grip:ff"]])
def test_what_is_not_there_is_not_found(calendar, arguments):
    """As everywhere."""
    assert cli.run(arguments) == 3


def test_a_grip_opens_into_what_was_said(served, terminal, capsys):  # noqa: F811 - a fixture of that name
    """What proves it stands out; before and after it is what was said around it."""
    events = {part: [{**EVENT, "event_id": part, "text": f"said {part}"}] for part in ("before", "span", "after")}
    body = {**GRIP, "occurred_at": "2026-01-30T09:05:00Z", "node_id": "toc:x", "node_title": "A talk", **events, "truncated": True}
    server = served(httpx.Response(200, json=body))

    assert cli.run(["expand", "grip:0a", "--before", "1", "--after", "9"]) == 0
    out = capsys.readouterr().out
    assert [word for word in ("said before", "said span", "the span goes on", "said after") if word in out] == [
        "said before",
        "said span",
        "the span goes on",
        "said after",
    ]
    assert "“the excerpt”" in out
    assert "ada, 2026-01-30 09:05; toc:x A talk" in out
    assert dict(server.requests[0].url.params) == {"before": "1", "after": "9"}
    assert cli.run(["expand", "grip:0a", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["span"][0]["text"] == "said span"


def test_a_search_can_name_its_targets_and_a_context_leave_the_calendar_out(served, capsys):  # noqa: F811 - a fixture of that name
    """Documents are one more."""
    server = served(httpx.Response(200, json={"hits": [], "text": ""}))

    assert cli.run(["search", "x", "--target", "toc", "--target", "grips", "--documents"]) == 0
    assert cli.run(["search", "x", "--documents"]) == 0
    assert cli.run(["context", "x", "--no-calendar"]) == 0
    assert cli.run(["context", "x"]) == 0
    bodies = server.bodies()
    assert [body.get("targets") for body in bodies] == [["toc", "grips", "documents"], ["events", "documents"], None, None]
    assert [body.get("calendar") for body in bodies] == [None, None, False, None]
