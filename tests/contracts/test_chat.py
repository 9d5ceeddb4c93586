"""The suite of the port ``chat``, over a small server of OpenAI's API and over a real vLLM."""

import asyncio
import json
import traceback
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.chat_server import ChatServer, Reply, chat_server, nobody
from tests.support.vllm import servers

from kalends.adapters.vllm import chat as adapter
from kalends.adapters.vllm.chat import OpenAiChat, open_chat
from kalends.domain.errors import DeadlineExceeded, Invalid, KalendsError, Misconfigured, Unavailable

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
SECRET = "Bertrand the turtle"
PATIENT_S = 120.0


@pytest.fixture
async def server() -> AsyncIterator[ChatServer]:
    """A server that knows one city."""
    async with chat_server(lambda _: Reply(text='{"city": "Ghent"}')) as made:
        yield made


@pytest.fixture
async def chat(server: ChatServer) -> AsyncIterator[OpenAiChat]:
    """The adapter over that server."""
    made = open_chat(server.url, model="small", deadline_s=PATIENT_S)
    yield made
    await made.close()


@pytest.fixture(params=["server", pytest.param("vllm", marks=servers.MARKS)])
async def any_chat(request: pytest.FixtureRequest) -> AsyncIterator[OpenAiChat]:
    """Each server in turn."""
    if request.param == "server":
        async with chat_server(lambda _: Reply(text='{"city": "Ghent"}')) as server:
            made = open_chat(server.url, model="small", deadline_s=PATIENT_S)
            yield made
            await made.close()
        return
    given = servers.models().chat
    made = open_chat(given.urls, model=given.model, deadline_s=PATIENT_S)
    yield made
    await made.close()


async def ask(chat: OpenAiChat, question: str = f"Where does {SECRET} live? In Ghent.", max_tokens: int = 60) -> adapter.Completion:
    """The answer to a question."""
    return await chat.complete("Answer in JSON.", question, schema=SCHEMA, max_tokens=max_tokens)


async def refusal(chat: OpenAiChat) -> KalendsError:
    """The error that a question gets; nothing of the question is in it or in what led to it."""
    with pytest.raises(KalendsError) as caught:
        await ask(chat)
    told = "".join(traceback.format_exception(caught.value))
    assert SECRET not in "".join(line for line in told.splitlines() if "await ask" not in line)
    assert caught.value.dependency == "chat"
    return caught.value


async def test_an_answer_has_the_wanted_shape_and_its_cost(any_chat: OpenAiChat) -> None:
    """JSON after the schema, and the tokens of question and answer."""
    answer = await ask(any_chat)

    assert list(json.loads(answer.text)) == ["city"]
    assert answer.tokens > 0
    assert not answer.cut


async def test_an_answer_that_grew_too_long_is_said_to_be_cut(any_chat: OpenAiChat) -> None:
    """So that nobody takes its beginning for the whole."""
    assert (await ask(any_chat, max_tokens=2)).cut


async def test_the_model_is_asked_without_randomness_and_with_the_schema(chat: OpenAiChat, server: ChatServer) -> None:
    """The same question has the same answer, as far as the model can."""
    await ask(chat)

    (asked,) = server.asked
    assert (asked["model"], asked["temperature"], asked["seed"], asked["max_tokens"]) == ("small", 0, 0, 60)
    assert asked["response_format"]["json_schema"] == {"name": "answer", "schema": SCHEMA, "strict": True}
    assert [message["role"] for message in asked["messages"]] == ["system", "user"]
    assert chat.identity == "small"


async def test_the_key_is_sent_where_there_is_one(server: ChatServer, tmp_path: Path) -> None:
    """As a bearer token; without a file nothing is sent."""
    file = tmp_path / "key"
    file.write_text("sk-1\n", encoding="ascii")
    for key_file in ("", str(file)):
        chat = open_chat(server.url, model="small", deadline_s=PATIENT_S, key_file=key_file)
        await ask(chat)
        await chat.close()

    assert [headers.get("authorization") for headers in server.headers] == [None, "Bearer sk-1"]


@pytest.mark.parametrize("content", [b"", b"two words", b"\xff\xfe", b"nul\0"])
async def test_a_key_file_without_a_key_is_refused(content: bytes, tmp_path: Path) -> None:
    """Before anything is sent."""
    file = tmp_path / "key"
    file.write_bytes(content)

    with pytest.raises(Misconfigured, match="key"):
        open_chat("http://127.0.0.1:1/v1", model="small", deadline_s=1.0, key_file=str(file))
    with pytest.raises(Misconfigured, match="key"):
        open_chat("http://127.0.0.1:1/v1", model="small", deadline_s=1.0, key_file=str(tmp_path / "none"))


@pytest.mark.parametrize("url", ["", "127.0.0.1:8000", "ftp://host/v1", "http://", "http://a b/v1", "http://host:notaport/v1"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    """At once, not at the first summary."""
    with pytest.raises(Misconfigured):
        open_chat(url, model="small", deadline_s=1.0)


async def test_a_server_that_is_down_is_unavailable() -> None:
    """Nobody listens."""
    chat = open_chat(await nobody(), model="small", deadline_s=PATIENT_S)

    assert type(await refusal(chat)) is Unavailable
    await chat.close()


async def test_a_slow_server_is_waited_for_no_longer_than_allowed() -> None:
    """The deadline is for the whole answer."""
    never = asyncio.Event()
    async with chat_server(lambda _: Reply(after=never)) as server:
        chat = open_chat(server.url, model="small", deadline_s=0.05)
        assert type(await refusal(chat)) is DeadlineExceeded
        await chat.close()
        never.set()


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(body=b"<html>not a model</html>"), Unavailable),
        (Reply(body=b""), Unavailable),
        (Reply(body=b'{"choices": []}'), Unavailable),
        (Reply(body=b'{"choices": [{"message": {"content": 5}}]}'), Unavailable),
        (Reply(body=b'{"choices": [{"message": {"content": "\xff"}}]}'), Unavailable),
        (Reply(body=b"x" * (adapter.ANSWER_BYTES + 1)), Unavailable),
        (Reply(breaks=True), Unavailable),
        (Reply(status=500), Unavailable),
        (Reply(status=503), Unavailable),
        (Reply(status=429), Unavailable),
        (Reply(status=401), Unavailable),
        (Reply(status=404), Unavailable),
        (Reply(status=400), Invalid),
        (Reply(status=413), Invalid),
    ],
    ids=lambda value: getattr(value, "__name__", None) or f"{value.status}-{(value.body or b'')[:12]!r}",
)
async def test_what_is_no_answer_is_an_error_of_ours(server: ChatServer, chat: OpenAiChat, reply: Reply, error: type[KalendsError]) -> None:
    """Garbage, silence, errors and far too much; only a refused question is not worth waiting for."""
    server.answer = lambda _: reply

    assert type(await refusal(chat)) is error


async def test_a_redirect_is_not_followed(server: ChatServer, chat: OpenAiChat) -> None:
    """Memory goes to the configured server and nowhere else."""
    async with chat_server() as elsewhere:
        server.answer = lambda _: Reply(status=307, location=f"{elsewhere.url}/chat/completions")
        assert type(await refusal(chat)) is Unavailable
        assert elsewhere.asked == []


async def test_the_proxies_of_the_environment_are_ignored(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the same reason."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, await nobody())
    chat = open_chat(server.url, model="small", deadline_s=PATIENT_S)

    assert (await ask(chat)).text == '{"city": "Ghent"}'
    await chat.close()


async def test_an_answer_whose_tokens_nobody_counted_still_costs_some(server: ChatServer, chat: OpenAiChat) -> None:
    """Else a budget would never end."""
    server.answer = lambda _: Reply(text="{}", counted=False)

    assert (await ask(chat)).tokens > 0
