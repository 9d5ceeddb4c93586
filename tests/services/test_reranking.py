"""Reranking by a served model, over real engines: its order, what is said when it fails, and what takes its place."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.support.engines import SCOPE, Engines, engines, event, event_id, ledger
from tests.support.faulty import Faulty
from tests.support.model_server import Fault, ModelServer, model_server

from kalends.adapters.vllm.reranker import VllmReranker, open_reranker
from kalends.domain.errors import Damaged, KalendsError, Misconfigured, NotFound
from kalends.ports.models import Question
from kalends.search.arms import Arms, mixed_vector
from kalends.search.usecases import FindMemories, Found, Query
from kalends.settings import RerankerSettings

SAID = {
    "fox": "the red fox sleeps under the old tree",
    "heron": "a heron eats fish in the morning",
    "train": "the train to Oslo was late again",
    "turtle": "Bertrand is the name of the turtle that eats lettuce",
}
QUESTION = "what is the name of the turtle"


class WithoutTokens:
    """An embedder whose questions have no token vectors."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.identity = real.identity
        self.dimension = real.dimension

    async def embed(self, texts: Any) -> Any:
        """As the real one."""
        return await self._real.embed(texts)

    async def embed_query(self, text: str) -> Question:
        """The sentence vector only."""
        question = await self._real.embed_query(text)
        return Question(dense=question.dense, tokens=np.empty((0, self.dimension), np.float32), spans=())


@pytest.fixture
async def made(tmp_path) -> AsyncIterator[Engines]:
    """Engines that hold what was said."""
    async with ledger(tmp_path) as books, engines(books, tmp_path) as running:
        running.start()
        await running.index(*(event(name, text, minute=60 * number, session_id=name) for number, (name, text) in enumerate(SAID.items())))
        yield running


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    """A reranker that counts common words."""
    async with model_server() as one:
        yield one


@pytest.fixture
async def reranker(server: ModelServer) -> AsyncIterator[VllmReranker]:
    """The adapter over it."""
    opened = open_reranker(RerankerSettings(urls=server.url, model=server.model))
    yield opened
    await opened.close()


def find(made: Engines, reranker: Any, *, embedder: Any = None) -> FindMemories:
    """Search as it is wired in a process that has a reranker."""
    arms = Arms(
        lexicon=made.lexicon,
        vectors=made.vectors,
        embedder=embedder or made.embedder,
        settings=made.settings,
        observe=lambda *_: None,
        reranker=reranker,
    )
    return FindMemories(
        arms=arms,
        timeline=made.ledger.timeline,
        hydrator=made.hydrator,
        memories=made.ledger.memories,
        progress=made.ledger.progress,
        phrases=made.phrases,
        clock=made.ledger.clock,
        settings=made.settings,
    )


async def asked(finding: FindMemories, text: str = QUESTION, **changes: Any) -> Found:
    """An answer; the deadline is for a busy machine."""
    return await finding(SCOPE, Query(text=text, limit=4, seconds=20.0, **changes))


async def test_the_reranker_takes_the_place_of_late_interaction(made, server, reranker):
    """It reads the texts of the best, its scores are told, and the token vectors are left alone."""
    found = await asked(find(made, reranker))

    assert found.hits[0].opened.event.id == event_id("turtle")
    assert found.hits[0].raw["rerank"] == pytest.approx(5 / 6)
    assert set(found.arms) == {"lexical", "vector", "rerank"}
    assert found.degraded == ()
    assert "late" not in found.stages
    (body,) = [body for route, body in server.asked if route == "/rerank" and body["query"] == QUESTION]
    assert any(SAID["turtle"] in passage for passage in body["documents"])


async def test_its_word_outweighs_the_arms(made, reranker):
    """Whatever it puts first comes first; here a model that likes trains."""

    class Trains:
        identity = "trains"

        async def scores(self, question, passages):
            return [float("train" in passage) for passage in passages]

    assert (await asked(find(made, Trains()))).hits[0].opened.event.id == event_id("train")
    assert (await asked(find(made, Trains()), rerank="off")).hits[0].opened.event.id == event_id("turtle")


@pytest.mark.parametrize("fault", [Fault(status=500), Fault(status=400), Fault(cut=True), Fault(body=b"{}")], ids=str)
async def test_where_it_fails_late_interaction_takes_its_place_and_it_is_said(made, server, reranker, fault):
    """The order is that of a search without it."""
    plain = await asked(made.find)
    server.faults["/rerank"] = fault
    found = await asked(find(made, reranker))

    assert [hit.opened.key for hit in found.hits] == [hit.opened.key for hit in plain.hits]
    assert found.hits[0].raw["rerank"] == pytest.approx(plain.hits[0].raw["rerank"])
    assert found.degraded == ("rerank",)
    assert "rerank" not in found.arms


@pytest.mark.parametrize("error", [Damaged("broken"), NotFound("no such model"), Misconfigured("the key is refused")], ids=repr)
async def test_whatever_it_raises_is_said_and_the_search_is_answered(made, reranker, error: KalendsError):
    """Also what waiting does not mend."""
    faulty = Faulty(reranker, dependency="reranker")
    faulty.leave(error=error)
    found = await asked(find(made, faulty))

    assert found.degraded == ("rerank",)
    assert found.hits[0].opened.event.id == event_id("turtle")


async def test_where_it_is_slow_the_answer_comes_in_time_and_it_is_said(made, server, reranker):
    """Its deadline is that of an arm."""
    server.faults["*"] = Fault(held=asyncio.Event())
    made.settings = msgspec.structs.replace(made.settings, arm_deadline_s=1.0)
    found = await asked(find(made, reranker))

    assert found.degraded == ("rerank",)
    assert found.hits[0].opened.event.id == event_id("turtle")


async def test_without_token_vectors_too_the_fused_order_stays(made, server, reranker):
    """And it is said, with a reranker that fails and without any."""
    server.faults["*"] = Fault(status=503)
    for one in (reranker, None):
        found = await asked(find(made, one, embedder=WithoutTokens(made.embedder)))
        assert found.degraded == ("rerank",)
        assert found.hits[0].opened.event.id == event_id("turtle")
        assert "rerank" not in found.hits[0].raw


async def test_a_question_without_token_vectors_is_searched_by_its_sentence_vector(made, reranker):
    """And reranked by the model that reads."""
    bare = WithoutTokens(made.embedder)
    found = await asked(find(made, reranker, embedder=bare))
    question = await bare.embed_query(QUESTION)

    assert found.degraded == ()
    assert found.hits[0].opened.event.id == event_id("turtle")
    assert mixed_vector(question, [], mix=0.7) == pytest.approx(question.dense)


async def test_it_reranks_words_when_the_vectors_are_away(made, reranker):
    """Late interaction could not: it needs the same store."""
    made.vectors.leave()
    found = await asked(find(made, reranker))

    assert found.degraded == ("vector",)
    assert found.hits[0].raw.keys() == {"lexical", "rerank"}


async def test_what_is_gone_from_the_log_is_not_read_to_it(made, server, reranker):
    """An event that has expired leaves no trace in a request."""
    await made.index(event("secret", "the secret name of the turtle", expires_at=made.ledger.clock.now()))
    found = await asked(find(made, reranker))

    assert all("secret" not in passage for route, body in server.asked if route == "/rerank" for passage in body["documents"])
    assert event_id("secret") not in [hit.opened.event.id for hit in found.hits]


async def test_a_reranker_that_is_away_is_asked_again_when_it_is_back(made, reranker):
    """With the next question."""
    faulty = Faulty(reranker, dependency="reranker")
    faulty.leave()
    finding = find(made, faulty)
    assert (await asked(finding)).degraded == ("rerank",)
    faulty.come_back()
    assert (await asked(finding)).degraded == ()
