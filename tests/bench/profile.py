"""Where the time goes inside an instance under load: `python -m tests.bench.profile LOAD [--how count|sample|none]`.

Belongs here: hosting an instance in this process, a load, and two ways of looking. Does not belong here: figures to publish, because to
look costs time. A newcomer would get wrong: ``count`` (cProfile by processor time) sees only the event loop's thread and makes small
functions look dear; ``sample`` sees all threads by the clock, so a thread that waits for the interpreter's lock looks busy where it waits.
"""

import argparse
import cProfile
import os
import pstats
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

from kalends import settings
from kalends.app import host
from kalends.app.container import ROLES
from tests.bench.instance import MEMORY, make_load
from tests.bench.load import Job
from tests.bench.report import percentile

LOADS: dict[str, dict[str, Any]] = {
    "batches": {"kind": "append", "clients": 4, "batch": 100, "requests": 400, "seconds": 6.0, "session_turns": 100},
    "sessions": {"kind": "append", "clients": 4, "batch": 100, "requests": 400, "seconds": 6.0},
    "singles": {"kind": "append", "clients": 32, "requests": 10_000, "seconds": 6.0},
    "single": {"kind": "append", "clients": 1, "requests": 10_000, "seconds": 6.0},
    "search": {"kind": "search", "clients": 1, "requests": 300, "seconds": 20.0, "about": 2000},
    "index": {"kind": "append", "clients": 1, "batch": 100, "requests": 20, "seconds": 20.0},
}
_SAMPLE_S = 0.002
_SETTLE_S = 2.5


class Sampler(threading.Thread):
    """Notes every so often what each thread is at."""

    def __init__(self) -> None:
        super().__init__(name="sampler", daemon=True)
        self.stopped = threading.Event()
        self.own: Counter[tuple[str, str]] = Counter()
        self.under: Counter[tuple[str, str]] = Counter()
        self.rounds = 0

    def run(self) -> None:
        while not self.stopped.wait(_SAMPLE_S):
            names = {thread.ident: thread.name for thread in threading.enumerate()}
            self.rounds += 1
            for ident, frame in sys._current_frames().items():
                if ident != self.ident:
                    self._note(names.get(ident, "?"), frame)

    def _note(self, thread: str, frame: FrameType | None) -> None:
        thread = thread.rstrip("_0123456789")
        seen: set[str] = set()
        while frame is not None:
            code = frame.f_code
            place = f"{_short(code.co_filename)}:{code.co_qualname}"
            if not seen:
                self.own[thread, f"{place}:{frame.f_lineno}"] += 1
            if place not in seen:
                self.under[thread, place] += 1
                seen.add(place)
            frame = frame.f_back

    def show(self) -> None:
        """The places that were seen most, for each thread."""
        for title, found in (("at", self.own), ("under", self.under)):
            for thread in sorted({thread for thread, _ in found}):
                _say(f"\n== {thread}: {title} (share of {self.rounds} samples)")
                places = Counter({place: count for (name, place), count in found.items() if name == thread})
                for place, count in places.most_common(45):
                    _say(f"{100 * count / max(self.rounds, 1):6.1f} %  {place}")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _short(path: str) -> str:
    return path.rpartition("/services/")[2] if "/services/" in path else "/".join(path.split("/")[-2:])


def thread_times() -> dict[str, float]:
    """Processor seconds of each thread of this process so far."""
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    found: dict[str, float] = {"the whole process": time.process_time()}
    for task in Path("/proc/self/task").iterdir():
        try:
            fields = (task / "stat").read_text(encoding="ascii").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended just now
        name = names.get(int(task.name), "native")
        found[name] = found.get(name, 0.0) + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return found


class Session:
    """One load on the instance of this process."""

    def __init__(self, load: str, how: str) -> None:
        self._load = load
        self._how = how
        self._counted = cProfile.Profile(time.thread_time)
        self._sampler = Sampler()

    def ready(self, where: host.Ready) -> None:
        """Called in the event loop's thread once the instance answers."""
        threading.Thread(target=self._work, args=(where,), name="work", daemon=True).start()
        if self._how == "count":
            self._counted.enable()

    def _work(self, where: host.Ready) -> None:
        try:
            self._measure(where)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    def _measure(self, where: host.Ready) -> None:
        token = where.token_file.read_text(encoding="ascii").strip()
        _create(where.url, token)
        target: dict[str, Any] = {"url": where.url, "token": token, "memory": MEMORY}
        time.sleep(_SETTLE_S)
        if self._load == "search":
            make_load(Job(**target, kind="append", batch=100, requests=20))
            _wait(where.url, token)
        before = thread_times()
        started = time.perf_counter()
        if self._how == "sample":
            self._sampler.start()
        outcome = make_load(Job(**target, **LOADS[self._load]))
        if self._load == "index":
            _wait(where.url, token)
        seconds = time.perf_counter() - started
        self._sampler.stopped.set()
        after = thread_times()
        batch = LOADS[self._load].get("batch", 1)
        done = outcome.answered * batch
        latencies = sorted(outcome.latencies)
        _say(f"{self._load}: {done} events or questions in {outcome.seconds:.1f} s of load, {seconds:.1f} s in all")
        _say(f"p50 {percentile(latencies, 0.5):.1f} ms, p95 {percentile(latencies, 0.95):.1f} ms, statuses {outcome.statuses}")
        for name, spent in sorted(after.items(), key=lambda pair: -(pair[1] - before.get(pair[0], 0.0))):
            used = spent - before.get(name, 0.0)
            if used > 0.01 * seconds:
                _say(f"  {name:24} {used:7.2f} s of processor time, {1e6 * used / max(done, 1):6.0f} us each")

    def show(self) -> None:
        """What was seen."""
        if self._how == "sample":
            self._sampler.show()
        elif self._how == "count":
            self._counted.disable()
            pstats.Stats(self._counted).strip_dirs().sort_stats("tottime").print_stats(45).sort_stats("cumulative").print_stats(60)


def _create(url: str, token: str) -> None:
    _ask(url, token, "PUT", f"/v1/memories/{MEMORY}")


def _wait(url: str, token: str) -> None:
    while any(one["events"] for one in _ask(url, token, "GET", "/v1/status")["lag"].values()):
        time.sleep(_SETTLE_S / 10)


def _ask(url: str, token: str, method: str, path: str) -> Any:
    import httpx

    answer = httpx.request(
        method, url + path, headers={"Authorization": f"Bearer {token}"}, json={} if method == "PUT" else None, timeout=60
    )
    return answer.raise_for_status().json()


def main() -> None:
    """Host, load, look."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("load", choices=LOADS)
    parser.add_argument("--how", choices=["count", "sample", "none"], default="none")
    chosen = parser.parse_args()
    session = Session(chosen.load, chosen.how)
    data = Path(tempfile.mkdtemp(prefix="kalends-profile-"))
    try:
        flags = {"data": str(data), "http": {"port": 0, "ops_port": 0}, "telemetry": {"level": "warning"}}
        host.run(ROLES, settings.load(file=None, environment={}, flags=flags), ready=session.ready)
    finally:
        shutil.rmtree(data)
    session.show()


if __name__ == "__main__":
    main()
