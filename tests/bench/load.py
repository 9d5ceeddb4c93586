"""The load maker: a process of its own that sends prepared requests and times the answers.

Run as ``python -m tests.bench.load`` with a job on standard input.

Belongs here: sockets, the least of HTTP/1.1, clocks. Does not belong here: what the figures mean (``sections``). A newcomer would get
wrong: everything that is sent is encoded before the first clock starts; the answers are only split by Content-Length and never decoded,
so that the load maker takes as little as possible from the cores that it shares with what it measures.
"""

import asyncio
import gc
import ssl
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import cast
from urllib.parse import urlsplit

import msgspec
import uvloop

from tests.bench import corpus


class Job(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What to send. ``seconds`` ends a closed loop; ``rate`` (requests a second) makes the loop open.

    ``random``: with that seed the gaps of an open loop are of exponential length, as those of callers who know nothing of each other; two
    loops of even gaps meet always or never.
    """

    url: str
    token: str
    memory: str
    kind: str
    """``append`` or ``search``."""
    clients: int = 1
    requests: int = 1000
    seconds: float = 60.0
    rate: float | None = None
    random: int | None = None
    batch: int = 1
    first: int = 0
    session_turns: int = corpus.SESSION_TURNS
    wait_every: int = 0
    """Each so many appends, one asks to be answered only when every projection has it."""
    rerank: str = "auto"
    mode: str = "hybrid"
    about: int = 1
    ca: str = ""
    """The file that the server's TLS is trusted by; empty: no TLS."""
    expect: str = ""
    """What the body of each good answer holds; answers without it are counted."""


class Outcome(msgspec.Struct, kw_only=True):
    """What was measured; latencies in milliseconds, those of requests that waited for the projections apart."""

    seconds: float
    answered: int
    statuses: dict[str, int]
    unexpected: int
    latencies: list[float]
    waited: list[float]
    cpu: float
    """Seconds of processor time that the load maker used."""
    late: float = 0.0
    """Open loop: the longest that a request left after its time, in milliseconds."""


def _head(job: Job, path: str, length: int, extra: str = "") -> bytes:
    host = urlsplit(job.url).netloc
    lines = f"POST /v1/memories/{job.memory}/{path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {job.token}\r\n"
    return f"{lines}Content-Type: application/json\r\nContent-Length: {length}\r\n{extra}\r\n".encode()


def prepared(job: Job) -> list[bytes]:
    """The requests on the wire, in order."""
    encode = msgspec.json.encode
    made = []
    if job.kind == "search":
        for question in corpus.questions(job.requests, about=job.about, first=job.first):
            body = encode({"query": question, "limit": 10, "mode": job.mode, "rerank": job.rerank, "timeout_ms": 10_000})
            made.append(_head(job, "search", len(body)) + body)
        return made
    turns = corpus.turns(job.requests * job.batch, first=job.first, session_turns=job.session_turns)
    if job.batch == 1:
        # each client has a conversation of its own, as agents do
        share = -(-len(turns) // job.clients)
        turns = [turns[place] for offset in range(share) for place in range(offset, len(turns), share)]
    for number in range(job.requests):
        body = encode({"events": [turn.item() for turn in turns[number * job.batch : (number + 1) * job.batch]]})
        waits = job.wait_every and number % job.wait_every == 0
        made.append(_head(job, "events", len(body), "Prefer: wait=30\r\n" if waits else "") + body)
    return made


class Connection(asyncio.Protocol):
    """One connection with at most one request under way; *done* is told status, body and when the answer was whole."""

    def __init__(self, done: Callable[["Connection", int, bytes], None]) -> None:
        self._done = done
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._needed = 0
        self.began = 0.0
        self.waits = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def connection_lost(self, exc: Exception | None) -> None:
        if self.began:
            self._done(self, 0, b"")

    def send(self, request: bytes, *, began: float) -> None:
        """Send *request*; it counts from *began*."""
        assert self._transport is not None
        self.began = began
        self._transport.write(request)

    def close(self) -> None:
        """Hang up."""
        self.began = 0.0
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        received = self._received + data if self._received else data
        if len(received) < self._needed:
            self._received = received
            return
        end = received.find(b"\r\n\r\n")
        if end < 0:
            self._received = received
            return
        at = received.lower().find(b"content-length: ", 0, end)
        length = int(received[at + 16 : received.find(b"\r", at)])
        self._needed = end + 4 + length
        if len(received) < self._needed:
            self._received = received
            return
        self._received, self._needed = b"", 0
        self._done(self, int(received[9:12]), received[end + 4 :])


class Run:
    """One job under way."""

    def __init__(self, job: Job, requests: Sequence[bytes]) -> None:
        self._job = job
        self._requests = requests
        self._feed: Iterator[tuple[int, bytes]] = iter(enumerate(requests))
        self._expected = job.expect.encode()
        self._statuses: Counter[int] = Counter()
        self._unexpected = 0
        self._latencies: list[float] = []
        self._waited: list[float] = []
        self._ends = 0.0
        self._open = 0
        self._late = 0.0
        self._finished = asyncio.Event()
        self._freed = asyncio.Event()
        self._idle: list[Connection] = []

    async def measure(self) -> Outcome:
        """Send everything, or until the time is over."""
        loop = asyncio.get_running_loop()
        target = urlsplit(self._job.url)
        tls = ssl.create_default_context(cafile=self._job.ca) if self._job.ca else None
        connections = []
        for _ in range(self._job.clients):
            _, connection = await loop.create_connection(
                lambda: Connection(self._answered), str(target.hostname), target.port or 80, ssl=tls
            )
            connections.append(connection)
        cpu, started = time.process_time(), time.perf_counter()
        self._ends = started + self._job.seconds
        if self._job.rate is None:
            for connection in connections:
                self._next(connection)
        else:
            self._idle = connections
            await self._paced(started, self._job.rate)
        async with asyncio.timeout(self._job.seconds + 90):
            await self._finished.wait()
        seconds = time.perf_counter() - started
        for connection in connections:
            connection.close()
        return Outcome(
            seconds=seconds,
            answered=sum(count for status, count in self._statuses.items() if 200 <= status < 300),
            statuses={str(status): count for status, count in self._statuses.items()},
            unexpected=self._unexpected,
            latencies=self._latencies,
            waited=self._waited,
            cpu=time.process_time() - cpu,
            late=self._late * 1000,
        )

    async def _paced(self, started: float, rate: float) -> None:
        """The open loop: each request has its time, and its latency counts from then, whether or not a connection was free."""
        gaps = None if self._job.random is None else Random(self._job.random)
        due = started
        for number, request in self._feed:
            due = due + gaps.expovariate(rate) if gaps else started + number / rate
            pause = due - time.perf_counter()
            if pause > 0:
                await asyncio.sleep(pause)
            if not self._idle:
                self._freed.clear()
                await self._freed.wait()
            self._late = max(self._late, time.perf_counter() - due)
            connection = self._idle.pop()
            self._begin(connection, number, request, due)
            if due > self._ends:
                break
        self._ends = 0.0
        if not self._open:
            self._finished.set()

    def _begin(self, connection: Connection, number: int, request: bytes, began: float) -> None:
        self._open += 1
        connection.waits = bool(self._job.wait_every) and number % self._job.wait_every == 0
        connection.send(request, began=began)

    def _next(self, connection: Connection) -> None:
        now = time.perf_counter()
        number, request = next(self._feed, (-1, b"")) if now < self._ends else (-1, b"")
        if request:
            self._begin(connection, number, request, now)
        elif not self._open:
            self._finished.set()

    def _answered(self, connection: Connection, status: int, body: bytes) -> None:
        spent = (time.perf_counter() - connection.began) * 1000
        connection.began = 0.0
        self._open -= 1
        self._statuses[status] += 1
        if connection.waits:
            # 202 where 200 was asked for means that a projection was not there in time
            self._unexpected += status != 200
            self._waited.append(spent)
        else:
            self._unexpected += self._expected not in body
            self._latencies.append(spent)
        if self._job.rate is None and status:
            self._next(connection)
        elif self._job.rate is None or (not self._open and not self._ends):
            self._finished.set()
        else:
            self._idle.append(connection)
            self._freed.set()


def main() -> None:
    """Prepare the job on standard input, say so, wait for a line, do it, and print the outcome."""
    job = msgspec.json.decode(sys.stdin.readline(), type=Job)
    requests = prepared(job)
    gc.collect()
    gc.disable()
    sys.stdout.write("prepared\n")
    sys.stdout.flush()
    sys.stdin.readline()

    async def measured() -> Outcome:
        return await Run(job, requests).measure()

    outcome = uvloop.run(measured())
    sys.stdout.write(msgspec.json.encode(outcome).decode() + "\n")


if __name__ == "__main__":
    main()
