"""A real nats-server for tests: one for the whole session, or one of a test's own.

The shared one runs in a thread with an event loop of its own, because tests have a loop each; it is emptied by ``fresh_bus``.
A newcomer would get wrong: tests of restarts must have their own server, or they would take the shared one from under everybody.
"""

import asyncio
import atexit
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

import nats

from kalends.adapters.nats import LocalServer, NatsBus, NatsOptions, open_nats

SMALL = NatsOptions(events_bytes=256 << 20, records_bytes=64 << 20, keys_bytes=64 << 20, dead_bytes=16 << 20)
"""Options for tests: small stores, short idle times."""


class SharedBroker:
    """A nats-server on a free port with random credentials, alive until the interpreter ends."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="kalends-broker-"))
        self._ready = threading.Event()
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._main, name="broker", daemon=True)
        self._thread.start()
        assert self._ready.wait(60)
        if self._failure is not None:
            raise self._failure
        atexit.register(self.close)

    def close(self) -> None:
        """End the server and remove its files."""
        if self._loop and self._stop and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(20)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _main(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            self._failure = error
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with LocalServer(self.folder) as server:
            self.url, self.user, self.password = server.url, server.user, server.password
            self._ready.set()
            await self._stop.wait()


@cache
def shared_broker() -> SharedBroker:
    """The session's server, started at first use."""
    return SharedBroker()


@asynccontextmanager
async def fresh_bus(options: NatsOptions = SMALL) -> AsyncIterator[NatsBus]:
    """A bus on the shared server, without anything that earlier tests left there."""
    broker = shared_broker()
    await empty(broker.url, user=broker.user, password=broker.password)
    async with open_nats(url=broker.url, user=broker.user, password=broker.password, options=options) as bus:
        yield bus


@asynccontextmanager
async def own_bus(server: LocalServer, options: NatsOptions = SMALL) -> AsyncIterator[NatsBus]:
    """A bus on a server of the test's own."""
    async with open_nats(url=server.url, user=server.user, password=server.password, options=options) as bus:
        yield bus


@asynccontextmanager
async def watched_server(folder: Path) -> AsyncIterator[LocalServer]:
    """A server of the test's own that comes back when it is killed."""
    async with LocalServer(folder) as server, asyncio.TaskGroup() as group:
        watch = group.create_task(server.run())
        try:
            yield server
        finally:
            watch.cancel()


async def empty(url: str, *, user: str, password: str) -> None:
    """Delete every stream."""
    client = await nats.connect(url, user=user, password=password)
    try:
        manager = client.jetstream()
        for stream in await manager.streams_info():
            await manager.delete_stream(str(stream.config.name))
    finally:
        await client.close()
