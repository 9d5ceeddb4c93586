"""The calendar in the SDK: what is asked, and what the answers are as values."""

from datetime import UTC, datetime

import httpx
import pytest
from tests.support.answers import PreparedServer, problem
from tests.unit.client.test_clients import asynchronous, blocking

from kalends.client import Bullet, ExpandedGrip, Grip, Hit, NotFound, TocEntry, TocNode

ENTRY = {"node_id": "toc:year:2026", "level": "year", "label": "2026", "title": "A year", "start": "2026-01-01T00:00:00Z"}
GRIP = {"grip_id": "grip:0a", "excerpt": "said", "first_event_id": "E1", "last_event_id": "E2"}
NODE = {**ENTRY, "bullets": [{"text": "A line.", "grips": [GRIP]}], "newest_version": 2, "something_new": 1}


def page(*items: dict, cursor: str | None = None) -> httpx.Response:
    """One page of a list."""
    return httpx.Response(200, json={"items": list(items), "next_cursor": cursor})


def test_the_years_are_a_list_over_all_pages():
    """Without a node's id."""
    server = PreparedServer(page(ENTRY, cursor="c"), page(ENTRY))

    years = list(blocking(server).memory("m").toc())

    assert (
        years == [TocEntry(node_id="toc:year:2026", level="year", label="2026", title="A year", start=datetime(2026, 1, 1, tzinfo=UTC))] * 2
    )
    assert [(one.url.path, one.url.params.get("cursor")) for one in server.requests] == [
        ("/v1/memories/m/toc", None),
        ("/v1/memories/m/toc", "c"),
    ]


def test_a_node_comes_with_its_lines_in_the_version_that_was_asked_for():
    """Members that a newer server adds are ignored."""
    server = PreparedServer(httpx.Response(200, json=NODE))
    memory = blocking(server).memory("m")

    node = memory.toc("toc:year:2026", version=1)
    memory.toc("toc:year:2026")

    assert isinstance(node, TocNode)
    assert node.bullets == [Bullet(text="A line.", grips=[Grip(**GRIP)])]
    assert node.newest_version == 2
    assert [one.url.raw_path for one in server.requests] == [
        b"/v1/memories/m/toc/toc%3Ayear%3A2026?version=1",
        b"/v1/memories/m/toc/toc%3Ayear%3A2026",
    ]


def test_what_lies_below_a_node_and_what_proves_it_are_lists():
    """Page after page."""
    server = PreparedServer(page(ENTRY), page(GRIP))
    memory = blocking(server).memory("m")

    assert [one.node_id for one in memory.toc_children("toc:year:2026")] == ["toc:year:2026"]
    assert [one.grip_id for one in memory.toc_grips("toc:year:2026", version=3)] == ["grip:0a"]
    assert [one.url.path for one in server.requests] == [f"/v1/memories/m/toc/toc:year:2026/{part}" for part in ("children", "grips")]
    assert server.requests[1].url.params["version"] == "3"


def test_a_grip_opens_into_events():
    """Three before and three after, unless the caller says otherwise."""
    event = {"event_id": "E1", "session_id": "s", "kind": "note", "role": "user", "text": "said", "occurred_at": "2026-01-01T00:00:00Z"}
    server = PreparedServer(httpx.Response(200, json={**GRIP, "node_id": "toc:x", "span": [event]}))
    memory = blocking(server).memory("m")

    found = memory.expand("grip:0a")
    memory.expand("grip:0a", before=0, after=9)

    assert isinstance(found, ExpandedGrip)
    assert (found.node_id, [one.text for one in found.span], found.before, found.truncated) == ("toc:x", ["said"], [], False)
    assert [dict(one.url.params) for one in server.requests] == [{"before": "3", "after": "3"}, {"before": "0", "after": "9"}]


async def test_the_asynchronous_client_reads_the_calendar_too():
    """Lists with ``async for``, the rest with ``await``."""
    server = PreparedServer(page(ENTRY), httpx.Response(200, json=NODE), page(ENTRY), page(GRIP), httpx.Response(200, json=GRIP))
    async with asynchronous(server) as kalends:
        memory = kalends.memory("m")

        assert [one.title async for one in memory.toc()] == ["A year"]
        assert (await memory.toc("toc:year:2026")).title == "A year"
        assert [one.title async for one in memory.toc_children("toc:year:2026")] == ["A year"]
        assert [one.excerpt async for one in memory.toc_grips("toc:year:2026")] == ["said"]
        assert (await memory.expand("grip:0a")).excerpt == "said"


def test_a_node_that_is_not_there_is_an_error():
    """Not an empty one."""
    with pytest.raises(NotFound):
        blocking(PreparedServer(problem(404, "not_found"))).memory("m").toc("toc:year:1999")


def test_hits_of_the_calendar_are_hits():
    """With a level, or with the events that an excerpt spans; what they do not have is empty."""
    common = {"score": 1.0, "occurred_at": "2026-01-01T00:00:00Z"}
    hits = [
        {**common, "target": "toc", "id": "toc:year:2026", "text": "A year", "level": "year"},
        {
            **common,
            "target": "grips",
            "id": "grip:0a",
            "text": "said",
            "speaker": "ada",
            "first_event_id": "E1",
            "last_event_id": "E2",
            "node_id": "toc:x",
        },
    ]
    server = PreparedServer(httpx.Response(200, json={"hits": hits}))

    node, grip = blocking(server).memory("m").search("x", targets=["toc", "grips"], level=["year", "month"]).hits

    assert isinstance(node, Hit)
    assert (node.level, node.role, node.session_id, grip.level, grip.speaker, grip.node_id) == ("year", "", "", "", "ada", "toc:x")
    assert server.bodies() == [{"query": "x", "targets": ["toc", "grips"], "filter": {"level": ["year", "month"]}}]
