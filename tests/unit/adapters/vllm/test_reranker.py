"""The reranker over a small server: order, routes, limits, what is refused."""

import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from tests.support.model_server import Fault, ModelServer, model_server

from kalends.adapters.vllm import served
from kalends.adapters.vllm.reranker import MOST_CHARS, MOST_PASSAGES, VllmReranker, open_reranker
from kalends.domain.errors import Misconfigured, Unavailable
from kalends.settings import RerankerSettings

PASSAGES = ["rain over the harbour", "the turtle sleeps", "the turtle Bertrand sleeps"]
QUESTION = "where sleeps Bertrand the turtle"


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    """A server with both routes."""
    async with model_server() as made:
        yield made


@asynccontextmanager
async def reranking(server: ModelServer, **changes: Any) -> AsyncIterator[VllmReranker]:
    """A reranker over *server*."""
    made = open_reranker(msgspec.convert({"urls": server.url, "model": server.model, "deadline_s": 30.0} | changes, RerankerSettings))
    yield made
    await made.close()


@pytest.mark.parametrize("missing", [set(), {"/rerank"}], ids=["rerank", "score"])
async def test_scores_stand_in_the_order_of_the_passages(server: ModelServer, missing: set[str]) -> None:
    """By whichever route the server has; that is found out once."""
    server.routes -= missing
    async with reranking(server) as reranker:
        assert await reranker.scores(QUESTION, PASSAGES) == pytest.approx([0.2, 0.6, 0.8])
        asked = len(server.asked)
        await reranker.scores(QUESTION, PASSAGES)
        assert len(server.asked) == asked + 1
    assert server.count("/rerank") == (1 if missing else 3)
    assert reranker.identity == "words"


async def test_no_passage_is_no_call(server: ModelServer) -> None:
    """Servers refuse an empty list."""
    async with reranking(server) as reranker:
        assert await reranker.scores(QUESTION, []) == []
    assert server.asked == []


async def test_requests_are_bounded_by_passages_and_by_characters(server: ModelServer) -> None:
    """Every passage is scored."""
    async with reranking(server) as reranker:
        scores = await reranker.scores(QUESTION, ["turtle " * 10_000, *["turtle"] * (2 * MOST_PASSAGES)])
    sent = [body["documents"] for route, body in server.asked if route == "/rerank"]
    assert len(scores) == 2 * MOST_PASSAGES + 1
    assert max(map(len, sent)) == MOST_PASSAGES
    assert max(len(passage) for passages in sent for passage in passages) == MOST_CHARS
    assert {body["truncate_prompt_tokens"] for route, body in server.asked if route == "/rerank"} == {-1}


@pytest.mark.parametrize(
    ("changes", "missing", "says"),
    [({"model": "another"}, set(), "another is not served"), ({}, {"/rerank", "/score"}, "does not rerank")],
    ids=["name", "routes"],
)
async def test_what_does_not_rerank_is_refused(server: ModelServer, changes: dict[str, Any], missing: set[str], says: str) -> None:
    """Whoever asks hears that it is away; whoever looks after it, what is wrong."""
    server.routes -= missing
    async with reranking(server, **changes) as reranker:
        await reranker.warm()
        assert isinstance(reranker.failure, Misconfigured)
        assert says in reranker.failure.detail
        assert reranker.failing_since is not None
        with pytest.raises(Unavailable):
            await reranker.scores(QUESTION, PASSAGES)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=500),
        Fault(status=400),
        Fault(cut=True),
        Fault(body=b'{"results": []}'),
        Fault(body=b'{"results": [{"index": 0, "relevance_score": 1e999}]}'),
        Fault(body=b'{"results": [{"index": 7, "relevance_score": 1}]}'),
        Fault(body=b'{"results": "where sleeps Bertrand the turtle"}'),
    ],
    ids=str,
)
async def test_what_is_no_answer_is_an_outage_that_quotes_nothing(server: ModelServer, fault: Fault) -> None:
    """Also where the server refuses: whoever searches has broken no rule."""
    async with reranking(server) as reranker:
        await reranker.warm()
        server.faults["/rerank"] = fault
        with pytest.raises(Unavailable) as caught:
            await reranker.scores(QUESTION, PASSAGES[:1])
        assert caught.value.dependency == "reranker"
        told = "".join(traceback.format_exception(caught.value))
        assert "Bertrand" not in told


async def test_it_comes_back_by_itself(server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the next question after an outage."""
    monkeypatch.setattr(served, "RETRY_S", 0.0)
    await server.stop()
    async with reranking(server) as reranker:
        await reranker.warm()
        assert isinstance(reranker.failure, Unavailable)
        await server.start()
        assert len(await reranker.scores(QUESTION, PASSAGES)) == 3
        assert reranker.failure is None


def test_servers_without_a_model_are_refused() -> None:
    """Nobody knows what to ask them for."""
    with pytest.raises(Misconfigured, match="KALENDS_RERANKER__MODEL"):
        open_reranker(RerankerSettings(urls="http://127.0.0.1:1"))
