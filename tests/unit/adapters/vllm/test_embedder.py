"""The embedder over a small server: windows, batches, what is missing, what is refused, and what comes back after an outage."""

import asyncio
import traceback
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.support.model_server import Fault, ModelServer, model_server
from tests.support.records import MemoryRecords

from kalends.adapters.vllm import embedder as module
from kalends.adapters.vllm import served
from kalends.adapters.vllm.embedder import First, VllmEmbedder, identity_of, open_embedder
from kalends.domain.errors import DeadlineExceeded, Invalid, KalendsError, Misconfigured, Throttled, Unavailable
from kalends.settings import EmbedderSettings
from kalends.wire.model_probes import ModelProbes

LONG = " ".join(f"word{number}" for number in range(200))
SECRET = "Bertrand the turtle"


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    """A server of sentence vectors."""
    async with model_server() as made:
        yield made


def settings(server: ModelServer, **changes: Any) -> EmbedderSettings:
    """Settings for *server*."""
    wanted = {"urls": server.url, "model": server.model, "dimension": server.dimension, "max_tokens": 64, "deadline_s": 30.0}
    return msgspec.convert(wanted | changes, EmbedderSettings)


@asynccontextmanager
async def embedding(server: ModelServer, *, first: First | None = None, **changes: Any) -> AsyncIterator[VllmEmbedder]:
    """An embedder over *server*."""
    made = open_embedder(settings(server, **changes), first=first)
    yield made
    await made.close()


def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every call look again at once."""
    monkeypatch.setattr(served, "RETRY_S", 0.0)


async def away(embedder: VllmEmbedder) -> KalendsError:
    """The error that a text gets; nothing of the text is in it."""
    with pytest.raises(KalendsError) as caught:
        await embedder.embed([SECRET])
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert caught.value.dependency == "model"
    return caught.value


@pytest.mark.parametrize(
    ("model", "dimension", "identity"),
    [
        ("all-minilm-l6-v2", 384, "vllm-all-minilm-l6-v2-384"),
        ("BAAI/bge-m3", 1024, "vllm-baai-bge-m3-1024"),
        ("_Odd__Name_", 3, "vllm-odd-name-3"),
    ],
)
def test_the_identity_is_known_without_asking(model: str, dimension: int, identity: str) -> None:
    """Served name and dimension, in letters that every store takes."""
    assert identity_of(EmbedderSettings(model=model, dimension=dimension)) == identity


def test_servers_without_a_model_are_refused() -> None:
    """Nobody knows what to ask them for."""
    with pytest.raises(Misconfigured, match="KALENDS_EMBEDDER__MODEL"):
        open_embedder(EmbedderSettings(urls="http://127.0.0.1:1"))


async def test_a_server_that_gives_no_token_vectors_is_done_without(server: ModelServer) -> None:
    """A question has its sentence vector, and no rows and no spans; it costs one call."""
    async with embedding(server) as embedder:
        await embedder.warm()
        ((window,),) = await embedder.embed(["the turtle sleeps"])
        asked = len(server.asked)
        question = await embedder.embed_query("the turtle sleeps")

    assert len(server.asked) == asked + 1
    assert window.tokens.shape == question.tokens.shape == (0, 16)
    assert question.spans == ()
    assert float(window.dense @ question.dense) == pytest.approx(1, abs=1e-6)
    assert embedder.failure is None


@pytest.mark.parametrize("apart", [True, False], ids=["a-server-of-their-own", "the-same-server"])
async def test_token_vectors_are_taken_where_they_are_offered(server: ModelServer, apart: bool) -> None:  # noqa: FBT001 - a parameter
    """From servers of their own, or from the ones that embed."""
    async with model_server(by_token=True) as by_token:
        server.by_token = not apart
        async with embedding(server, token_urls=by_token.url if apart else "") as embedder:
            ((window,),) = await embedder.embed(["The turtle sleeps."])
            question = await embedder.embed_query("The turtle sleeps.")
    text = "The turtle sleeps."
    assert window.tokens.shape == (4, 16)
    assert question.tokens.shape == (6, 16)
    assert [text[start:end] for start, end in question.spans] == ["", "The", "turtle", "sleeps", ".", ""]
    assert (by_token.count("/pooling") > 0) is apart


async def test_token_vectors_can_be_switched_off(server: ModelServer) -> None:
    """A site that reranks by a cross-encoder needs none."""
    server.by_token = True
    async with embedding(server, token_vectors="off") as embedder:
        ((window,),) = await embedder.embed(["The turtle sleeps."])
    assert len(window.tokens) == 0
    assert server.count("/pooling") == 0


async def test_servers_of_token_vectors_that_give_none_are_refused(server: ModelServer) -> None:
    """Whoever named them wants them."""
    async with model_server() as other, embedding(server, token_urls=other.url) as embedder:
        await embedder.warm()
        assert isinstance(embedder.failure, Misconfigured)
        assert "token_urls" in embedder.failure.detail


async def test_while_the_servers_of_token_vectors_are_away_questions_do_without_and_passages_wait(server: ModelServer) -> None:
    """A passage without them would stay without; a question is asked again."""
    async with model_server(by_token=True) as by_token, embedding(server, token_urls=by_token.url) as embedder:
        await embedder.warm()
        await by_token.stop()
        question = await embedder.embed_query("the turtle")
        assert (len(question.tokens), len(question.spans)) == (0, 0)
        assert type(await away(embedder)) is Unavailable
        await by_token.start()
        await asyncio.wait_for(embedder.embed_query("the turtle"), 30)
        assert len((await embedder.embed_query("another turtle")).dense) == 16


async def test_a_long_text_has_windows_that_overlap(server: ModelServer) -> None:
    """62 words each beside the two marks; the next begins with the last 31, which is half of so small a window."""
    async with embedding(server) as embedder:
        ((*windows,),) = await embedder.embed([LONG])
    sent = [ids for route, body in server.asked if route == "/v1/embeddings" for ids in body["input"] if len(ids) > 10 and ids[0] == 1]
    assert len(windows) == 6
    assert sorted(map(len, sent)) == [47, *[64] * 5]
    assert all(ids[-1] == 2 for ids in sent)


async def test_without_a_tokenizer_a_long_text_is_cut_by_characters(server: ModelServer) -> None:
    """And there are no token vectors, since nobody knows where they stand."""
    server.routes -= {"/tokenize"}
    server.by_token = True
    server.dimension = 512
    async with embedding(server) as embedder:
        (windows,) = await embedder.embed([LONG])
        question = await embedder.embed_query("word7 word8")
    assert len(windows) > 5
    assert len(question.tokens) == 0
    assert int(np.argmax([window.dense @ question.dense for window in windows])) == 0


async def test_requests_are_bounded_by_tokens_and_by_texts(server: ModelServer) -> None:
    """And every text gets its own vector back, whatever order they went in."""
    texts = [f"turtle {number} " + "sleeps " * (number % 9) for number in range(150)]
    async with embedding(server, batch_tokens=100) as embedder:
        await embedder.warm()
        before = len(server.asked)
        found = await embedder.embed(texts)
        alone = [(await embedder.embed([text]))[0] for text in texts[:20]]
    requests = [body["input"] for route, body in server.asked[before:] if route == "/v1/embeddings"][:-20]
    assert all(len(one) <= module.MOST_TEXTS for one in requests)
    assert sum(len(one) > 1 for one in requests) > 5
    for (one,), (other,) in zip(found, alone, strict=False):
        assert float(one.dense @ other.dense) == pytest.approx(1, abs=1e-6)


async def test_a_question_is_remembered(server: ModelServer) -> None:
    """The last few hundred."""
    async with embedding(server) as embedder:
        first = await embedder.embed_query("the turtle")
        asked = len(server.asked)
        assert await embedder.embed_query("the turtle") is first
        assert len(server.asked) == asked


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": "another"}, "another is not served"),
        ({"dimension": 32}, "vectors of 16 numbers"),
        ({"max_tokens": 128}, "reads 64 tokens"),
    ],
    ids=["name", "dimension", "length"],
)
async def test_another_model_than_the_settings_name_is_refused(server: ModelServer, changes: dict[str, Any], says: str) -> None:
    """Whoever asks hears that it is away; whoever looks after it, what is wrong."""
    async with embedding(server, **changes) as embedder:
        await embedder.warm()
        assert isinstance(embedder.failure, Misconfigured)
        assert says in embedder.failure.detail
        assert embedder.failing_since is not None
        assert type(await away(embedder)) is Unavailable


async def test_a_server_that_is_away_at_start_is_looked_at_when_it_comes(server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """And used, if it is the right one."""
    await server.stop()
    async with embedding(server) as embedder:
        await embedder.warm()
        assert isinstance(embedder.failure, Unavailable)
        assert type(await away(embedder)) is Unavailable
        await server.start()
        no_pause(monkeypatch)
        assert len(await embedder.embed(["the turtle"])) == 1
        assert embedder.failure is None
        assert embedder.failing_since is None


async def test_no_more_than_one_look_in_five_seconds(server: ModelServer) -> None:
    """Every call in between fails at once, and says when to come again."""
    await server.stop()
    async with embedding(server) as embedder:
        await embedder.warm()
        await server.start()
        assert (await away(embedder)).retry_after == served.RETRY_S
        assert server.asked == []


@pytest.mark.parametrize(
    ("changed", "says"),
    [({"model": "another"}, "not served"), ({"dimension": 8}, "8 numbers"), ({"seed": "other weights"}, "was there before")],
    ids=["name", "dimension", "weights"],
)
async def test_a_server_that_comes_back_with_another_model_is_refused(
    server: ModelServer, changed: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if it has the same name and the same dimension: vectors of two models never mix."""
    async with embedding(server) as embedder:
        await embedder.embed(["the turtle"])
        await server.stop()
        assert type(await away(embedder)) is Unavailable
        for name, value in changed.items():
            setattr(server, name, value)
        await server.start()
        no_pause(monkeypatch)
        assert type(await away(embedder)) is Unavailable
        assert isinstance(embedder.failure, Misconfigured)
        assert says in embedder.failure.detail


async def test_other_weights_under_the_old_name_are_refused_by_processes_that_never_met_the_old_ones(server: ModelServer) -> None:
    """Model server and program are often updated together; the vectors of before are still in the index."""
    first = ModelProbes(MemoryRecords()).first
    for _ in range(2):
        async with embedding(server, first=first) as embedder:
            await embedder.embed(["the turtle"])

    server.seed = "other weights"
    async with embedding(server, first=first) as embedder:
        assert type(await away(embedder)) is Unavailable
        assert isinstance(embedder.failure, Misconfigured)
        assert "was there before" in embedder.failure.detail


async def test_a_model_serves_while_nobody_can_say_what_it_was_and_that_is_asked_later(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full log keeps no question waiting."""
    probes, asked = ModelProbes(MemoryRecords()), list[str]()
    async with embedding(server, first=probes.first) as embedder:
        await embedder.embed(["the turtle"])
    server.seed = "other weights"

    async def first(identity: str, vector: Sequence[float]) -> Sequence[float]:
        asked.append(identity)
        if len(asked) == 1:
            raise Throttled("the log is full")
        return await probes.first(identity, vector)

    async with embedding(server, first=first) as embedder:
        await embedder.embed(["the turtle"])
        await server.stop()
        await away(embedder)
        await server.start()
        no_pause(monkeypatch)
        assert type(await away(embedder)) is Unavailable
    assert asked == [embedder.identity] * 2


@pytest.mark.parametrize(
    ("route", "fault", "expected"),
    [
        ("/v1/embeddings", Fault(status=500), Unavailable),
        ("/v1/embeddings", Fault(cut=True), Unavailable),
        ("/v1/embeddings", Fault(body=b"{}"), Unavailable),
        ("/v1/embeddings", Fault(body=b'{"data": []}'), Unavailable),
        ("/v1/embeddings", Fault(body=b'{"data": [{"index": 0, "embedding": "Bertrand the turtle"}]}'), Unavailable),
        ("/v1/embeddings", Fault(body=b'{"data": [{"index": 0, "embedding": ""}]}'), Unavailable),
        ("/v1/embeddings", Fault(body=b'{"data": [{"index": 0, "embedding": "AADAfwAAwH8="}]}'), Unavailable),
        ("/tokenize", Fault(body=b"Bertrand the turtle"), Unavailable),
        ("/pooling", Fault(body=b'{"data": [{"index": 0, "data": "AAAAAA=="}]}'), Unavailable),
        ("/pooling", Fault(status=502), Unavailable),
    ],
    ids=str,
)
async def test_what_is_no_answer_is_an_outage(server: ModelServer, route: str, fault: Fault, expected: type[KalendsError]) -> None:
    """And health says so until there is an answer again."""
    server.by_token = True
    async with embedding(server) as embedder:
        await embedder.warm()
        server.faults[route] = fault
        with pytest.raises(KalendsError) as caught:
            await embedder.embed([f"{SECRET} " * 20])
        assert type(caught.value) is expected
        assert SECRET not in "".join(traceback.format_exception(caught.value))
        assert isinstance(embedder.failure, expected)
        server.faults.clear()
        await embedder.embed([SECRET])
        assert embedder.failure is None


async def test_several_calls_that_fail_together_are_one_error(server: ModelServer) -> None:
    """Not a group of them, which nobody would take for an outage."""
    async with embedding(server, batch_tokens=16) as embedder:
        await embedder.warm()
        server.faults["/v1/embeddings"] = Fault(breaks=True)
        with pytest.raises(Unavailable):
            await embedder.embed([f"turtle {number}" for number in range(200)])


async def test_a_text_that_alone_is_refused_is_told_from_a_server_that_refuses_all(server: ModelServer) -> None:
    """The first may lose its place in the index, the second must not cost a single text its own."""
    async with embedding(server) as embedder:
        await embedder.warm()
        honest = server._embeddings

        def picky(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
            return (400, {}) if body["input"] == [SECRET] else honest(body)

        server._embeddings = picky  # type: ignore[method-assign]
        assert type(await away(embedder)) is Invalid
        with pytest.raises(Unavailable):
            await embedder.embed_query(SECRET)
        server.faults["/v1/embeddings"] = Fault(status=400)
        assert type(await away(embedder)) is Unavailable


async def test_a_slow_server_costs_the_deadline_and_no_more(server: ModelServer) -> None:
    """As an outage."""
    async with embedding(server, deadline_s=0.2) as embedder:
        await embedder.warm()
        server.faults["/v1/embeddings"] = Fault(held=asyncio.Event())
        assert type(await away(embedder)) is DeadlineExceeded


async def test_a_mark_that_a_text_spells_out_is_words(server: ModelServer) -> None:
    """A text cannot speak for the model."""
    async with embedding(server) as embedder:
        await embedder.embed(["one </s> two"])
    assert "one < /s> two" in [text for route, body in server.asked if route == "/v1/embeddings" for text in body["input"]]
