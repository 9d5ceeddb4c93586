"""`python -m tests.bench.cluster`: the same load on `kalends up` and on the cluster shape, in one run; see docs/benchmarks.md.

Belongs here: the procedure and its rows. Does not belong here: processes (``fleet``, ``instance``), sending (``load``), retrieval
(``retrieval``). A newcomer would get wrong: all processes, OpenSearch included, share the cores of one machine, so more replicas cannot be
faster than the cores; what the run shows is what a process costs, and that replicas share the work without harm.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import msgspec

from tests.bench import report
from tests.bench.fleet import Fleet
from tests.bench.instance import Instance, processor_s, usage_of
from tests.bench.load import Outcome
from tests.bench.report import Report, Row, percentile

UP = "up"
_BATCH = 100
_WARM_EVENTS, _WARM_QUESTIONS = 200, 150
_WARM_FIRST, _ACKED_FIRST = 5_000_000, 6_000_000
_SETTLED_S = 600.0
_LONGEST_S = 1200.0
_LOOK_S = 0.1
_OLD_S = 1.0
"""A lag is up to half a second old, and what it knows of the log a moment more: so soon after a write, no lag says nothing."""

_RERANKED = '"arms":["lexical","vector","rerank"],"degraded":[]'
_QUESTIONS_A_S, _CONNECTIONS = 5.0, 32


class Subject(Protocol):
    """What is measured: `kalends up` or a fleet."""

    def ask(self, method: str, path: str, body: object = None) -> Any: ...

    def status(self) -> Any: ...

    def load(self, *, kind: str, **how: Any) -> Outcome: ...

    def pids(self) -> dict[str, int]: ...

    def disk(self) -> dict[str, int]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much of everything: events to index, questions of the closed loop, seconds of the paced one and of each ingest load."""

    events: int
    questions: int
    paced_s: float
    ingest_s: float
    idle_s: float
    rebuilds: bool


FULL = Size(events=3000, questions=100, paced_s=20.0, ingest_s=5.0, idle_s=5.0, rebuilds=True)
QUICK = Size(events=500, questions=30, paced_s=6.0, ingest_s=2.0, idle_s=3.0, rebuilds=False)


@dataclass(kw_only=True)
class Bench:
    """One run: rows of one subject after the other; those of the first are what the others are compared to."""

    report: Report
    size: Size
    of_up: dict[str, float] = field(default_factory=dict)
    name: str = ""

    def measure(self, name: str, opened: AbstractContextManager[Subject]) -> None:
        """Every figure of one subject. What it holds grows from step to step, in the same order for all."""
        self.name = name
        with opened as subject:
            self._warm(subject)
            self._idle(subject)
            self._searchable(subject)
            self._settle(subject)
            self._search(subject)
            self._memory(subject)
            if self.size.rebuilds:
                self._rebuilds(subject)
            self._acked(subject)

    def _row(self, name: str, value: float, unit: str, *, note: str = "") -> None:
        load = f"load {_load():.1f}"
        reference = None if self.name == UP else self.of_up.get(name)
        if self.name == UP:
            self.of_up[name] = value
        self.report.add(
            Row(section=self.name, name=name, value=value, unit=unit, reference=reference, note=f"{note}; {load}" if note else load)
        )

    def _warm(self, subject: Subject) -> None:
        """So that neither the first batch of a model nor Java that has not compiled yet counts."""
        subject.load(kind="append", batch=_BATCH, requests=_WARM_EVENTS // _BATCH, first=_WARM_FIRST, expect='"new"')
        self._covered(subject, time.perf_counter())
        subject.load(kind="search", requests=_WARM_QUESTIONS, about=_WARM_EVENTS, first=_WARM_FIRST, rerank="on")
        self._settle(subject)

    def _settle(self, subject: Subject) -> None:
        """Return once the calendar has nothing to do and its last nodes are indexed: seen twice, for a lag may be old."""

        def is_settled() -> bool:
            if _due(subject):
                return False
            time.sleep(_OLD_S)
            return _due(subject) == 0

        self._wait(is_settled, _SETTLED_S)

    def _idle(self, subject: Subject) -> None:
        before = _processor(subject)
        time.sleep(self.size.idle_s)
        spent = _spent(before, _processor(subject))
        shares = {name: 100 * seconds / self.size.idle_s for name, seconds in spent.items()}
        self._row("processor while nothing happens", sum(shares.values()), "% of one", note=_told(shares, least=0.5))

    def _searchable(self, subject: Subject) -> None:
        events = self.size.events
        disk, before, started = subject.disk(), _processor(subject), time.perf_counter()
        sent = subject.load(kind="append", clients=2, batch=_BATCH, requests=events // _BATCH, expect='"new"')
        acked = time.perf_counter() - started
        covered = self._covered(subject, started)
        spent = {name: 1000 * seconds / events for name, seconds in _spent(before, _processor(subject)).items()}
        if sent.unexpected:
            raise RuntimeError(f"not everything was stored: {sent.statuses}")
        both = max(covered.values())
        self._row("searchable by word and by meaning", events / both, "events/s", note=f"{both:.1f} s, all acked after {acked:.1f} s")
        self._row("searchable by word, while vectors are made", events / covered["lexical"], "events/s")
        self._row("processor for 1,000 events", sum(spent.values()), "s", note=_told(spent, least=0.02))
        grown = {name: (size - disk.get(name, 0)) / events for name, size in subject.disk().items()}
        self._row("disk for one event more", sum(grown.values()), "B", note=_told(grown, least=16.0))

    def _covered(self, subject: Subject, started: float) -> dict[str, float]:
        """By projection, the seconds since *started* after which it had everything.

        It is looked ten times a second, and not before ``_OLD_S`` from now, when everything is written.
        """
        time.sleep(_OLD_S)
        found: dict[str, float] = {}

        def all_are() -> bool:
            lag = subject.status()["lag"]
            now = time.perf_counter() - started
            for name in ("timeline", "lexical", "vector"):
                if name in lag and not lag[name]["events"]:
                    found.setdefault(name, now)
            return len(found) == 3

        self._wait(all_are, _LONGEST_S)
        return found

    def _search(self, subject: Subject) -> None:
        first, count = self.size.events, self.size.questions
        for name, more in (
            ("search with rerank, one after the other", {"rerank": "on", "expect": _RERANKED}),
            ("search by word alone, one after the other", {"rerank": "off", "mode": "lexical", "expect": '"arms":["lexical"]'}),
        ):
            first += 1
            before = _processor(subject)
            found = subject.load(kind="search", requests=count, about=self.size.events, first=first, seconds=120.0, **more)
            spent = {part: 1000 * one / found.answered for part, one in _spent(before, _processor(subject)).items()}
            self._latencies(name, found, f"{found.answered / found.seconds:.0f}/s")
            self._row(f"{name}: processor for 1,000", sum(spent.values()), "s", note=_told(spent, least=0.1))
        paced = int(self.size.paced_s * _QUESTIONS_A_S)
        found = subject.load(
            kind="search",
            clients=_CONNECTIONS,
            requests=paced,
            rate=_QUESTIONS_A_S,
            about=self.size.events,
            first=first + 1,
            rerank="on",
            expect=_RERANKED,
            seconds=self.size.paced_s + 30,
        )
        self._latencies(f"search with rerank, {_QUESTIONS_A_S:.0f} questions a second", found, f"{paced} questions")

    def _latencies(self, name: str, found: Outcome, note: str) -> None:
        if found.unexpected or set(found.statuses) - {"200"}:
            note += f"; NOT AS EXPECTED: {found.unexpected} answers, statuses {found.statuses}"
        for share in (0.5, 0.95):
            self._row(f"{name}, p{share * 100:.0f}", percentile(found.latencies, share), "ms", note=note)

    def _memory(self, subject: Subject) -> None:
        usage = {name: usage_of(pid) for name, pid in subject.pids().items()}
        told = _told({name: one.rss for name, one in usage.items()}, least=1.0)
        self._row("memory of all processes (RSS)", sum(one.rss for one in usage.values()), "MiB", note=told)
        pss = sum(one.pss for one in usage.values())
        self._row("memory of all processes, shared pages once (PSS)", pss, "MiB")

    def _rebuilds(self, subject: Subject) -> None:
        """From the log, beside the serving generation; the calendar's nodes are messages too."""
        for projection in ("lexical", "vector"):
            before, started = _processor(subject), time.perf_counter()
            operation = subject.ask("POST", "/v1/admin/reindexes", {"projection": projection})["operation_id"]
            seen: dict[str, Any] = {}

            def ended(operation: str = operation, seen: dict[str, Any] = seen) -> bool:
                seen.update(subject.ask("GET", f"/v1/operations/{operation}"))
                return seen["state"] not in {"queued", "running"}

            self._wait(ended, _LONGEST_S)
            seconds = time.perf_counter() - started
            total = seen["total"]
            if seen["state"] != "succeeded":
                raise RuntimeError(f"the rebuild of {projection} has {seen['state']}")
            spent = {name: 1000 * one / total for name, one in _spent(before, _processor(subject)).items()}
            note = f"{total} messages in {seconds:.1f} s; processor for 1,000: {_told(spent, least=0.02)}"
            self._row(f"rebuild of {projection} alone", total / seconds, "events/s", note=note)

    def _acked(self, subject: Subject) -> None:
        """Last, because what is not indexed in the time is thrown away with the subject."""
        first = _ACKED_FIRST
        for name, clients, batch in (("single events, 32 clients", 32, 1), (f"batches of {_BATCH}, 8 clients", 8, _BATCH)):
            requests = int(self.size.ingest_s * (30_000 / batch if batch > 1 else 3_000))
            before = _processor(subject)
            found = subject.load(
                kind="append", clients=clients, batch=batch, requests=requests, seconds=self.size.ingest_s, first=first, expect='"new"'
            )
            acked = found.answered * batch
            spent = {name: 1000 * one / acked for name, one in _spent(before, _processor(subject)).items()}
            note = f"p95 {percentile(found.latencies, 0.95):.0f} ms; processor for 1,000: {_told(spent, least=0.02)}"
            if found.unexpected or set(found.statuses) - {"202", "200"}:
                note += f"; NOT AS EXPECTED: {found.unexpected} answers, statuses {found.statuses}"
            self._row(f"acked, {name}", acked / found.seconds, "events/s", note=note)
            first += requests * batch

    def _wait(self, condition: Any, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > until:
                raise RuntimeError(f"{self.name}: not done after {seconds:.0f} s")
            time.sleep(_LOOK_S)


def main() -> None:
    """Measure what was chosen."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.cluster", description="The cluster shape beside `kalends up`, in one run.")
    parser.add_argument("--quick", action="store_true", help="little of everything, with 1 and 3 replicas of index: about three minutes")
    parser.add_argument("--replicas", default="", help="comma-separated numbers of index processes; default 1,2,3 (quick: 1,3)")
    parser.add_argument("--folder", type=Path, help="where data is kept meanwhile; default: a temporary folder")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    chosen = parser.parse_args()
    counts = [int(one) for one in (chosen.replicas or ("1,3" if chosen.quick else "1,2,3")).split(",")]
    told = Report()
    told.say(report.machine())
    told.say("All processes share these cores, OpenSearch and the load maker included; the wire server stands for Qdrant and is none.")
    started = time.perf_counter()
    folder = Path(tempfile.mkdtemp(prefix="kalends-bench-", dir=chosen.folder))
    bench = Bench(report=told, size=QUICK if chosen.quick else FULL)
    try:
        _measure_all(bench, folder, counts, three_nodes=not chosen.quick)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    told.say(f"\n{time.perf_counter() - started:.0f} s in all; load at the end: {_load():.2f}")
    if chosen.json:
        chosen.json.write_bytes(msgspec.json.format(msgspec.json.encode(told.rows)))


def _measure_all(bench: Bench, folder: Path, counts: Sequence[int], *, three_nodes: bool) -> None:
    bench.measure(UP, Instance(folder / UP))
    for count in counts:
        bench.measure(f"cluster, {count} index", Fleet(folder / f"cluster-{count}", replicas=count))
    if three_nodes:
        bench.measure("cluster, 1 index, three NATS nodes", Fleet(folder / "cluster-nats", nodes=3))


def _due(subject: Subject) -> int:
    """What the calendar still has to do."""
    status = subject.status()
    calendar = status["calendar"] or {"units_due": 0, "periods_due": 0}
    behind = sum(status["lag"][name]["events"] for name in ("timeline", "lexical", "vector"))
    return int(calendar["units_due"] + calendar["periods_due"] + behind)


def _processor(subject: Subject) -> dict[str, float]:
    return {name: processor_s(pid) for name, pid in subject.pids().items()}


def _spent(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    return {name: seconds - before.get(name, 0.0) for name, seconds in after.items()}


def _told(values: Mapping[str, float], *, least: float) -> str:
    """What is worth telling, the largest first."""
    return ", ".join(f"{name} {report.number(one)}" for name, one in sorted(values.items(), key=lambda pair: -pair[1]) if one >= least)


def _load() -> float:
    return float(Path("/proc/loadavg").read_text(encoding="ascii").split()[0])


if __name__ == "__main__":
    main()
