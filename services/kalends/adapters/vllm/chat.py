"""Chat over OpenAI's API.

Belongs here: one request and what may come back, and the one table from httpx's exceptions to ours. Does not belong here: what is asked, or
whether the answer is true. A newcomer would get wrong: neither the question nor the answer is ever part of an error or a log line, because
both are somebody's memory; and the environment's proxies are ignored, so that memory goes to the configured server and nowhere else.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import httpx
import msgspec

from kalends.domain.errors import DeadlineExceeded, Invalid, KalendsError, Misconfigured, Unavailable
from kalends.ports.chat import Completion

ANSWER_BYTES = 1 << 20
"""The longest answer that is read; a summary is a few kilobytes."""

CONNECT_S = 5.0

_TRIES = 2
_REFUSED = (400, 413, 422)
"""The server has read the question and will not answer it, however often it is asked."""

_CHARS_PER_TOKEN = 3
_DEPENDENCY = "chat"

CHAT_ERRORS: Final[Mapping[type[Exception], type[KalendsError]]] = {
    httpx.TimeoutException: DeadlineExceeded,
    httpx.HTTPError: Unavailable,
    httpx.InvalidURL: Misconfigured,
    httpx.StreamError: Unavailable,
}
"""What httpx's exceptions become, the most specific first; before them, what never was sent is tried once more."""

_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout)


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
    """See ``ports.chat.Chat``; *url* is the API's root, such as ``http://host:8000/v1``, and *deadline_s* is for each answer as a whole."""

    def __init__(self, url: str, *, model: str, deadline_s: float, key: str = "") -> None:
        self._url = url.rstrip("/") + "/chat/completions"
        self._model = model
        self._deadline_s = deadline_s
        # no compression: what a few bytes may unfold into has no limit
        headers = {"user-agent": "kalends", "accept": "application/json", "accept-encoding": "identity"}
        if key:
            headers["authorization"] = f"Bearer {key}"
        # the deadline is kept here; httpx's own would only be counted between two reads
        timeout = httpx.Timeout(None, connect=min(CONNECT_S, deadline_s))
        self._client = httpx.AsyncClient(headers=headers, timeout=timeout, trust_env=False, follow_redirects=False)

    @property
    def identity(self) -> str:
        """The model's name."""
        return self._model

    async def complete(self, system: str, user: str, *, schema: Mapping[str, object], max_tokens: int) -> Completion:
        """Ask the model once, and once more if the server could not be reached.

        Raises:
            Unavailable, DeadlineExceeded, Invalid: see ``ports.chat.Chat``. Misconfigured: the URL is none.
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
        try:
            async with asyncio.timeout(self._deadline_s):
                status, content = await self._post(msgspec.json.encode(body))
        except TimeoutError as error:
            raise DeadlineExceeded(f"no answer from the chat model within {self._deadline_s:g} s", dependency=_DEPENDENCY) from error
        if status != httpx.codes.OK:
            raise _refusal(status)
        return _read(content, asked=len(system) + len(user))

    async def close(self) -> None:
        """End the connections."""
        await self._client.aclose()

    async def _post(self, body: bytes) -> tuple[int, bytes]:
        for left in reversed(range(_TRIES)):
            try:
                return await self._exchange(body)
            except _NEVER_SENT as error:
                if not left:
                    raise translate(error) from error
            except tuple(CHAT_ERRORS) as error:
                raise translate(error) from error
        raise Unavailable("the chat model was not asked", dependency=_DEPENDENCY)

    async def _exchange(self, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer; no body if it is none of a success."""
        received = bytearray()
        async with self._client.stream("POST", self._url, content=body, headers={"content-type": "application/json"}) as response:
            if response.status_code != httpx.codes.OK:
                return response.status_code, b""
            async for chunk in response.aiter_bytes():
                received += chunk
                if len(received) > ANSWER_BYTES:
                    raise Unavailable(f"the chat model's answer is longer than {ANSWER_BYTES} bytes", dependency=_DEPENDENCY)
        return response.status_code, bytes(received)


def open_chat(url: str, *, model: str, deadline_s: float, key_file: str = "") -> OpenAiChat:
    """A client of the chat model *model* at *url*; *key_file* holds the bearer key, if the server wants one. Nothing is sent yet.

    Raises:
        Misconfigured: the key's file cannot be read or holds no key, or the URL is none.
    """
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise translate(error) from error
    if parts.scheme not in {"http", "https"} or not parts.host or any(map(str.isspace, url)):
        raise Misconfigured("the chat model's URL must be an http or https URL, such as http://127.0.0.1:8000/v1")
    return OpenAiChat(url, model=model, deadline_s=deadline_s, key=_key(key_file) if key_file else "")


def translate(error: Exception) -> KalendsError:
    """Our error for httpx's; its text is left out, because it may quote what was sent."""
    kind = type(error).__name__
    for foreign, ours in CHAT_ERRORS.items():
        if isinstance(error, foreign):
            return ours(f"the chat model cannot be asked: {kind}", dependency=_DEPENDENCY)
    return Unavailable(f"the chat model cannot be asked: {kind}", dependency=_DEPENDENCY)


def _refusal(status: int) -> KalendsError:
    if status in _REFUSED:
        return Invalid(f"the chat model refuses the question: HTTP status {status}", dependency=_DEPENDENCY)
    return Unavailable(f"the chat model answers with HTTP status {status}", dependency=_DEPENDENCY)


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


def _key(path: str) -> str:
    try:
        key = Path(path).expanduser().read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"the chat model's key file {path} cannot be read") from error
    if not key or " " in key or not key.isprintable():
        raise Misconfigured(f"the chat model's key file {path} does not hold one key")
    return key
