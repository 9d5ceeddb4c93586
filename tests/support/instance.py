"""Kalends as a child process: ``kalends up`` or ``kalends serve ROLE…`` on a data folder, to be talked to, stopped and killed.

Belongs here: starting, waiting until ready, ending, and that nothing is left behind. Does not belong here: talking to it (``api``). A
newcomer would get wrong: an interpreter that ends by a signal runs no exit handler, so a small process of its own (the reaper) ends what
we started when our end of its pipe closes.
"""

import atexit
import contextlib
import json
import os
import queue
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Self

from kalends.adapters.nats.broker_config import BrokerUser, ServerOptions, render, write_private
from kalends.adapters.nats.server import find_binary
from tests.support import forkserver, planted

START_S = 120.0
"""The first start of a checkout builds the model's graph from the weights."""
STOP_S = 30.0
_METRICS_S = 2.0
_PORTS = range(20_000, 32_000)
_SHARES = 8
"""Workers that draw ports beside each other without ever drawing the same one."""
_SOURCE = random.SystemRandom()
_given: set[int] = set()

_REAPER = """
import os, signal, sys
alive = set()
for line in sys.stdin:
    sign, pid = line[0], int(line[1:])
    (alive.add if sign == "+" else alive.discard)(pid)
for pid in alive:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        continue
"""


class NotStarted(Exception):
    """The process ended, or was not ready in time; ``code`` is its exit status, if it ended, and ``words`` its standard error."""

    def __init__(self, code: int | None, words: str) -> None:
        super().__init__(f"not started (status {code}): {words[-2000:]}")
        self.code = code
        self.words = words


class Child:
    """A child process with a group of its own; with *fork*, of the fork server if that can do what is asked for."""

    def __init__(
        self, command: Sequence[str], *, env: Mapping[str, str], errors: Path, output: int | None = None, fork: bool = False
    ) -> None:
        with errors.open("ab") as file:
            forked = forkserver.forked(command, env=env, output=output, errors=file) if fork else None
            self._process = forked or subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output or file, stderr=file, env=env, start_new_session=True
            )
        _reap(f"+{self.pid}")

    @property
    def pid(self) -> int:
        """Its process id; it stays known after its end."""
        return self._process.pid

    @property
    def stdout(self) -> IO[bytes] | None:
        """Its standard output, if it was asked for."""
        return self._process.stdout

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; one that has ended gets none."""
        self._process.send_signal(number)

    def wait(self, *, seconds: float = STOP_S) -> int:
        """Its exit status, once it has ended.

        Raises:
            TimeoutError: it goes on.
        """
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"process {self.pid} goes on after {seconds:g} s") from error
        _reap(f"-{self.pid}")
        return code

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self._process.kill()
        self.wait()

    def close(self) -> None:
        """End it whatever it takes, and close its pipe."""
        if self.running:
            self.kill()
        if self._process.stdout is not None:
            self._process.stdout.close()


class Instance:
    """``kalends up`` on *data* (or ``serve`` with *roles*); a context manager that ends it, and its broker, whatever happens.

    *settings* are KALENDS_* variables of every start; no others reach it. Its log is beside the data folder, never in it. Without *fork*
    it shares nothing with others that run: for who looks at its memory.
    """

    def __init__(self, data: Path, *, roles: Sequence[str] = (), settings: Mapping[str, str] | None = None, fork: bool = True) -> None:
        self.data = data
        self._fork = fork
        self.url = ""
        self.ops_url = ""
        self.token_file = data / "token"
        self.log_file = data.with_name(f"{data.name}.log")
        self._verb = ["serve", *roles] if roles else ["up"]
        self._settings = dict(settings or {})
        self._child: Child | None = None
        self._brokers: set[int] = set()
        self._last_metrics = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, env: Mapping[str, str] | None = None, *, flags: Sequence[str] = ("--port", "0", "--ops-port", "0")) -> Self:
        """Start it and return once it is ready; *env* (KALENDS_FAILPOINTS, for one) is for this start only.

        Raises:
            NotStarted: it ended or was not ready in time.
        """
        self.spawn(env, flags=flags)
        return self.ready()

    def spawn(self, env: Mapping[str, str] | None = None, *, flags: Sequence[str] = ("--port", "0", "--ops-port", "0")) -> None:
        """Start it and do not wait."""
        assert not self.running, "it runs already"
        self._close_child()
        self.data.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "kalends.app.cli", *self._verb, "--data", str(self.data), *flags, "--json"]
        environment = {**clean_environment(), **self._settings, **(env or {})}
        self._log_from = self.log_file.stat().st_size if self.log_file.exists() else 0
        self._child = Child(command, env=environment, errors=self.log_file, output=subprocess.PIPE, fork=self._fork)

    def ready(self, *, seconds: float = START_S) -> Self:
        """Wait for the ready line.

        Raises:
            NotStarted: it ended or was not ready in time.
        """
        child = self._running_child()
        lines: queue.Queue[bytes] = queue.Queue()
        stdout = child.stdout
        assert stdout is not None
        threading.Thread(target=lambda: lines.put(stdout.readline()), daemon=True).start()
        try:
            line = lines.get(timeout=seconds)
        except queue.Empty:
            raise NotStarted(None, self.last_words) from None
        if not line.strip():
            raise NotStarted(child.wait(), self.last_words)
        told = json.loads(line)
        self.url, self.ops_url, self.token_file = told["url"], told["ops_url"], Path(told["token_file"])
        if self._broker_file.exists():
            self._brokers.add(self.broker_pid)
        return self

    @property
    def token(self) -> str:
        """The admin token."""
        return self.token_file.read_text(encoding="utf-8").strip()

    @property
    def pid(self) -> int:
        """The process id of the last start."""
        assert self._child is not None, "never started"
        return self._child.pid

    @property
    def broker_pid(self) -> int:
        """The process id of the broker that runs now (``up`` only)."""
        pid = int(json.loads(self._broker_file.read_bytes())["pid"])
        self._brokers.add(pid)
        return pid

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._child is not None and self._child.running

    @property
    def logs(self) -> str:
        """Everything that it wrote to standard error, over all starts."""
        return self.log_file.read_text(encoding="utf-8", errors="replace") if self.log_file.exists() else ""

    @property
    def last_words(self) -> str:
        """What it wrote to standard error since the last start."""
        with self.log_file.open("rb") as file:
            file.seek(self._log_from)
            return file.read().decode("utf-8", "replace")

    def kill(self) -> None:
        """SIGKILL to the process itself, and wait for its end; the broker is left to its own devices."""
        self._running_child().kill()

    def terminate(self, *, seconds: float = STOP_S) -> int:
        """SIGTERM, and the exit status.

        Raises:
            TimeoutError: it goes on.
        """
        child = self._running_child()
        self._last_metrics = self._metrics()
        child.send(signal.SIGTERM)
        return child.wait(seconds=seconds)

    def wait(self, *, seconds: float = STOP_S) -> int:
        """The exit status, once it has ended by itself.

        Raises:
            TimeoutError: it goes on.
        """
        return self._running_child().wait(seconds=seconds)

    def left_running(self, *, seconds: float = 5.0) -> list[int]:
        """Processes of this instance, brokers included, that still run after so long."""
        pids = {*self._brokers, *([self._child.pid] if self._child else [])}
        return sorted(pid for pid in pids if not wait_until(lambda pid=pid: not alive(pid), seconds=seconds))  # type: ignore[misc]

    def close(self) -> None:
        """End everything that was started; what it was told must not be in what it logged, nor in its metrics."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            self._brokers.add(self.broker_pid)
        self._close_child()
        for pid in self.left_running():
            # its broker: it dies with it, and was seen by this object, so the number is still its own
            os.kill(pid, signal.SIGKILL)
        assert planted.found_in(self.logs + self._last_metrics) == [], "content is in a log or in metrics"

    @property
    def _broker_file(self) -> Path:
        return self.data / "nats" / "broker.pid"

    def _metrics(self) -> str:
        """What its metrics say, if it answers: one that is about to end may be in any state."""
        with contextlib.suppress(OSError, ValueError), urllib.request.urlopen(f"{self.ops_url}/metrics", timeout=_METRICS_S) as answer:  # noqa: S310 - our own
            words: str = answer.read().decode("utf-8", "replace")
            return words
        return ""

    def _running_child(self) -> Child:
        assert self._child is not None, "never started"
        return self._child

    def _close_child(self) -> None:
        if self._child is not None:
            self._child.close()


class Broker:
    """A nats-server for instances whose roles run apart: one folder and one port over all its restarts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.password_file = folder / "password"
        self._child: Child | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._child is not None:
            self._child.close()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def settings(self) -> dict[str, str]:
        """What an instance needs to join it."""
        return {"KALENDS_LOG__URL": self.url, "KALENDS_LOG__USER": "platform", "KALENDS_LOG__PASSWORD_FILE": str(self.password_file)}

    @property
    def pid(self) -> int:
        """The process id of the last start."""
        assert self._child is not None, "never started"
        return self._child.pid

    def start(self) -> Self:
        """Start it and return once it listens."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.password_file.exists():
            write_private(self.password_file, "a-password-of-tests")
        user = BrokerUser(name="platform", password=self.password_file.read_text(encoding="utf-8"))
        config = self.folder / "broker.conf"
        write_private(config, render(folder=self.folder, name="faults", port=self.port, options=ServerOptions(), users=[user]))
        self._child = Child([str(find_binary(None)), "-c", str(config)], env=clean_environment(), errors=self.folder / "broker.err")
        assert wait_until(self._listens, seconds=STOP_S), (self.folder / "broker.log").read_text(encoding="utf-8")[-2000:]
        return self

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        assert self._child is not None, "never started"
        self._child.kill()

    def _listens(self) -> bool:
        assert self._child is not None
        assert self._child.running, (self.folder / "broker.err").read_text(encoding="utf-8")[-2000:]
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1.0).close()
        except OSError:
            return False
        return True


def clean_environment() -> dict[str, str]:
    """Our environment without settings of an instance."""
    return {name: value for name, value in os.environ.items() if not name.startswith("KALENDS_") or name.startswith("KALENDS_TEST")}


def free_port() -> int:
    """A port that nobody listens on now, and none that the system gives to outgoing connections before a slow server has taken it.

    None twice, and none that another worker may draw: between the draw and the server that takes it, seconds may pass.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _SHARES
    share = _PORTS[worker::_SHARES]
    while True:
        port = _SOURCE.choice(share)
        if port in _given:
            continue
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            _given.add(port)
            return port


def wait_until(condition: Callable[[], bool], *, seconds: float, every: float = 0.02) -> bool:
    """Ask again and again until *condition* holds or the time is over; whether it held."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True


def alive(pid: int) -> bool:
    """Whether *pid* runs; a zombie does not."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"


@cache
def _reaper() -> subprocess.Popen[str]:
    command = [sys.executable, "-I", "-S", "-c", _REAPER]
    started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True)
    # closes its pipe and waits for its end
    atexit.register(started.communicate)
    return started


_reaping = threading.Lock()


def _reap(line: str) -> None:
    with _reaping:
        pipe = _reaper().stdin
        assert pipe is not None
        pipe.write(line + "\n")
        pipe.flush()
