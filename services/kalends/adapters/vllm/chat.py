"""Chat over OpenAI's API.

Belongs here: one request and what may come back. Does not belong here: how it travels (``connection``), what is asked, or whether what is
answered is true. A newcomer would get wrong: an answer that cannot be read is never quoted, not even as the cause of an error, because it
is somebody's memory.
"""

from collections.abc import Mapping

import msgspec

from kalends.adapters.vllm.connection import ModelConnection, open_connection
from kalends.domain.errors import Unavailable
from kalends.ports.chat import Completion

ANSWER_BYTES = 1 << 20
"""The longest answer that is read; a summary is a few kilobytes."""

CONCURRENCY = 4
"""Questions at once, unless the settings say otherwise."""

_OK = 200
_CHARS_PER_TOKEN = 3
_DEPENDENCY = "chat"


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    total_tokens: int | None = None


class _Answer(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage | None = None


class OpenAiChat:
    """See ``ports.chat.Chat``; *connection* is to the roots of the API, such as ``http://host:8000/v1``."""

    def __init__(self, connection: ModelConnection, *, model: str) -> None:
        self._connection = connection
        self._model = model

    @property
    def identity(self) -> str:
        """The model's name."""
        return self._model

    async def complete(self, system: str, user: str, *, schema: Mapping[str, object], max_tokens: int) -> Completion:
        """Ask the model once, and once more if the server could not be reached, or refused and there is another.

        Raises:
            Unavailable, DeadlineExceeded, Invalid: see ``ports.chat.Chat``.
        """
        shape = {"name": "answer", "schema": schema, "strict": True}
        body = {
            "model": self._model,
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": user}],
            "max_tokens": max_tokens,
            "temperature": 0,
            "seed": 0,
            "response_format": {"type": "json_schema", "json_schema": shape},
        }

        def read(status: int, content: bytes) -> Completion:
            if status != _OK:
                raise self._connection.refusal(status)
            return _read(content, asked=len(system) + len(user))

        return await self._connection.ask("/chat/completions", body, read, most_bytes=ANSWER_BYTES)

    async def close(self) -> None:
        """End the connections."""
        await self._connection.close()


def open_chat(
    url: str, *, model: str, deadline_s: float, key_file: str = "", ca_file: str = "", concurrency: int = CONCURRENCY
) -> OpenAiChat:
    """A client of the chat model *model* at *url*, or at several with commas between. Nothing is sent yet.

    *key_file* holds the bearer key, if the servers want one; *ca_file* the certificates that sign theirs, if the system does not know them.

    Raises:
        Misconfigured: a file cannot be read or does not hold what it should, or a URL is none.
    """
    connection = open_connection(
        url,
        setting="summarize.chat_url",
        dependency=_DEPENDENCY,
        subject="the chat model",
        deadline_s=deadline_s,
        concurrency=concurrency,
        key_file=key_file,
        ca_file=ca_file,
    )
    return OpenAiChat(connection, model=model)


def _read(content: bytes, *, asked: int) -> Completion:
    """The completion in an answer's body; *asked* characters are what its tokens are guessed from if the server does not count them."""
    try:
        answer = msgspec.json.decode(content, type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # not "from error": its text quotes the answer
        detail = f"what answers is no chat model: {type(error).__name__}"
        raise Unavailable(detail, dependency=_DEPENDENCY) from None
    if not answer.choices:
        raise Unavailable("the chat model's answer has no choices", dependency=_DEPENDENCY)
    choice = answer.choices[0]
    text = choice.message.content or ""
    counted = answer.usage.total_tokens if answer.usage else None
    tokens = counted if counted is not None and counted >= 0 else (asked + len(text)) // _CHARS_PER_TOKEN
    return Completion(text=text, tokens=tokens, cut=choice.finish_reason == "length")
