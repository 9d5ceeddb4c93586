"""A real nats-server for tests: one for the whole session, or one of a test's own; or a cluster of three for the whole session.

The shared one runs in a thread with an event loop of its own, because tests have a loop each; it is emptied by ``fresh_bus``.
A newcomer would get wrong: tests of restarts must have their own server, or they would take the shared one from under everybody. A suite
that takes ``BROKERS`` as the parameters of a fixture runs on both, and what has a server of its own says so with ``ALONE``.
"""

import asyncio
import atexit
import os
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Protocol

import nats
import pytest

from kalends.adapters.nats import LocalServer, NatsBus, NatsOptions, open_nats
from tests.support.nats_cluster import NatsCluster
from tests.support.waiting import until

SMALL = NatsOptions(
    events_bytes=256 << 20,
    dedicated_bytes=32 << 20,
    records_bytes=64 << 20,
    keys_bytes=64 << 20,
    dead_bytes=16 << 20,
    ledger_bytes=16 << 20,
)
"""Options for tests: small stores, short idle times."""

BROKERS = ("one", pytest.param("cluster", marks=pytest.mark.cluster))
"""The parameters of a fixture ``broker`` of a suite that runs on one server and on three; each test is then inside ``on``."""

ALONE = pytest.mark.parametrize("broker", ["one"], indirect=True)
"""For a test of such a suite that starts a server of its own: once is enough."""

_REPLICAS = {"one": 1, "cluster": 3}
_chosen = ["one"]


class Shared(Protocol):
    """What every test may use: where it is, and who we are there."""

    folder: Path
    url: str
    user: str
    password: str


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


class SharedCluster:
    """Three servers, alive until the interpreter ends."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="kalends-cluster-"))
        self.cluster = NatsCluster(self.folder / "cluster").__enter__()
        self.cluster.start()
        # after the start, so that it is done before the reaper of children ends
        atexit.register(self.close)
        self.url, self.user, self.password = self.cluster.url, self.cluster.user, self.cluster.password

    def close(self) -> None:
        """End the servers and remove their files."""
        self.cluster.__exit__(None, None, None)
        shutil.rmtree(self.folder, ignore_errors=True)


@cache
def _shared(kind: str) -> Shared:
    return SharedCluster() if kind == "cluster" else SharedBroker()


def shared_broker() -> Shared:
    """The session's server, or its cluster inside ``on("cluster")``, started at first use."""
    return _shared(_chosen[-1])


@contextmanager
def on(kind: str) -> Iterator[None]:
    """Inside, what is shared is one server (``one``) or three (``cluster``)."""
    _chosen.append(kind)
    try:
        yield
    finally:
        _chosen.pop()


@asynccontextmanager
async def another_bus(options: NatsOptions = SMALL, *, url: str | None = None) -> AsyncIterator[NatsBus]:
    """One more bus on the shared server, with all that is there; *url* is another way to it."""
    broker = shared_broker()
    there = replace(options, replicas=_REPLICAS[_chosen[-1]])
    async with open_nats(url=url or broker.url, user=broker.user, password=broker.password, options=there) as bus:
        yield bus


@asynccontextmanager
async def fresh_bus(options: NatsOptions = SMALL) -> AsyncIterator[NatsBus]:
    """A bus on the shared server, without anything that earlier tests left there."""
    broker = shared_broker()
    await empty(broker)
    async with another_bus(options) as bus:
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


async def empty(broker: Shared) -> None:
    """Delete every stream, and return once their files are gone.

    The server moves the files of a deleted stream aside and removes them later; a stream of the same name that is made and deleted again
    meanwhile finds the place taken, and the one after it is refused ("error creating store for stream") or finds the old messages.
    """
    client = await nats.connect(broker.url.split(","), user=broker.user, password=broker.password)
    try:
        manager = client.jetstream()
        for stream in await manager.streams_info():
            await manager.delete_stream(str(stream.config.name))
    finally:
        await client.close()
    await until(lambda: not any(folders for path, folders, _ in os.walk(broker.folder) if path.endswith("/streams")))
