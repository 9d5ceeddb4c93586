"""What real vLLM servers say to settings that do not fit them."""

from typing import Any

import pytest
from tests.support.vllm import servers

from kalends.adapters.vllm.chat import open_chat
from kalends.adapters.vllm.embedder import open_embedder
from kalends.adapters.vllm.reranker import open_reranker
from kalends.domain.errors import Invalid, KalendsError, Misconfigured, Unavailable

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(servers.BUILD_S)]


async def failure_of(**changes: Any) -> KalendsError | None:
    """What is wrong with an embedder whose settings are changed."""
    embedder = open_embedder(servers.embedder_settings(**changes))
    await embedder.warm()
    if embedder.failure is not None:
        with pytest.raises(Unavailable):
            await embedder.embed(["the turtle sleeps"])
        with pytest.raises(Unavailable):
            await embedder.embed_query("where is the turtle?")
    await embedder.close()
    return embedder.failure


async def test_the_right_settings_are_taken() -> None:
    """So that the refusals below are about what they say."""
    assert await failure_of() is None


async def test_a_name_that_is_not_served_is_refused() -> None:
    """By the list of what is."""
    failure = await failure_of(model="another-model")

    assert isinstance(failure, Misconfigured)
    assert "another-model is not served there" in failure.detail


async def test_another_dimension_is_refused() -> None:
    """By the vector of a probe."""
    failure = await failure_of(dimension=768)

    assert isinstance(failure, Misconfigured)
    assert "384" in failure.detail


async def test_windows_longer_than_the_model_reads_are_refused() -> None:
    """Else every request would be."""
    failure = await failure_of(max_tokens=512)

    assert isinstance(failure, Misconfigured)
    assert "embedder.max_tokens" in failure.detail


async def test_a_server_that_embeds_gives_no_token_vectors() -> None:
    """It pools in one way; without servers of their own there are none, and named as such it is refused."""
    embedder = open_embedder(servers.embedder_settings(token_urls=""))
    ((window,),) = await embedder.embed(["the turtle sleeps"])
    question = await embedder.embed_query("where is the turtle?")
    await embedder.close()
    assert (len(window.tokens), len(question.tokens), len(question.spans)) == (0, 0, 0)

    failure = await failure_of(token_urls=servers.models().embedder.urls)
    assert isinstance(failure, Misconfigured)
    assert "embedder.token_urls" in failure.detail


async def test_a_server_of_token_vectors_is_no_embedder() -> None:
    """It does not know the route."""
    assert isinstance(await failure_of(urls=servers.models().embedder.token_urls), Unavailable)


async def test_a_reranker_that_is_not_served_is_refused() -> None:
    """As is a chat model that is put in its place."""
    for settings in (
        servers.reranker_settings(model="another-model"),
        servers.reranker_settings(urls=servers.models().chat.urls, model=servers.models().chat.model),
    ):
        reranker = open_reranker(settings)
        await reranker.warm()
        assert reranker.failure is not None
        with pytest.raises(Unavailable):
            await reranker.scores("where is the turtle?", ["the turtle sleeps"])
        await reranker.close()


async def test_a_question_too_long_for_the_chat_model_is_refused_and_not_asked_again() -> None:
    """Waiting would not make it shorter."""
    given = servers.models().chat
    chat = open_chat(given.urls, model=given.model, deadline_s=servers.PATIENCE_S)
    with pytest.raises(Invalid):
        await chat.complete("Answer in JSON.", "word " * 200_000, schema={"type": "object"}, max_tokens=20)
    await chat.close()


async def test_a_chat_model_that_is_not_served_is_away() -> None:
    """Its name may be served tomorrow."""
    given = servers.models().chat
    chat = open_chat(given.urls, model="another-model", deadline_s=servers.PATIENCE_S)
    with pytest.raises(Unavailable):
        await chat.complete("Answer in JSON.", "hello", schema={"type": "object"}, max_tokens=20)
    await chat.close()
