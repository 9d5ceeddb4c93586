"""`python -m tests.bench.retrieval`: labelled questions through HTTP, asked of `kalends up` and of the cluster shape, side by side.

Belongs here: storing, asking, comparing. Does not belong here: reading the files and the measures (``labelled``). A newcomer would get
wrong: the collections are not part of this repository; and both sides hold the same ids, so that equal scores come in the same order.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import msgspec

from kalends.domain.events import digest_id
from tests.bench import labelled, report
from tests.bench.fleet import Fleet
from tests.bench.instance import ROOT, Instance

DATA = ROOT.parent / "shared" / "eval" / "data"
MODES: Mapping[str, Mapping[str, str]] = {
    "lexical": {"mode": "lexical", "rerank": "off"},
    "vector": {"mode": "vector", "rerank": "off"},
    "hybrid": {"mode": "hybrid", "rerank": "off"},
    "hybrid_rerank": {"mode": "hybrid", "rerank": "on"},
}
ALLOWED = 0.01

_PATIENT = {
    "KALENDS_SEARCH__ARM_DEADLINE_S": "20",
    "KALENDS_OPENSEARCH__SEARCH_DEADLINE_S": "20",
    "KALENDS_QDRANT__DEADLINE_S": "20",
    "KALENDS_MODEL__NICE": "0",
}
"""A busy machine must not leave an arm out, and nobody waits here but for vectors."""

_BATCH = 200
_AT_ONCE = 4
_FIRST = 10
_DEPTH = 100
"""Hits that are asked for; the measures look at the first ten."""
_LONGEST_S = 7200.0
_LOOK_S = 0.5

Rankings = dict[str, list[list[str]]]
"""By mode, for each question the ids found."""


class Side(Protocol):
    """What is asked: an instance or a fleet."""

    def ask(self, method: str, path: str, body: object = None) -> Any: ...

    def status(self) -> Any: ...


def main() -> None:
    """Store and ask on both sides, and print the table; the exit status is 1 if a difference is too large."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.retrieval", description="Retrieval of the cluster shape beside `kalends up`."
    )
    parser.add_argument("--data", type=Path, default=DATA, help="folder with locomo, longmemeval_oracle and scifact")
    parser.add_argument("--only", default=",".join(labelled.NAMES), help="comma-separated data sets of " + ", ".join(labelled.NAMES))
    parser.add_argument("--modes", default=",".join(MODES), help="comma-separated modes of " + ", ".join(MODES))
    parser.add_argument("--most", type=int, default=1_000_000, help="events of a collection, with the questions that they answer whole")
    parser.add_argument("--folder", type=Path, help="where the data is kept meanwhile; default: a temporary folder")
    parser.add_argument("--json", type=Path, help="also write every ranking to this file")
    chosen = parser.parse_args()
    if not chosen.data.is_dir():
        parser.exit(2, f"there is no {chosen.data}: the collections are not part of this repository\n")
    names, modes = chosen.only.split(","), chosen.modes.split(",")
    collections = {name: [labelled.first(one, chosen.most) for one in labelled.read(name, chosen.data)] for name in names}
    _say(report.machine())
    folder = Path(tempfile.mkdtemp(prefix="kalends-retrieval-", dir=chosen.folder))
    try:
        sides: list[tuple[str, AbstractContextManager[Side]]] = [
            ("up", Instance(folder / "up", settings=_PATIENT)),
            ("cluster", Fleet(folder / "cluster", settings=_PATIENT)),
        ]
        with ThreadPoolExecutor(len(sides)) as both:
            waiting = {side: both.submit(_measured, side, opened, collections, modes) for side, opened in sides}
            found = {side: one.result() for side, one in waiting.items()}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if chosen.json:
        chosen.json.write_bytes(msgspec.json.encode(found))
    sys.exit(_tell(collections, modes, found))


def _measured(
    name: str, opened: AbstractContextManager[Side], collections: Mapping[str, Sequence[labelled.Collection]], modes: Sequence[str]
) -> dict[str, Rankings]:
    """Every data set in memories of its own, all of them stored before the first question: so the store is shared by all."""
    with opened as side:
        stored = {}
        for data, members in collections.items():
            started = time.perf_counter()
            stored[data] = [_stored(side, data, number, one) for number, one in enumerate(members)]
            _wait_searchable(side, modes)
            events = sum(len(one.items) for one in members)
            _say(f"# {name}: {data}: {events} events searchable after {time.perf_counter() - started:.0f} s")
        found: dict[str, Rankings] = {}
        for data, members in collections.items():
            started = time.perf_counter()
            found[data] = {mode: _asked(side, members, stored[data], MODES[mode]) for mode in modes}
            _say(f"# {name}: {data}: asked in {time.perf_counter() - started:.0f} s")
        return found


def _stored(side: Side, data: str, number: int, collection: labelled.Collection) -> tuple[str, Mapping[str, str]]:
    """Store a collection; the name of its memory and its own ids by those of the events."""
    memory = f"{data.replace(' ', '-')}-{number}"
    side.ask("PUT", f"/v1/memories/{memory}", {})
    ids = {str(digest_id("retrieval", memory, own)): own for own in collection.items}
    items = [{"event_id": event, **collection.items[own]} for event, own in ids.items()]
    for start in range(0, len(items), _BATCH):
        answer = side.ask("POST", f"/v1/memories/{memory}/events", {"events": items[start : start + _BATCH]})
        if any(result["status"] != "new" for result in answer["results"]):
            raise RuntimeError(f"not everything of {memory} was stored")
    return memory, ids


def _wait_searchable(side: Side, modes: Sequence[str]) -> None:
    """Until every projection that *modes* ask has everything; vectors take the longest by far."""
    wanted = {"timeline", "lexical"} | ({"vector"} if set(modes) - {"lexical"} else set())
    deadline = time.monotonic() + _LONGEST_S
    while any(side.status()["lag"][name]["events"] for name in wanted):
        if time.monotonic() > deadline:
            raise RuntimeError(f"not searchable after {_LONGEST_S:.0f} s")
        time.sleep(_LOOK_S)


def _asked(
    side: Side, members: Sequence[labelled.Collection], stored: Sequence[tuple[str, Mapping[str, str]]], mode: Mapping[str, str]
) -> list[list[str]]:
    def asked(memory: str, ids: Mapping[str, str], question: str) -> list[str]:
        body = {"query": question, "limit": _DEPTH, "timeout_ms": 10_000, **mode}
        answer = side.ask("POST", f"/v1/memories/{memory}/search", body)
        if answer["degraded"] or answer["stale"]:
            raise RuntimeError(f"{memory}: degraded {answer['degraded']}, stale {answer['stale']}")
        return [ids[hit["id"]] for hit in answer["hits"]]

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        waiting = [
            threads.submit(asked, memory, ids, question.text)
            for one, (memory, ids) in zip(members, stored, strict=True)
            for question in one.questions
        ]
        return [one.result() for one in waiting]


def _tell(
    collections: Mapping[str, Sequence[labelled.Collection]], modes: Sequence[str], found: Mapping[str, Mapping[str, Rankings]]
) -> int:
    for data, members in collections.items():
        _say(f"# {data}: {sum(len(one.items) for one in members)} events, {sum(len(one.questions) for one in members)} questions")
    _say("\n| Data | Measure | Mode | `up` | cluster | Difference | the same ten |\n|---|---|---|---|---|---|---|")
    worst = 0.0
    for data, members in collections.items():
        relevant = [question.relevant for one in members for question in one.questions]
        for measure, score in labelled.METRICS.items():
            for mode in modes:
                up, cluster = found["up"][data][mode], found["cluster"][data][mode]
                means = [statistics.fmean(map(score, side, relevant)) for side in (up, cluster)]
                alike = statistics.fmean(a[:_FIRST] == b[:_FIRST] for a, b in zip(up, cluster, strict=True))
                apart = means[1] - means[0]
                worst = max(worst, abs(apart))
                _say(f"| {data} | {measure} | {mode} | {means[0]:.4f} | {means[1]:.4f} | {apart:+.4f} | {100 * alike:.0f} % |")
    _say(f"\nthe largest difference is {worst:.4f}; at most {ALLOWED} is allowed")
    return int(worst > ALLOWED)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
