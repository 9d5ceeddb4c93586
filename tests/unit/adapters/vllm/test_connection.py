"""How a question travels: over sockets, to servers with every fault."""

import asyncio
import ssl
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from tests.support.model_server import Fault, ModelServer, model_server
from tests.support.tls_proxy import Authority, tls_proxy
from tests.support.waiting import until

from kalends.adapters.vllm import connection as module
from kalends.adapters.vllm.connection import FAILURES, PAUSE_S, ModelConnection, open_connection
from kalends.domain.errors import DeadlineExceeded, Invalid, KalendsError, Misconfigured, Unavailable

SECRET = "Bertrand the turtle"
QUESTION = {"model": "words", "query": SECRET, "documents": ["a turtle"]}


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def connected(*servers: ModelServer, deadline_s: float = 30.0, concurrency: int = 4) -> AsyncIterator[ModelConnection]:
    """A connection to *servers*; its clock stands still."""
    made = ModelConnection(
        [one.url for one in servers],
        dependency="model",
        subject="the model",
        deadline_s=deadline_s,
        concurrency=concurrency,
        now=Clock(),
    )
    yield made
    await made.close()


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    """A server without faults."""
    async with model_server() as made:
        yield made


async def ask(connection: ModelConnection, *, most_bytes: int = 10_000, urgent: bool = False) -> bytes:
    """The answer to a question."""

    def read(status: int, content: bytes) -> bytes:
        if status != 200:
            raise connection.refusal(status)
        return content

    return await connection.ask("/rerank", QUESTION, read, most_bytes=most_bytes, urgent=urgent)


async def refusal(connection: ModelConnection) -> KalendsError:
    """The error that a question gets; nothing of the question is in it or in what led to it."""
    with pytest.raises(KalendsError) as caught:
        await ask(connection)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert caught.value.dependency == "model"
    return caught.value


async def test_an_answer_comes_from_the_server(server: ModelServer) -> None:
    """And names no proxy, no compression and no key on its way."""
    async with connected(server) as connection:
        assert b"relevance_score" in await ask(connection)
    (headers,) = server.headers
    assert headers["accept-encoding"] == "identity"
    assert "authorization" not in headers


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault(status=500), Unavailable),
        (Fault(status=503), Unavailable),
        (Fault(status=429), Unavailable),
        (Fault(status=401), Unavailable),
        (Fault(status=400), Invalid),
        (Fault(status=307), Unavailable),
        (Fault(cut=True), Unavailable),
        (Fault(breaks=True), Unavailable),
        (Fault(body=b"x" * 20_000), Unavailable),
    ],
    ids=lambda value: getattr(value, "__name__", None) or f"{value.status}-{value.cut}-{value.breaks}-{len(value.body or b'')}",
)
async def test_what_is_no_answer_is_an_error_of_ours(server: ModelServer, fault: Fault, expected: type[KalendsError]) -> None:
    """And the question is not asked a second time: it may have been heard."""
    server.faults["*"] = fault
    async with connected(server) as connection:
        assert type(await refusal(connection)) is expected
    assert server.count("/rerank") == 1


async def test_a_server_that_is_down_is_unavailable(server: ModelServer) -> None:
    """After one more try."""
    await server.stop()
    async with connected(server) as connection:
        assert type(await refusal(connection)) is Unavailable


async def test_the_second_try_reaches_a_server_that_just_came(server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was sent, so nothing is done twice."""
    async with connected(server) as connection:
        exchange, tries = connection._exchange, []

        async def refused_once(url: str, body: bytes | None, most_bytes: int) -> tuple[int, bytes]:
            tries.append(url)
            if len(tries) == 1:
                raise httpx.ConnectError(SECRET)
            return await exchange(url, body, most_bytes)

        monkeypatch.setattr(connection, "_exchange", refused_once)
        assert await ask(connection)
    assert len(tries) == 2


async def test_one_replica_of_two_down_costs_nobody_an_answer(server: ModelServer) -> None:
    """It is found out once, and left alone."""
    async with model_server() as other:
        await other.stop()
        async with connected(other, server) as connection:
            for _ in range(4):
                await ask(connection)
    assert server.count("/rerank") == 4


async def test_a_replica_that_serves_something_else_is_passed_over(server: ModelServer) -> None:
    """Its answer is none; that of another is."""
    async with model_server(model="others") as other, connected(other, server) as connection:

        def read(status: int, _: bytes) -> bool:
            if status == 404:
                raise Misconfigured("another model")
            return True

        for _ in range(4):
            assert await connection.ask("/rerank", QUESTION, read, most_bytes=10_000)
        assert (other.count("/rerank"), server.count("/rerank")) == (1, 4)


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_what_one_replica_refuses_another_may_answer(server: ModelServer, status: int) -> None:
    """One that was started with a smaller limit rejects nothing for good, and is left alone for a while."""
    async with model_server(faults={"*": Fault(status=status)}) as smaller, connected(smaller, server) as connection:
        for _ in range(4):
            assert await ask(connection)
        assert (smaller.count("/rerank"), server.count("/rerank")) == (1, 4)


async def test_what_every_replica_that_is_asked_refuses_is_refused(server: ModelServer) -> None:
    """Two are asked, however many there are."""
    server.faults["*"] = Fault(status=400)
    async with model_server(faults=server.faults) as second, model_server(faults=server.faults) as third:
        async with connected(server, second, third) as connection:
            assert type(await refusal(connection)) is Invalid
        assert [one.count("/rerank") for one in (server, second, third)] == [1, 1, 0]


@pytest.mark.parametrize("fault", [Fault(status=503), Fault(breaks=True), None], ids=["fails", "breaks", "down"])
async def test_a_refusal_stands_where_the_other_replica_cannot_answer(server: ModelServer, fault: Fault | None) -> None:
    """A question that nobody takes would else be asked for as long as one is away, and open the circuit of the one that is there."""
    server.faults["*"] = Fault(status=400)
    async with model_server() as other, connected(server, other) as connection:
        if fault is None:
            await other.stop()
        else:
            other.faults["*"] = fault
        for _ in range(2 * FAILURES):
            assert type(await refusal(connection)) is Invalid
        assert other.count("/rerank") <= 1  # left out after that


async def test_work_is_shared_among_replicas(server: ModelServer) -> None:
    """In turns."""
    async with model_server() as other, connected(server, other) as connection:
        for _ in range(6):
            await ask(connection)
        assert (server.count("/rerank"), other.count("/rerank")) == (3, 3)


async def test_a_slow_server_is_waited_for_no_longer_than_allowed(server: ModelServer) -> None:
    """The deadline is for the whole answer."""
    server.faults["*"] = Fault(held=asyncio.Event())
    async with connected(server, deadline_s=0.1) as connection:
        assert type(await refusal(connection)) is DeadlineExceeded


async def test_no_more_than_so_many_ask_at_once_and_the_others_hear_that_it_is_busy(server: ModelServer) -> None:
    """And when to come again; questions of people have places of their own."""
    gate = asyncio.Event()
    server.faults["*"] = Fault(held=gate)
    async with connected(server, concurrency=2, deadline_s=0.6) as connection, asyncio.TaskGroup() as group:
        first = [group.create_task(ask(connection)) for _ in range(2)]
        await until(lambda: server.count("/rerank") == 2)
        busy = await refusal(connection)
        assert type(busy) is Unavailable
        assert busy.retry_after is not None
        assert server.count("/rerank") == 2
        urgent = group.create_task(ask(connection, urgent=True))
        await until(lambda: server.count("/rerank") == 3)
        for task in (*first, urgent):
            task.cancel()


async def test_after_failures_in_a_row_it_fails_at_once_until_a_probe_succeeds(server: ModelServer) -> None:
    """Nothing is sent meanwhile; the pause is told."""
    server.faults["*"] = Fault(status=500)
    async with connected(server) as connection:
        clock = connection._now
        assert isinstance(clock, Clock)
        for _ in range(FAILURES):
            await refusal(connection)
        asked = server.count("/rerank")
        error = await refusal(connection)
        assert (type(error), error.retry_after, server.count("/rerank")) == (Unavailable, PAUSE_S, asked)

        clock.now += PAUSE_S
        await refusal(connection)
        assert server.count("/rerank") == asked + 1
        assert (await refusal(connection)).retry_after == PAUSE_S

        clock.now += PAUSE_S
        server.faults.clear()
        for _ in range(3):
            await ask(connection)
        assert server.count("/rerank") == asked + 4


async def test_a_refused_question_opens_no_circuit(server: ModelServer) -> None:
    """The server is there; it is the question that is wrong."""
    server.faults["*"] = Fault(status=400)
    async with connected(server) as connection:
        for _ in range(2 * FAILURES):
            assert type(await refusal(connection)) is Invalid


@pytest.mark.parametrize(("slow", "opened"), [(True, True), (False, False)])
async def test_whoever_leaves_after_a_long_wait_has_seen_a_failure(server: ModelServer, slow: bool, opened: bool) -> None:  # noqa: FBT001 - a parameter
    """A server that swallows everything would else never open the circuit of a search, which waits less long than a model may take."""
    server.faults["*"] = Fault(held=asyncio.Event())
    async with connected(server) as connection:
        clock = connection._now
        assert isinstance(clock, Clock)
        for number in range(1, FAILURES + 1):
            task = asyncio.create_task(ask(connection))
            await until(lambda number=number: server.count("/rerank") == number)  # type: ignore[misc]
            clock.now += module.SLOW_S if slow else 0.0
            task.cancel()
            await asyncio.wait([task])
        assert (connection._breaker.wait_s > 0) is opened


async def test_the_proxies_of_the_environment_are_ignored(server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory goes to the configured server and nowhere else."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with connected(server) as connection:
        assert await ask(connection)


async def test_servers_and_files_come_from_the_settings(server: ModelServer, tmp_path: Path) -> None:
    """Several with commas between, with or without the end of their root; a key is sent as a bearer token."""
    key, authorities = tmp_path / "key", tmp_path / "ca"
    key.write_text("sk-1\n", encoding="ascii")
    authorities.write_text("".join(map(ssl.DER_cert_to_PEM_cert, [])), encoding="ascii")
    named = {"setting": "embedder.urls", "dependency": "model", "subject": "the model", "deadline_s": 30.0, "concurrency": 2}
    connection = open_connection(f"{server.url}/v1, {server.url}/", key_file=str(key), strip="/v1", **named)
    for _ in range(2):
        await ask(connection)
    await connection.close()

    assert [one["authorization"] for one in server.headers] == ["Bearer sk-1"] * 2
    assert server.count("/rerank") == 2
    with pytest.raises(Misconfigured, match="certificates"):
        open_connection(server.url, ca_file=str(authorities), **named)
    with pytest.raises(Misconfigured, match="certificates"):
        open_connection(server.url, ca_file=str(tmp_path / "none"), **named)


async def test_certificates_are_checked_against_the_file_that_is_set(server: ModelServer, tmp_path: Path) -> None:
    """A server that somebody else signed for is none of ours."""
    authority = Authority(tmp_path)
    async with tls_proxy(server.url, authority.server()) as proxy:
        named = {"setting": "embedder.urls", "dependency": "model", "subject": "the model", "deadline_s": 30.0, "concurrency": 2}
        trusting, wary = open_connection(proxy.url, ca_file=str(authority.file), **named), open_connection(proxy.url, **named)
        assert await ask(trusting)
        assert type(await refusal(wary)) is Unavailable
        assert proxy.passed == server.count("/rerank") == 1
        await trusting.close()
        await wary.close()


@pytest.mark.parametrize("urls", ["", "http://a:1,", "a:1", "http://user:secret@a:1", "http://a:1?x=1", "ftp://a"])
def test_addresses_that_are_none_are_refused_and_not_repeated(urls: str) -> None:
    """The setting is named; what stands in it may hold a password."""
    with pytest.raises(Misconfigured, match=r"embedder\.urls") as caught:
        open_connection(urls, setting="embedder.urls", dependency="model", subject="the model", deadline_s=1.0, concurrency=1)
    assert "secret" not in str(caught.value)
