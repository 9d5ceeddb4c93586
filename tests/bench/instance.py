"""An instance to measure: started as people start it, asked through HTTP, and looked at from outside.

Belongs here: starting, stopping, asking, memory and disk. Does not belong here: load (``load``) or what figures mean (``sections``). A
newcomer would get wrong: pages that processes share count in each one's RSS; PSS shares them out, so both are told.
"""

import contextlib
import http.client
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec

from tests.bench.load import Job, Outcome
from tests.support.instance import Child

ROOT = Path(__file__).resolve().parents[2]
MEMORY = "bench"

_START_S = 120.0
_STOP_S = 30.0
_POLL_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Memory of one process, in MiB."""

    name: str
    rss: float
    pss: float
    peak: float


class Instance:
    """One `kalends up`, from its start to its end; *settings* are KALENDS_* variables, *ca* is the file that its TLS is trusted by."""

    def __init__(self, data: Path, *, memory: str = MEMORY, settings: Mapping[str, str] | None = None, ca: Path | None = None) -> None:
        self.data = data
        self.memory = memory
        self._ca = ca
        self._settings = dict(settings or {})
        self.start_s = 0.0
        self._process: Child | None = None
        self._ready: Mapping[str, Any] = {}
        self._token = ""

    def __enter__(self) -> Self:
        self.data.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "kalends.app.cli", "up", "--data", str(self.data), "--port", "0", "--ops-port", "0", "--json"]
        started = time.perf_counter()
        errors = self.data.with_suffix(".log")
        self._process = Child(command, env=bare_environment() | self._settings, errors=errors, output=subprocess.PIPE)
        assert self._process.stdout is not None
        self._ready = msgspec.json.decode(self._process.stdout.readline() or b"{}")
        self.start_s = time.perf_counter() - started
        if not self._ready.get("ready"):
            self.__exit__()
            raise RuntimeError(f"the instance did not start; see {self.data.with_suffix('.log')}")
        self._token = Path(self._ready["token_file"]).read_text(encoding="ascii").strip()
        self.ask("PUT", f"/v1/memories/{self.memory}", {})
        return self

    def __exit__(self, *_: object) -> None:
        process = self._process
        if process is None:
            return
        if process.running:
            process.send(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                process.wait(seconds=_STOP_S)
        process.close()

    @property
    def url(self) -> str:
        """Where it is."""
        return str(self._ready["url"])

    @property
    def token(self) -> str:
        """The admin's token."""
        return self._token

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """One request; the decoded answer.

        Raises:
            RuntimeError: it was not answered with a 2xx.
        """
        return ask(self._ready["url"], self._token, method, path, body, ca=self._ca)

    def status(self) -> Any:
        """What the status says."""
        return self.ask("GET", "/v1/status")

    def load(self, *, kind: str, **how: Any) -> Outcome:
        """Let the load maker do a job against this instance."""
        return make_load(Job(url=self._ready["url"], token=self._token, memory=self.memory, kind=kind, ca=str(self._ca or ""), **how))

    def wait_indexed(self, *, seconds: float) -> float:
        """Wait until no projection is behind; returns the seconds waited.

        Raises:
            RuntimeError: it took longer than *seconds*.
        """
        started = time.perf_counter()
        while time.perf_counter() - started < seconds:
            lag = self.status()["lag"]
            if {"timeline", "lexical", "vector"} <= set(lag) and not any(one["events"] for one in lag.values()):
                return time.perf_counter() - started
            time.sleep(_POLL_S)
        raise RuntimeError(f"the projections are still behind after {seconds:.0f} s")

    def wait_settled(self, *, seconds: float) -> float:
        """Wait until nothing of the calendar is due and no projection is behind; returns the seconds waited.

        Raises:
            RuntimeError: it took longer than *seconds*.
        """
        started = time.perf_counter()
        while time.perf_counter() - started < seconds:
            status = self.status()
            due = status["calendar"]["units_due"] + status["calendar"]["periods_due"]
            if due == 0 and not any(one["events"] for one in status["lag"].values()):
                return time.perf_counter() - started
            time.sleep(_POLL_S)
        raise RuntimeError(f"the calendar is not written after {seconds:.0f} s")

    def usage(self) -> list[Usage]:
        """Memory of the instance's process and its children."""
        return [usage_of(pid) for pid in self.pids().values()]

    def cpu_s(self) -> float:
        """Processor time of all its processes so far, in seconds."""
        return sum(processor_s(pid) for pid in self.pids().values())

    def pids(self) -> dict[str, int]:
        """The ids of the instance's process and its children, by what they are."""
        assert self._process is not None
        first, *others = family(self._process.pid)
        return {"kalends": first, **{usage_of(pid).name: pid for pid in others}}

    def disk(self) -> dict[str, int]:
        """Bytes on disk by the data folder's top level, as `du` counts them; without logs and the model's graph."""
        found: dict[str, int] = {}
        for path in self.data.rglob("*"):
            top = path.relative_to(self.data).parts[0]
            if path.is_file() and top not in {"logs", "models"}:
                found[top] = found.get(top, 0) + path.stat().st_blocks * 512
        return found


def ask(url: str, token: str, method: str, path: str, body: object = None, *, ca: Path | None = None) -> Any:
    """One request on a connection of its own; the decoded answer.

    Raises:
        RuntimeError: it was not answered with a 2xx.
    """
    target = urlsplit(url)
    connection = (
        http.client.HTTPSConnection(str(target.hostname), target.port, timeout=60, context=ssl.create_default_context(cafile=ca))
        if ca
        else http.client.HTTPConnection(str(target.hostname), target.port, timeout=60)
    )
    headers = {"Authorization": f"Bearer {token}"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    try:
        connection.request(method, path, None if body is None else msgspec.json.encode(body), headers)
        answer = connection.getresponse()
        told = answer.read()
    finally:
        connection.close()
    if answer.status >= 300:
        raise RuntimeError(f"{method} {path}: {answer.status} {told[:300].decode(errors='replace')}")
    return msgspec.json.decode(told) if told else None


def make_load(job: Job) -> Outcome:
    """Run the load maker as a process of its own."""
    command = [sys.executable, "-m", "tests.bench.load"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=bare_environment()) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(msgspec.json.encode(job) + b"\n")
        process.stdin.flush()
        if process.stdout.readline().strip() != b"prepared":
            raise RuntimeError("the load maker failed; its words are above")
        process.stdin.write(b"go\n")
        process.stdin.flush()
        told = process.stdout.read()
    if process.returncode:
        raise RuntimeError(f"the load maker ended with {process.returncode}; its words, if any, are above")
    return msgspec.json.decode(told, type=Outcome)


def bare_environment() -> dict[str, str]:
    """The environment without settings of somebody's own instance."""
    return {name: value for name, value in os.environ.items() if not name.startswith("KALENDS_")}


def family(pid: int) -> list[int]:
    """*pid*, its children and theirs."""
    children = [int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text(encoding="ascii").split()]
    return [pid, *(one for child in children for one in family(child))]


def processor_s(pid: int) -> float:
    """Processor time of a process so far, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def usage_of(pid: int) -> Usage:
    """Memory of a process now."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines() if ":" in line)
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()[1:]
    shares = {line.split(":")[0]: int(line.split()[1]) for line in rollup}
    name = status["Name"].strip()
    return Usage(name=name, rss=shares["Rss"] / 1024, pss=shares["Pss"] / 1024, peak=int(status["VmHWM"].split()[0]) / 1024)
