"""The calendar as a reader meets it: over HTTP, from the years down to the events.

Belongs here: the walk, and what every calendar must be in itself. Does not belong here: the same inside a process (``calendars``), or when
a calendar is complete (``verdicts``). A newcomer would get wrong: versions and the moments of writing tell how a calendar came to be, which
a kill may change; everything else of a node is what was said, and must come out the same.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from tests.support.api import Api

SEGMENT = "segment"
_HISTORY = ("version", "newest_version", "recorded_at")


@dataclass(kw_only=True)
class Walk:
    """What a walk met: nodes by id without their history, their versions, the ids of what lies below each, events in the walk's order."""

    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    children: dict[str, list[str]] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)

    @property
    def said(self) -> Mapping[str, object]:
        """What any two runs over the same events must have alike."""
        return {"nodes": self.nodes, "children": self.children, "events": self.events}


def walk(api: Api, memory: str) -> Walk:
    """Walk the calendar of *memory*."""
    walked, path = Walk(), f"/memories/{memory}/toc"

    def visit(listed: Mapping[str, Any], parent: str | None) -> list[str]:
        name = listed["node_id"]
        assert name not in walked.nodes, f"{name} stands in two places"
        node = api.good("GET", f"{path}/{quote(name)}")
        assert node["parent"] == parent, node
        assert node["version"] == node["newest_version"] == listed["version"], node
        walked.versions[name] = node["version"]
        walked.nodes[name] = {key: value for key, value in node.items() if key not in _HISTORY}
        below = list(node["event_ids"])
        if node["level"] == SEGMENT:
            walked.events += below
        else:
            children = list(_pages(api, f"{path}/{quote(name)}/children"))
            walked.children[name] = [child["node_id"] for child in children]
            below += [event for child in children for event in visit(child, name)]
        _check(node, below)
        return below

    for year in _pages(api, path):
        visit(year, None)
    return walked


def _check(node: Mapping[str, Any], below: list[str]) -> None:
    """A node counts the events below it, and each of its lines rests on some of these."""
    name = node["node_id"]
    assert node["event_count"] == len(below), name
    assert node["bullets"], name
    within = set(below)
    for bullet in node["bullets"]:
        assert bullet["text"], name
        assert bullet["grips"], name
        assert all({grip["first_event_id"], grip["last_event_id"]} <= within for grip in bullet["grips"]), (name, bullet)


def check_excerpts(walked: Walk, texts: Mapping[str, str]) -> None:
    """Every excerpt stands in the text of its event, letter by letter."""
    for name, node in walked.nodes.items():
        for bullet in node["bullets"]:
            assert all(grip["excerpt"] and grip["excerpt"] in texts[grip["first_event_id"]] for grip in bullet["grips"]), (name, bullet)


def _pages(api: Api, path: str) -> Iterator[Mapping[str, Any]]:
    cursor = ""
    while True:
        page = api.good("GET", f"{path}?limit=200{cursor}")
        yield from page["items"]
        if page["next_cursor"] is None:
            return
        cursor = f"&cursor={quote(page['next_cursor'])}"
