"""The calendar of real histories, over HTTP: a walk from the years meets every event once, and every line opens into what proves it.

Belongs here: whole histories, sent in shuffled order. Does not belong here: single steps (``services/test_summarize``). A newcomer would
get wrong: an instance fills its calendar by itself, so a test only waits until nothing is due any more.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.support import histories, verdicts
from tests.support.api import Api
from tests.support.histories import Item
from tests.support.instance import Instance, wait_until

NewFolder = Callable[[Path], Path]
AT_HAND = histories.SHARED.exists()
"""Whether the public conversations are, which are no part of the repository."""
PARTS = {"demonstration": histories.demonstration}
WHOLE = {"demonstration": histories.demonstration}
if AT_HAND:
    PARTS |= {"locomo": lambda: histories.locomo(1)[:160], "longmemeval": lambda: histories.longmemeval(2)}
    WHOLE |= {"locomo": histories.locomo, "longmemeval": histories.longmemeval}
FILLED_S = 1800.0
_BATCH = 100


def send(api: Api, memory: str, items: Sequence[Item]) -> None:
    """Make the memory and send *items* in an order that has nothing to do with when they happened."""
    api.make_memory(memory)
    shuffled = list(items)
    random.Random(memory).shuffle(shuffled)
    for start in range(0, len(shuffled), _BATCH):
        reply = api.append(memory, shuffled[start : start + _BATCH])
        assert reply.status == 202, reply


def filled(api: Api, memory: str, events: int) -> None:
    """Wait until the years hold so many *events*, and nothing above a conversation is due.

    Other memories of the instance may have sessions that still talk, so what is due in all is no sign.
    """

    def done() -> bool:
        counted = sum(year["event_count"] for year in api.good("GET", f"/memories/{memory}/toc")["items"])
        return counted == events and api.status()["calendar"]["periods_due"] == 0

    assert wait_until(done, seconds=FILLED_S, every=0.25)


def pages(api: Api, path: str) -> Iterator[dict[str, Any]]:
    """Every item of a list."""
    cursor = ""
    while True:
        page = api.good("GET", f"{path}?limit=100{cursor}")
        yield from page["items"]
        if page["next_cursor"] is None:
            return
        cursor = f"&cursor={page['next_cursor']}"


def walk(api: Api, memory: str) -> dict[str, dict[str, Any]]:
    """Every node below the years, whole."""
    found: dict[str, dict[str, Any]] = {}
    waiting = list(pages(api, f"/memories/{memory}/toc"))
    while waiting:
        node = waiting.pop()
        assert node["node_id"] not in found
        found[node["node_id"]] = api.good("GET", f"/memories/{memory}/toc/{node['node_id']}")
        waiting += pages(api, f"/memories/{memory}/toc/{node['node_id']}/children")
    return found


def check(nodes: dict[str, dict[str, Any]], items: Sequence[Item]) -> None:
    """Every event once, in the segment of its session and day; every excerpt in its event, every event of a grip below its node."""
    texts = {item["event_id"]: item["text"] for item in items}
    met = [event_id for node in nodes.values() for event_id in node["event_ids"]]
    assert sorted(met) == sorted(texts)
    below: dict[str, set[str]] = {}
    for name in sorted(nodes, key=lambda name: _LEVELS.index(nodes[name]["level"])):
        node = nodes[name]
        below.setdefault(name, set()).update(node["event_ids"])
        if node["parent"] is not None:
            below.setdefault(node["parent"], set()).update(below[name])
    for name, node in nodes.items():
        assert node["event_count"] == len(below[name]), name
        assert node["title"], name
        for bullet in node["bullets"]:
            assert bullet["grips"], name
            for grip in bullet["grips"]:
                assert grip["excerpt"], name
                assert grip["excerpt"] in texts[grip["first_event_id"]], name
                assert {grip["first_event_id"], grip["last_event_id"]} <= below[name], name


_LEVELS = ("segment", "day", "week", "month", "year")


def test_a_walk_over_parts_of_histories_meets_every_event_once_with_evidence(instance: Instance):
    """In whatever order the events came; the public conversations where they are at hand."""
    with verdicts.api_of(instance) as api:
        for name in PARTS:
            send(api, f"walk-{name}", PARTS[name]())
        for name in PARTS:
            filled(api, f"walk-{name}", len(PARTS[name]()))
            nodes = walk(api, f"walk-{name}")
            check(nodes, PARTS[name]())
            expand_some(api, f"walk-{name}", nodes, most=10)


@pytest.mark.slow
@pytest.mark.timeout(5400)
def test_a_walk_over_whole_collections_meets_every_event_once_with_evidence(tmp_path: Path, prepared: NewFolder):
    """The demonstration, and where they are at hand every conversation of LoCoMo and every session of LongMemEval."""
    with ExitStack() as stack:
        own = stack.enter_context(Instance(prepared(tmp_path / "data"))).start()
        api = stack.enter_context(verdicts.api_of(own))
        for name, read in WHOLE.items():
            items = read()
            send(api, name, items)
            filled(api, name, len(items))
            nodes = walk(api, name)
            check(nodes, items)
            expand_some(api, name, nodes)


def expand_some(api: Api, memory: str, nodes: dict[str, dict[str, Any]], *, most: int = 300) -> None:
    """Grips open into the events around them, in the order of their session."""
    grips = sorted({grip["grip_id"] for node in nodes.values() for bullet in node["bullets"] for grip in bullet["grips"]})
    for grip_id in random.Random(1).sample(grips, min(most, len(grips))):
        opened = api.good("GET", f"/memories/{memory}/grips/{grip_id}?before=2&after=2")
        around = [*opened["before"], *opened["span"], *opened["after"]]
        assert opened["excerpt"] in opened["span"][0]["text"]
        assert {event["session_id"] for event in around} == {opened["session_id"]}
        times = [datetime.fromisoformat(event["occurred_at"]) for event in around]
        assert times == sorted(times)
