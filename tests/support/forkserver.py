"""A fork server: a process that has imported all that an instance imports, and forks for each one that a test starts.

Belongs here: the server (this module run as a program) and a start through it. Does not belong here: what a start is (``instance``). A
newcomer would get wrong: of the second and more of processor that a start takes, most are its imports, and the tests start many hundreds.
What is read while importing is not read again, so a start whose environment differs in more than settings of Kalends is a start of its own.
The same idea and name as ``multiprocessing.forkserver``, which starts functions, not commands with standard streams of their own.
"""

import atexit
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any

from kalends.adapters.embedded import runtime
from kalends.app import cli
from kalends.kit import failpoints, imports

PROGRAM = "kalends.app.cli"
_ROOT = Path(__file__).parents[2]
_MESSAGE = 1 << 18
_STREAMS = 3
_TURN_S = 0.2
"""Another thread may ask for the status, or send a signal, between two turns of a wait."""
_OF_NO_MATTER = ("KALENDS_", "PYTEST_", "ORT_DISABLE_TELEMETRY")
"""What may differ: settings are read after the imports, pytest names the test that runs, and ``runtime.load`` sets its variable by itself,
in the server as in a test that has an embedder of its own.
"""
_IMPORTED_LATER = (
    *("kalends.app.output", "kalends.app.commands.run", "dateparser.date", "litestar.plugins.pydantic"),
    *("qdrant_edge", "tantivy", "tokenizers", "uvloop"),
)


class Forked:
    """A process that *server* forked: as much of ``subprocess.Popen`` as a test needs. It stays a zombie until its status is asked."""

    def __init__(
        self, server: "_Server", arguments: Sequence[str], *, env: Mapping[str, str], output: int | None, errors: IO[bytes]
    ) -> None:
        self._server = server
        self.stdout: IO[bytes] | None = None
        theirs = errors.fileno()
        if output == subprocess.PIPE:
            ours, theirs = os.pipe()
            self.stdout = os.fdopen(ours, "rb")
        with Path(os.devnull).open("rb") as nothing:
            wanted = {"arguments": list(arguments), "env": dict(env), "folder": str(Path.cwd())}
            self.pid: int = server.ask(wanted, (nothing.fileno(), theirs, errors.fileno()))["pid"]
        if output == subprocess.PIPE:
            os.close(theirs)
        self._process = os.pidfd_open(self.pid)
        self._asking = threading.Lock()
        self._code: int | None = None

    def poll(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        with self._asking:
            if self._code is None and self._seen_ended(0.0):
                self._code = int(self._server.ask({"status_of": self.pid})["status"])
                os.close(self._process)
            return self._code

    def wait(self, timeout: float) -> int:
        """Its exit status, once it has ended.

        Raises:
            subprocess.TimeoutExpired: it goes on.
        """
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise subprocess.TimeoutExpired(PROGRAM, timeout)
            with self._asking:
                if self._code is None:
                    self._seen_ended(min(left, _TURN_S))
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal; one that has ended gets none."""
        if self.poll() is None:
            signal.pidfd_send_signal(self._process, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _seen_ended(self, seconds: float) -> bool:
        watch = select.poll()
        watch.register(self._process, select.POLLIN)
        return bool(watch.poll(seconds * 1000))


def forked(command: Sequence[str], *, env: Mapping[str, str], output: int | None, errors: IO[bytes]) -> Forked | None:
    """*command* as a fork of the server; None if it is no instance, or is to have another environment than the server was started with."""
    own = [sys.executable, "-m", PROGRAM]
    if list(command[: len(own)]) != own or sys.platform != "linux":
        return None
    server = _server()
    if _what_matters(env) != server.environment:
        return None
    return Forked(server, command[len(own) :], env=env, output=output, errors=errors)


class _Server:
    """The server of this process, at the other end of a pair of sockets; it ends when this end is closed."""

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.environment = _what_matters(os.environ)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.forkserver"],
                stdin=theirs,
                stdout=subprocess.DEVNULL,
                cwd=_ROOT,
                start_new_session=True,
            )
        self._asking = threading.Lock()

    def ask(self, question: Mapping[str, object], streams: Sequence[int] = ()) -> dict[str, Any]:
        """What it answers; *streams* are descriptors that go with the question."""
        with self._asking:
            socket.send_fds(self._ours, [json.dumps(question).encode()], streams)
            answer = self._ours.recv(_MESSAGE)
        assert answer, "the fork server has ended"
        told: dict[str, Any] = json.loads(answer)
        return told

    def close(self) -> None:
        """Let it end."""
        self._ours.close()
        self._process.wait()


@cache
def _server() -> _Server:
    server = _Server()
    atexit.register(server.close)
    return server


def _what_matters(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.startswith(_OF_NO_MATTER)}


def _import_everything() -> None:
    with imports.without("aiohttp", "rich"):
        importlib.import_module("kalends.app.host")
    for name in _IMPORTED_LATER:
        importlib.import_module(name)
    runtime.load()
    # what is shared stays shared: a child's collector does not write into it
    gc.collect()
    gc.freeze()


def _serve(control: socket.socket) -> list[str] | None:
    """Answer until the other end closes; in a child, return its arguments."""
    while True:
        message, streams, _, _ = socket.recv_fds(control, _MESSAGE, _STREAMS)
        if not message:
            return None
        question = json.loads(message)
        if "status_of" in question:
            _, status = os.waitpid(question["status_of"], 0)
            answer = {"status": os.waitstatus_to_exitcode(status)}
        else:
            pid = os.fork()
            if pid == 0:
                control.close()
                return _become(question, streams)
            answer = {"pid": pid}
            for stream in streams:
                os.close(stream)
        control.send(json.dumps(answer).encode())


def _become(question: Mapping[str, Any], streams: Sequence[int]) -> list[str]:
    """Be like a process that was started with these streams, this environment and this folder; its arguments."""
    os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(question["folder"])
    os.environ.clear()
    os.environ.update(question["env"])
    time.tzset()
    # the only thing that Kalends reads while it is imported
    failpoints.arm(dict(one.split("=") for one in os.environ.get("KALENDS_FAILPOINTS", "").split(",") if one))
    arguments: list[str] = question["arguments"]
    sys.argv = [PROGRAM, *arguments]
    return arguments


def _main() -> None:
    _import_everything()
    arguments = _serve(socket.socket(fileno=os.dup(0)))
    if arguments is not None:
        cli.main(arguments)


if __name__ == "__main__":
    _main()
