"""The sections of a run: which load, and which rows come of it.

Belongs here: the procedure of each measurement, in the order of its steps. Does not belong here: sending (``load``) or printing
(``report``). A newcomer would get wrong: ingest is measured while the projections work on what is already stored, as it is in use; searches
are measured when nothing is left to index.
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from tests.bench import calendar, fairness, restoring, trust
from tests.bench.instance import ROOT, Instance, bare_environment
from tests.bench.load import Outcome
from tests.bench.reference import Reference, ReferenceJob
from tests.bench.report import Report, Row, percentile

NAMES = ("start", "ingest", "index", "lag", "search", "memory", "calendar", "fairness", "trust", "erase", "restore")
BATCH = 100
BATCHES_AIM, SINGLES_AIM, SEARCHABLE_AIM, SEARCH_AIM_MS, GROWTH_AIM, MEMORY_AIM_MIB = 10_000, 1_200, 0.8, 60.0, 1.5, 800.0

_STARTS = 3
_INGEST_S = 5.0
_INDEX_S = 1200.0
_EMBEDDED = 512
_LAG_RATE, _LAG_WAIT_EVERY, _LAG_CONNECTIONS = 50.0, 5, 64


@dataclass(kw_only=True)
class Bench:
    """What one run knows."""

    folder: Path
    report: Report
    sections: Sequence[str]
    sizes: Sequence[int]
    questions: int = 200
    lag_seconds: float = 20.0
    repeats: int = 1
    calendar_events: int = 100_000
    restored_events: int = 100_000
    references: dict[tuple[str, int], Reference] = field(default_factory=dict)
    first_p95: float | None = None

    def run(self) -> None:
        """Every chosen section."""
        if "start" in self.sections:
            self._start()
        if "ingest" in self.sections:
            self._ingest()
        if {"index", "lag", "search", "memory", "erase"} & set(self.sections):
            self._grown()
        if "calendar" in self.sections:
            calendar.measure(self.folder, self.report, events=self.calendar_events)
        if "fairness" in self.sections:
            fairness.measure(self.folder, self.report)
        if "trust" in self.sections:
            trust.costs(self.folder, self.report)
        if "restore" in self.sections:
            restoring.measure(self.folder, self.report, events=self.restored_events)

    def _row(self, section: str, name: str, value: float, unit: str, **more: Any) -> None:
        self.report.add(Row(section=section, name=name, value=value, unit=unit, **more))

    def _start(self) -> None:
        section = "Start-up, from the command to the ready line"
        data = self.folder / "start"
        for number in range(_STARTS + 1):
            with Instance(data) as instance:
                name = "first start, in an empty folder" if number == 0 else "start again"
                self._row(section, name, instance.start_s, "s")
        shutil.rmtree(data)

    def _ingest(self) -> None:
        section = "Acked and synced, through HTTP, while the projections index"
        first = 1_000_000
        for batch, clients, aim in ((BATCH, 1, None), (BATCH, 4, BATCHES_AIM), (BATCH, 8, BATCHES_AIM), (500, 4, BATCHES_AIM)):
            requests = max(100, int(30_000 * _INGEST_S / batch / 2))
            self._acked(section, f"batches of {batch}, {clients} clients", first, aim, batch=batch, clients=clients, requests=requests)
            first += requests * batch
        for clients, aim in ((1, None), (8, None), (32, SINGLES_AIM)):
            self._acked(section, f"single events, {clients} clients", first, aim, batch=1, clients=clients, requests=15_000)
            first += 15_000

    def _acked(self, section: str, name: str, first: int, aim: float | None, *, batch: int, clients: int, requests: int) -> None:
        """A folder of its own for each, so that none works off the backlog of another; the best of the repeats counts, all are told."""
        outcomes = []
        for number in range(self.repeats):
            data = self.folder / f"ingest-{batch}-{clients}-{number}"
            with Instance(data) as instance:
                instance.load(kind="append", clients=1, batch=BATCH, requests=5)
                instance.wait_indexed(seconds=_INDEX_S)
                outcomes.append(
                    instance.load(
                        kind="append", clients=clients, batch=batch, requests=requests, seconds=_INGEST_S, first=first, expect='"new"'
                    )
                )
            shutil.rmtree(data)
        rates = sorted(outcome.answered * batch / outcome.seconds for outcome in outcomes)
        best = max(outcomes, key=lambda outcome: outcome.answered / outcome.seconds)
        told = "" if len(rates) == 1 else f"runs {', '.join(f'{rate:,.0f}' for rate in rates)}; "
        self._row(section, name, rates[-1], "events/s", aim=aim, note=told + _latencies(best))

    def _grown(self) -> None:
        """One instance that grows from size to size."""
        with Instance(self.folder / "grown") as instance:
            stored = 0
            for size in self.sizes:
                self._grow(instance, stored, size)
                stored = size
                if "memory" in self.sections:
                    self._memory(instance, size, f"after indexing {size:,} events")
                instance.wait_settled(seconds=_INDEX_S)
                if "search" in self.sections:
                    self._search(instance, size)
                    if "memory" in self.sections:
                        self._memory(instance, size, f"after searching {size:,} events")
                if "memory" in self.sections:
                    self._disk(instance, size)
            if "lag" in self.sections:
                self._lag(instance, stored)
            if "erase" in self.sections:
                instance.wait_settled(seconds=_INDEX_S)
                trust.erasing(instance, self.report, events=stored)

    def _grow(self, instance: Instance, stored: int, size: int) -> None:
        section = f"Searchable: from the first request until every projection has all, {stored:,} to {size:,} events"
        reference = self._reference("int8", size) if "index" in self.sections else None
        started, cpu = time.perf_counter(), instance.cpu_s()
        sent = instance.load(kind="append", clients=2, batch=BATCH, requests=(size - stored) // BATCH, first=stored, expect='"new"')
        if sent.unexpected:
            raise RuntimeError(f"not everything was stored: {sent.statuses}")
        instance.wait_indexed(seconds=_INDEX_S)
        seconds = time.perf_counter() - started
        spent = instance.cpu_s() - cpu
        if reference is not None:
            rate = (size - stored) / seconds
            # the machine may be busier at one time than at another: the reference is measured before and after
            again = self._reference("int8", size, anew=True)
            embed_rate = (reference.embed_rate + again.embed_rate) / 2
            exact = self._reference("fp32", size)
            note = f"{seconds:.0f} s, {1000 * spent / (size - stored):.1f} ms of processor an event; {rate / embed_rate:.2f}x of int8 alone"
            aim = SEARCHABLE_AIM * exact.embed_rate
            self._row(section, "searchable", rate, "events/s", aim=aim, reference=exact.embed_rate, note=note)
            self._row(section, "reference: embedding alone, int8, before and after", embed_rate, "events/s")
            self._row(section, "reference: embedding alone, exact (fp32)", exact.embed_rate, "events/s")
            self._row(section, "reference: plain BM25 alone, indexing", exact.index_rate, "events/s")

    def _search(self, instance: Instance, size: int) -> None:
        section = f"Search, 10 hits of {size:,} events"
        exact = self._reference("fp32", size)
        for name, taken in (("plain BM25", exact.bm25), ("exact MiniLM and exact dense search", exact.dense)):
            self._row(section, f"reference: {name}, in process, p95", percentile(taken, 0.95), "ms", note=_spread(taken))
        first = size
        for rerank, clients in (("on", 1), ("on", 8), ("off", 1), ("off", 8)):
            # each load has questions of its own, because an encoded question is remembered
            first += 1
            expect = '"arms":["lexical","vector","rerank"],"degraded":[]' if rerank == "on" else '"arms":["lexical","vector"],"degraded":[]'
            count = self.questions * (1 if clients == 1 else 2)
            found = instance.load(
                kind="search", clients=clients, requests=count, about=size, first=first, rerank=rerank, expect=expect, seconds=120.0
            )
            p95 = percentile(found.latencies, 0.95)
            aim = None
            if rerank == "on" and clients == 1:
                aim = SEARCH_AIM_MS if self.first_p95 is None else GROWTH_AIM * self.first_p95
                self.first_p95 = self.first_p95 or p95
            name = f"{'with' if rerank == 'on' else 'without'} rerank, {clients} clients, p95"
            note = f"{_latencies(found)}, {found.answered / found.seconds:.0f}/s"
            self._row(section, name, p95, "ms", aim=aim, at_most=True, reference=percentile(exact.both, 0.95), note=note)

    def _lag(self, instance: Instance, stored: int) -> None:
        section = f"Lag at {_LAG_RATE:.0f} events/s: from sending one until every projection has it, beside {stored:,} events"
        found = instance.load(
            kind="append",
            clients=_LAG_CONNECTIONS,
            requests=int(self.lag_seconds * _LAG_RATE),
            rate=_LAG_RATE,
            seconds=self.lag_seconds + 10,
            wait_every=_LAG_WAIT_EVERY,
            first=2_000_000,
            expect='"new"',
        )
        troubles = f"; {found.unexpected} not in time" if found.unexpected else ""
        for share in (0.5, 0.95):
            note = f"{len(found.waited)} events asked{troubles}"
            self._row(section, f"searchable, p{share * 100:.0f}", percentile(found.waited, share), "ms", note=note)
        self._row(section, "acked, p95", percentile(found.latencies, 0.95), "ms", note=_latencies(found))

    def _memory(self, instance: Instance, size: int, when: str) -> None:
        section = f"Memory and disk, {size:,} events"
        usage = instance.usage()
        note = ", ".join(f"{one.name} {one.rss:.0f} (peak {one.peak:.0f})" for one in usage) + f"; PSS {sum(one.pss for one in usage):.0f}"
        total = sum(one.rss for one in usage)
        self._row(section, f"RSS of all processes, {when}", total, "MiB", aim=MEMORY_AIM_MIB, at_most=True, note=note)

    def _disk(self, instance: Instance, size: int) -> None:
        section = f"Memory and disk, {size:,} events"
        disk = instance.disk()
        for name, found in sorted(disk.items(), key=lambda pair: -pair[1]):
            if found > 16 * size:
                self._row(section, f"disk: {name}", found / size, "B/event")
        self._row(section, "disk: all", sum(disk.values()) / size, "B/event")

    def _reference(self, precision: str, events: int, *, anew: bool = False) -> Reference:
        if anew or (precision, events) not in self.references:
            job = ReferenceJob(
                cache=str(self.folder / "reference"), precision=precision, embedded=_EMBEDDED, events=events, questions=self.questions
            )
            command = [sys.executable, "-m", "tests.bench.reference"]
            done = subprocess.run(
                command, cwd=ROOT, env=bare_environment(), input=msgspec.json.encode(job), stdout=subprocess.PIPE, check=True, timeout=600
            )
            found = msgspec.json.decode(done.stdout, type=Reference)
            if anew:
                return found
            self.references[precision, events] = found
        return self.references[precision, events]


def _spread(values: Sequence[float]) -> str:
    return ", ".join(f"p{share * 100:.0f} {percentile(values, share):.1f} ms" for share in (0.5, 0.95, 0.99))


def _latencies(found: Outcome) -> str:
    told = f"{_spread(found.latencies)}, load maker {100 * found.cpu / found.seconds:.0f} % of a core"
    other = {status: count for status, count in found.statuses.items() if not status.startswith("2")}
    if other or found.unexpected:
        told += f"; NOT AS EXPECTED: {found.unexpected} answers, statuses {other}"
    return told
