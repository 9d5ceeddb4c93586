"""The demo's own instance: ``kalends up`` as a child process, and its broker to be killed.

Belongs here: starting, finding the broker's process, ending, making sure that nothing is left. Does not belong here: talking to the API.
A newcomer would get wrong: the child has a session of its own, so that Ctrl-C reaches the story first, which then ends the child properly.
"""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from kalends.client import Kalends, RetryPolicy
from kalends.domain.errors import Unavailable
from kalends.kit import backoff

START_S = 120.0
"""The first start builds the model's graph from the weights, on a slow machine for a while."""

STOP_S = 30.0

"""The story compares answers before and after a rebuild down to their order."""


class Instance:
    """A ``kalends up`` on *folder*: ``start`` it, and ``close`` it whatever happens."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = ""
        self.token_file = ""
        self._log = folder / "demo.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._brokers: set[int] = set()

    def start(self) -> None:
        """Start it and wait until it says that it is ready.

        Raises:
            Unavailable: it ended or said nothing in time; the detail holds its last words.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        command = [sys.executable, "-m", "kalends.app.cli", "up", "--data", str(self.folder), "--port", "0", "--ops-port", "0", "--json"]
        # settings of the reader's own instance must not reach the demo's
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("KALENDS_") or name.startswith("KALENDS_TEST")
        }
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, running this program
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, env=environment, start_new_session=True
            )
        try:
            ready = self._ready(self._process)
        except BaseException:
            self.close()
            raise
        self.url, self.token_file = str(ready["url"]), str(ready["token_file"])

    def client(self, *, retry: RetryPolicy | None = None) -> Kalends:
        """A client for it, as its owner."""
        return Kalends(self.url, token_file=self.token_file, retry=retry)

    def broker(self) -> int:
        """The process id of the broker that runs now.

        Raises:
            Unavailable: there is none.
        """
        path = self.folder / "nats" / "broker.pid"
        try:
            pid = int(json.loads(path.read_bytes())["pid"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Unavailable(f"{path} names no broker", dependency="log") from error
        self._brokers.add(pid)
        return pid

    def left_running(self) -> list[int]:
        """Processes of this instance that still run; looked for until there are none, for a few seconds."""
        pids = {*self._brokers, *([self._process.pid] if self._process else [])}
        wait_until(lambda: not any(map(_alive, pids)), seconds=5.0)
        return sorted(filter(_alive, pids))

    def close(self) -> None:
        """End it, gently at first, and wait for that."""
        process = self._process
        if process is None:
            return
        with contextlib.suppress(Unavailable):
            self.broker()
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(STOP_S)
        if process.stdout is not None:
            process.stdout.close()

    def _ready(self, process: subprocess.Popen[bytes]) -> dict[str, object]:
        lines: queue.Queue[bytes] = queue.Queue()
        stdout = process.stdout
        if stdout is None:
            raise Unavailable("the instance has no standard output")
        threading.Thread(target=lambda: lines.put(stdout.readline()), daemon=True).start()
        try:
            line = lines.get(timeout=START_S)
        except queue.Empty:
            raise Unavailable(f"the instance was not ready within {START_S:g} s; {self._last_words()}") from None
        try:
            ready: dict[str, object] = json.loads(line)
        except ValueError:
            raise Unavailable(f"the instance ended before it was ready; {self._last_words()}") from None
        return ready

    def _last_words(self) -> str:
        tail = self._log.read_bytes()[-2000:].decode(errors="replace").strip().splitlines()[-8:]
        return "its last words: " + (" | ".join(tail) or "none")


def wait_until(condition: Callable[[], bool], *, seconds: float) -> bool:
    """Ask again and again until *condition* holds or the time is over; whether it held."""
    deadline = time.monotonic() + seconds
    for pause in backoff.pauses(first=0.02, longest=0.25):
        if condition():
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return False


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except OSError:
        return sys.platform != "linux"
    return state != "Z"
