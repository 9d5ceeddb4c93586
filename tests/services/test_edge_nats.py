"""The NATS edge over a real broker."""

import asyncio
import contextlib
import shutil
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import nats
import nats.errors
import pytest
import structlog
from nats.aio.client import Client
from tests.support.edge import TENANT, FixedClock, Seen, failing, operations
from tests.support.records import MemoryRecords
from tests.support.waiting import until

from kalends.domain.scope import MemoryName, Scope, token
from kalends.edge.auth import Authenticator
from kalends.edge.metrics import Metrics, new_metrics
from kalends.edge.nats import NatsEdge, Notice, notice
from kalends.edge.operations import Answer, Handler, Operation
from kalends.edge.services import Service
from kalends.settings import HttpSettings

MARKER = "the-secret-words-of-a-user"


@pytest.fixture(scope="module")
def server_binary() -> str:
    """The broker itself."""
    found = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which("nats-server")
    assert found, "nats-server is part of the embedded extra"
    return found


def _ports(folder: Path) -> str | None:
    """The URL in the file that the broker writes once it listens."""
    for file in folder.glob("*.ports"):
        written = file.read_bytes().strip()
        if written.endswith(b"}"):
            return msgspec.json.decode(written)["nats"][0]
    return None


@contextlib.asynccontextmanager
async def broker(binary: str, folder: Path) -> AsyncIterator[str]:
    """A broker of our own on a free loopback port; yields its URL."""
    quiet = asyncio.subprocess.DEVNULL
    arguments = ("-a", "127.0.0.1", "-p", "-1", "--ports_file_dir", str(folder))
    process = await asyncio.create_subprocess_exec(binary, *arguments, stdout=quiet, stderr=quiet)
    try:
        await until(lambda: _ports(folder) is not None)
        yield str(_ports(folder))
    finally:
        process.terminate()
        await process.wait()


@dataclass(kw_only=True)
class Bus:
    """The edge on a broker, and a client of it."""

    client: Client
    authenticator: Authenticator
    metrics: Metrics
    admin: str

    async def ask(self, subject: str, body: Any = b"", *, token: str | None = None, **headers: str):
        """One request below this tenant's memory ``m`` (or a whole subject): the decoded answer and its headers."""
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
        full = subject if subject.startswith("kalends.") else f"kalends.v1.{TENANT}.m.{subject}"
        given = {"Authorization": f"Bearer {token or self.admin}", **headers}
        answer = await self.client.request(full, raw, timeout=10, headers=given)
        return (msgspec.json.decode(answer.data) if answer.data else None), answer.headers


@contextlib.asynccontextmanager
async def bus(url: str, *extra: Operation, settings: HttpSettings | None = None, concurrency: int = 64) -> AsyncIterator[Bus]:
    """The test's table on a broker."""
    clock, metrics = FixedClock(), new_metrics(version="0.0.0")
    authenticator = Authenticator(MemoryRecords(), clock=clock)
    server, client = await nats.connect(url), await nats.connect(url)
    edge = NatsEdge(
        client=server,
        services=[Service(name="notes", operations=operations(*extra))],
        authenticator=authenticator,
        settings=settings or HttpSettings(drain_s=5.0),
        metrics=metrics,
        version="0.1.0",
        concurrency=concurrency,
    )
    try:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(authenticator.run()), tasks.create_task(edge.run())]
            async with asyncio.timeout(10):
                await authenticator.wait_ready()
                await edge.ready.wait()
            admin, _ = await authenticator.issue(TENANT, memories=None, rights=["admin"])
            yield Bus(client=client, authenticator=authenticator, metrics=metrics, admin=admin)
            for task in running:
                task.cancel()
    finally:
        await client.close()
        await server.close()


def row_of(handle: Handler) -> Operation:
    """A row ``x`` with this handler."""
    return Operation(
        name="x", method="GET", path="/memories/{memory}/x", right="search", summary="X.", handle=handle, answer=Seen, subject="x"
    )


@pytest.fixture
async def url(server_binary, tmp_path):
    """A fresh broker."""
    async with broker(server_binary, tmp_path) as found:
        yield found


async def test_a_request_is_answered_as_over_http(url):
    """Same body, same answer; the status says that it was accepted."""
    async with bus(url) as edge:
        body, headers = await edge.ask("notes.add", {"text": "hello"}, **{"X-Request-Id": "r-1"})
    assert (body["memory"], body["body"]["text"], body["request_id"]) == ("m", "hello", "r-1")
    assert headers["Kalends-Status"] == "202"


async def test_path_and_query_parameters_are_members_of_the_body(url):
    """A subject has no query."""
    async with bus(url) as edge:
        listed, _ = await edge.ask("notes.list", {"limit": 3, "from": "2026-01-01T00:00:00Z"})
        got, _ = await edge.ask("notes.get", {"id": "a/b é"})
        missing, headers = await edge.ask("notes.get", {})
        unknown, _ = await edge.ask("notes.get", {"id": "x", "nope": 1})
    assert (listed["query"]["limit"], listed["query"]["from"]) == (3, "2026-01-01T00:00:00Z")
    assert got["path"] == {"id": "a/b é", "memory": "m"}
    assert (missing["code"], missing["errors"][0]["pointer"], headers["Nats-Service-Error-Code"]) == ("invalid", "/id", "422")
    assert unknown["errors"][0]["pointer"] == "/nope"


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "malformed"),
        (b"{", "malformed"),
        (b"\xff", "malformed"),
        (b"[1]", "invalid"),
        (b'{"text":1}', "invalid"),
        (b'{"text":"\\ud800"}', "malformed"),
        (b"[" * 50_000, "invalid"),
        (b'{"text":' + b"[" * 50_000, "invalid"),
    ],
)
async def test_bad_input_is_a_problem_with_the_code_in_a_header(url, raw, code):
    """The description header holds the title only."""
    async with bus(url) as edge:
        body, headers = await edge.ask("notes.add", raw)
    assert body["code"] == code
    assert headers["Nats-Service-Error-Code"] == str(body["status"])
    assert headers["Nats-Service-Error"] == body["title"]


async def test_the_credential_must_fit_the_subject(url):
    """The broker limits users too; this holds even where it does not."""
    async with bus(url) as edge:
        limited, _ = await edge.authenticator.issue(TENANT, memories=["m"], rights=["search"])
        assert (await edge.ask("notes.list", token="kal_wrong"))[0]["status"] == 401
        assert (await edge.ask("kalends.v1.other.m.notes.list"))[0]["status"] == 404
        assert (await edge.ask(f"kalends.v1.{TENANT}.n.notes.list", token=limited))[0]["status"] == 404
        assert (await edge.ask(f"kalends.v1.{TENANT}.UPPER.notes.list"))[0]["status"] == 422
        assert (await edge.ask("notes.add", b"{", token=limited))[0]["status"] == 403
        assert (await edge.ask("notes.list", token=limited))[0]["memory"] == "m"


async def test_a_memory_whose_name_is_not_its_token_can_be_reached(url):
    """Names that begin like a digest are replaced by one in subjects."""
    name = "x--odd"
    async with bus(url) as edge:
        secret, _ = await edge.authenticator.issue(TENANT, memories=[name], rights=["search"])
        subject = f"kalends.v1.{TENANT}.{token(name)}.notes.list"
        assert (await edge.ask(subject, token=secret))[0]["memory"] == name


async def test_an_unexpected_error_shows_nothing_of_itself(url):
    """nats-py would send its repr."""
    row = row_of(failing(ValueError(MARKER)))
    with structlog.testing.capture_logs() as lines:
        async with bus(url, row) as edge:
            body, headers = await edge.ask("x")
    assert (body["status"], body["detail"]) == (500, "internal error")
    assert MARKER not in repr((body, headers, lines))


async def test_services_can_be_discovered(url):
    """``$SRV.INFO`` names every endpoint with its queue group."""
    async with bus(url) as edge:
        info = msgspec.json.decode((await edge.client.request("$SRV.INFO.kalends-notes", timeout=10)).data)
    assert {(item["name"], item["subject"], item["queue_group"]) for item in info["endpoints"]} == {
        ("notes-add", "kalends.v1.*.*.notes.add", "kalends"),
        ("notes-list", "kalends.v1.*.*.notes.list", "kalends"),
        ("notes-get", "kalends.v1.*.*.notes.get", "kalends"),
    }


async def test_the_trace_goes_on(url):
    """What the caller began is continued."""
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    async with bus(url) as edge:
        body, _ = await edge.ask("notes.list", traceparent=f"00-{trace}-00f067aa0ba902b7-01")
    assert body["headers"]["traceparent"].startswith(f"00-{trace}-")
    assert "authorization" not in body["headers"]


async def test_a_slow_request_does_not_hold_up_its_neighbours_and_ends_at_its_deadline(url):
    """Each runs by itself."""
    begun = asyncio.Event()

    async def handle(call):
        if not begun.is_set():
            begun.set()
            await asyncio.Event().wait()
        return Answer(body={"ok": True})

    row = row_of(handle)
    async with bus(url, row, settings=HttpSettings(deadline_s=1.0, drain_s=1.0)) as edge, asyncio.TaskGroup() as tasks:
        slow = tasks.create_task(edge.ask("x"))
        await begun.wait()
        assert (await edge.ask("x"))[0] == {"ok": True}
        assert (await slow)[0]["code"] == "deadline_exceeded"


async def test_no_more_requests_run_at_once_than_allowed(url):
    """A flood waits in its subscription."""
    running, most, full = 0, 0, asyncio.Event()

    async def handle(call):
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 3:
            full.set()
        await full.wait()
        running -= 1
        return Answer(body={})

    row = row_of(handle)
    async with bus(url, row, concurrency=3) as edge:
        await asyncio.gather(*(edge.ask("x") for _ in range(20)))
    assert most == 3


async def test_running_requests_end_before_the_edge_leaves(url):
    """A rolling restart loses no answer."""
    begun, release = asyncio.Event(), asyncio.Event()

    async def handle(call):
        begun.set()
        await release.wait()
        return Answer(body={"ok": True})

    row = row_of(handle)
    outside = await nats.connect(url)
    try:
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            async with bus(url, row) as edge:
                headers = {"Authorization": f"Bearer {edge.admin}"}
                asked = tasks.create_task(outside.request(f"kalends.v1.{TENANT}.m.x", b"", timeout=10, headers=headers))
                await begun.wait()

                async def let_go():
                    with contextlib.suppress(nats.errors.NoRespondersError):
                        while True:
                            await outside.request("$SRV.PING.kalends-notes", b"", timeout=5)
                    release.set()

                tasks.create_task(let_go())
            assert msgspec.json.decode((await asked).data) == {"ok": True}
    finally:
        await outside.close()


async def test_an_answer_that_does_not_fit_a_message_is_a_problem(url):
    """The broker would close the connection."""

    async def handle(call):
        return Answer(body={"x": "y" * (1 << 20)})

    row = row_of(handle)
    async with bus(url, row) as edge:
        assert (await edge.ask("x"))[0]["code"] == "too_large"


async def test_a_request_that_wants_no_answer_does_no_harm(url):
    """A plain publish to a service's subject has no reply subject."""
    with structlog.testing.capture_logs():
        async with bus(url) as edge:
            headers = {"Authorization": f"Bearer {edge.admin}"}
            await edge.client.publish(f"kalends.v1.{TENANT}.m.notes.list", b"", headers=headers)
            assert (await edge.ask("notes.list"))[0]["memory"] == "m"


async def test_a_notice_tells_ids_and_where_but_no_content(url):
    """Subscribers of ``out`` then ask with their own credential."""
    client = await nats.connect(url)
    try:
        heard = await client.subscribe(f"kalends.v1.{TENANT}.m.out.*")
        await client.flush()
        scope = Scope(tenant=TENANT, memory=MemoryName("m"))
        await notice(
            client, scope, "indexed", Notice(event_ids=["e1"], stream="EVENTS_0", sequence=7, visibility="v", projection="lexical")
        )
        message = await heard.next_msg(timeout=10)
    finally:
        await client.close()
    assert message.subject == f"kalends.v1.{TENANT}.m.out.indexed"
    assert msgspec.json.decode(message.data) == {
        "event_ids": ["e1"],
        "stream": "EVENTS_0",
        "sequence": 7,
        "visibility": "v",
        "projection": "lexical",
    }


async def test_a_notice_without_a_connection_is_dropped_not_raised(url):
    """The log is the truth; a lost notice loses nothing."""
    client = await nats.connect(url)
    await client.close()
    with structlog.testing.capture_logs() as lines:
        await notice(client, Scope(tenant=TENANT, memory=MemoryName("m")), "failed", Notice(event_ids=["e1"], code="damaged"))
    assert lines[0]["event"] == "a notice was dropped"
