"""A small server of OpenAI's chat API on loopback, whose answers a test decides.

Belongs here: HTTP, the shape of requests and answers, and counting tokens. Does not belong here: what is answered. A newcomer would get
wrong: it cuts an answer at ``max_tokens`` and says so, as a real one does, unless the test gives the whole body itself.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

CHARS_PER_TOKEN = 4


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One answer: *text* in the usual shape, or *body* as it is; sent when *after* is set."""

    text: str = ""
    status: int = 200
    body: bytes | None = None
    finish: str = "stop"
    counted: bool = True
    location: str = ""
    after: asyncio.Event | None = None
    breaks: bool = False


Answer = Callable[[dict[str, Any]], Reply]


@dataclass
class ChatServer:
    """Answers with ``answer``; ``asked`` holds every request's body and ``headers`` its headers."""

    answer: Answer
    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request of a connection."""
        try:
            line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines if one)}
            asked = json.loads(await reader.readexactly(int(headers.get("content-length", 0))) or b"{}")
            self.asked.append(asked)
            self.headers.append(headers)
            reply = self.answer(asked) if line.startswith("POST /v1/chat/completions ") else Reply(status=404)
            if reply.after is not None:
                await reply.after.wait()
            writer.write(b"" if reply.breaks else _message(asked, reply))
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()


def _message(asked: dict[str, Any], reply: Reply) -> bytes:
    body = _body(asked, reply) if reply.body is None else reply.body
    location = f"Location: {reply.location}\r\n" if reply.location else ""
    head = f"HTTP/1.1 {reply.status} Said\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{location}"
    return f"{head}Connection: close\r\n\r\n".encode() + body


def _body(asked: dict[str, Any], reply: Reply) -> bytes:
    if reply.status != 200:
        return json.dumps({"error": {"message": "no", "type": "BadRequestError", "code": reply.status}}).encode()
    longest = asked.get("max_tokens", 1 << 20) * CHARS_PER_TOKEN
    text, finish = (reply.text, reply.finish) if len(reply.text) <= longest else (reply.text[:longest], "length")
    tokens = {"prompt_tokens": sum(len(one["content"]) for one in asked["messages"]) // CHARS_PER_TOKEN}
    tokens["completion_tokens"] = -(-len(text) // CHARS_PER_TOKEN)
    tokens["total_tokens"] = sum(tokens.values())
    answer: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": asked["model"],
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text, "refusal": None}, "finish_reason": finish}],
    }
    return json.dumps(answer | ({"usage": tokens} if reply.counted else {})).encode()


def events_of(asked: dict[str, Any]) -> list[dict[str, str]]:
    """The events in a request of the chat summarizer: ref, time, speaker and text each."""
    return [json.loads(line) for line in asked["messages"][1]["content"].splitlines() if line.startswith("{")]


def summary(title: str, bullets: Sequence[tuple[str, Sequence[str]]], keywords: Sequence[str] = ()) -> str:
    """An answer of the wanted shape."""
    lines = [{"text": text, "cites": list(cites)} for text, cites in bullets]
    return json.dumps({"title": title, "bullets": lines, "keywords": list(keywords)}, ensure_ascii=False)


def honest(asked: dict[str, Any]) -> Reply:
    """A model that repeats the first three events that have a text, each with its reference."""
    told = [event for event in events_of(asked) if event["text"].strip()][:3]
    beginning = " ".join(told[0]["text"].split()[:6])
    return Reply(text=summary(beginning, [(event["text"][:300], [event["ref"]]) for event in told]))


@asynccontextmanager
async def chat_server(answer: Answer = honest) -> AsyncIterator[ChatServer]:
    """A server on a free port; its ``url`` is the API's root."""
    made = ChatServer(answer)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield made
    finally:
        server.close()


async def nobody() -> str:
    """The root of an API where nobody listens."""
    async with chat_server() as gone:
        return gone.url
