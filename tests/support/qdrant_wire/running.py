"""The wire server as a child process, and the settings that reach it or a real server.

Belongs here: starting, killing and starting again. Does not belong here: an answer. A newcomer would get wrong: a restart keeps the port,
so that a client that was connected finds it again.
"""

import asyncio
import atexit
import os
import queue
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Self

import msgspec

from kalends.adapters.qdrant.connection import connect
from kalends.settings import QdrantSettings
from tests.support.instance import Child, NotStarted, clean_environment

START_S = 180.0

REAL_URL = "KALENDS_TEST_QDRANT_URL"
REAL_KEY_FILE = "KALENDS_TEST_QDRANT_KEY_FILE"


class WireServer:
    """The server on a folder; a context manager that ends it, whatever happens. *flags* are of its command line."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self._folder = folder
        self._flags = flags
        self._child: Child | None = None
        self.port = 0

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self._child is not None:
            self._child.close()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{'https' if '--cert' in self._flags else 'http'}://127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Start it and return once it listens.

        Raises:
            NotStarted: it ended or did not say its port in time.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        errors = self._folder / "errors.log"
        command = [sys.executable, "-m", "tests.support.qdrant_wire", "--port", str(self.port), "--data", str(self._folder), *self._flags]
        if self._child is not None:
            self._child.close()
        self._child = Child(command, env=clean_environment(), errors=errors, output=subprocess.PIPE)
        lines: queue.Queue[bytes] = queue.Queue()
        stdout = self._child.stdout
        assert stdout is not None
        threading.Thread(target=lambda: lines.put(stdout.readline()), daemon=True).start()
        try:
            self.port = int(lines.get(timeout=START_S))
        except (queue.Empty, ValueError):
            raise NotStarted(None, errors.read_text(encoding="utf-8", errors="replace")) from None
        return self

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        assert self._child is not None, "never started"
        self._child.kill()

    def settings(self, **more: object) -> QdrantSettings:
        """Settings that reach it."""
        return msgspec.structs.replace(QdrantSettings(url=self.url, prefix=fresh_prefix()), **more)


def fresh_prefix() -> str:
    """A prefix that no other test has used, so that tests can share a server."""
    return f"t{uuid.uuid4().hex[:16]}"


def with_real(*ours: str, real: Sequence[str] = ("qdrant",)) -> list[str]:
    """The servers of a suite: *ours*, and *real* ones where the environment names one."""
    return [*ours, *(real if os.environ.get(REAL_URL) else ())]


def real_settings(**more: object) -> QdrantSettings | None:
    """Settings that reach the real server which the environment names, if it names one."""
    url = os.environ.get(REAL_URL, "")
    if not url:
        return None
    return msgspec.structs.replace(QdrantSettings(url=url, prefix=fresh_prefix(), api_key_file=os.environ.get(REAL_KEY_FILE, "")), **more)


@cache
def shared_server() -> WireServer:
    """A server for all tests of this process that do not hurt it; it ends with the process."""
    folder = tempfile.TemporaryDirectory(prefix="kalends-qdrant-wire-")
    server = WireServer(Path(folder.name) / "data").start()

    def end() -> None:
        server.__exit__()
        folder.cleanup()

    atexit.register(end)
    return server


@asynccontextmanager
async def fresh_settings() -> AsyncIterator[QdrantSettings]:
    """Settings with a prefix that nobody else has: of the real server if the environment names one, else of the shared one of ours."""
    server = None if real_settings() else await asyncio.to_thread(shared_server)
    settings = real_settings() if server is None else server.settings()
    assert settings is not None
    yield settings
    connection = connect(settings)
    for found in (await connection.client.get_collections()).collections:
        if found.name.startswith(f"{settings.prefix}-"):
            await connection.client.delete_collection(found.name)
    await connection.close()
