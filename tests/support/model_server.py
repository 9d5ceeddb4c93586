"""A small server with the routes of vLLM that embed, tokenize and rerank, and with every fault that a real one does not give on demand.

Belongs here: HTTP, honest answers in vLLM's shapes, and faults. Does not belong here: what is asserted. A newcomer would get wrong: its
vectors mean something, if little: each word has a direction of its own, so texts with words in common are near each other; and it counts
tokens by words, so limits can be tested with texts that one can read.
"""

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

MARKS = (1, 2)
MARK_WORDS = ("<s>", "</s>")
_WORD = re.compile(r"\w+|[^\w\s]")
_REASONS = {200: "OK", 404: "Not Found"}


@dataclass
class Fault:
    """What becomes of an answer: *status* instead of it, *body* in its place, *cut* in the middle, *breaks* off, *held* until it is set."""

    status: int = 200
    body: bytes | None = None
    cut: bool = False
    breaks: bool = False
    held: asyncio.Event | None = None


@dataclass
class ModelServer:
    """Serves ``model``; ``faults`` are by route, and "*" is every route; ``asked`` holds route and body of every request."""

    model: str = "words"
    dimension: int = 16
    max_model_len: int = 64
    by_token: bool = False
    routes: set[str] = field(default_factory=lambda: {"/v1/models", "/v1/embeddings", "/tokenize", "/pooling", "/rerank", "/score"})
    faults: dict[str, Fault] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    seed: str = ""
    port: int = 0
    _server: asyncio.Server | None = None
    _serving: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        """The root of its API."""
        return f"http://127.0.0.1:{self.port}"

    def count(self, route: str) -> int:
        """How often *route* was asked."""
        return sum(path == route for path, _ in self.asked)

    async def start(self) -> None:
        """Listen, on the port of before if there was one."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse every connection."""
        if self._server is not None:
            self._server.close()
            for task in self._serving:
                task.cancel()
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        try:
            line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines if one)}
            body = json.loads(await reader.readexactly(int(headers.get("content-length", 0))) or b"{}")
            route = line.split(" ")[1]
            self.asked.append((route, body))
            self.headers.append(headers)
            writer.write(await self._message(route, body))
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return
        finally:
            writer.close()

    async def _message(self, route: str, body: dict[str, Any]) -> bytes:
        fault = self.faults.get(route) or self.faults.get("*") or Fault()
        if fault.held is not None:
            await fault.held.wait()
        if fault.breaks:
            return b""
        status, answer = (fault.status, {}) if fault.status != 200 else self._answer(route, body)
        content = json.dumps(answer).encode() if fault.body is None else fault.body
        head = f"HTTP/1.1 {status} {_REASONS.get(status, 'Said')}\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n"
        message = f"{head}Connection: close\r\n\r\n".encode() + content
        return message[: len(message) - len(content) // 2 - 1] if fault.cut else message

    def _answer(self, route: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if route not in self.routes:
            return 404, {"detail": "Not Found"}
        if route == "/v1/models":
            return 200, {"object": "list", "data": [{"id": self.model, "max_model_len": self.max_model_len}]}
        if body["model"] != self.model:
            return 404, {"error": {"message": "The model does not exist.", "type": "NotFoundError", "code": 404}}
        answers: dict[str, Callable[[dict[str, Any]], tuple[int, dict[str, Any]]]] = {
            "/v1/embeddings": self._embeddings,
            "/tokenize": self._tokenize,
            "/pooling": self._pooling,
            "/rerank": self._rerank,
            "/score": self._score,
        }
        return answers[route](body)

    def _embeddings(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        found = [self._rows(one, body).sum(axis=0) for one in body["input"]]
        return 200, {"data": [{"index": index, "embedding": _packed(vector)} for index, vector in enumerate(found)][::-1]}

    def _pooling(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if not self.by_token:
            return 400, {"error": {"message": "Try switching the model's pooling_task", "code": 400}}
        return 200, {"data": [{"index": index, "data": _packed(self._rows(one, body))} for index, one in enumerate(body["input"])]}

    def _tokenize(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        words = _WORD.findall(body["prompt"].lower())
        strings = [MARK_WORDS[0], *words, MARK_WORDS[1]] if body.get("return_token_strs") else None
        return 200, {"tokens": [MARKS[0], *map(_number, words), MARKS[1]], "token_strs": strings}

    def _rerank(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        scores = [_overlap(body["query"], one) for one in body["documents"]]
        order = sorted(range(len(scores)), key=lambda index: -scores[index])
        results = [{"index": index, "document": {"text": body["documents"][index]}, "relevance_score": scores[index]} for index in order]
        return 200, {"results": results}

    def _score(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        scores = [_overlap(body["text_1"], one) for one in body["text_2"]]
        return 200, {"data": [{"index": index, "score": score} for index, score in enumerate(scores)]}

    def _rows(self, one: str | list[int], body: dict[str, Any]) -> np.ndarray:
        numbers = [MARKS[0], *map(_number, _WORD.findall(one.lower())), MARKS[1]] if isinstance(one, str) else one
        kept = numbers[: body["truncate_prompt_tokens"]]
        return np.stack([self._direction(number) for number in kept])

    def _direction(self, number: int) -> np.ndarray:
        seed = int.from_bytes(hashlib.blake2b(f"{self.seed}{number}".encode(), digest_size=8).digest())
        return np.random.default_rng(seed).standard_normal(self.dimension).astype(np.float32)


def _number(word: str) -> int:
    return 10 + int.from_bytes(hashlib.blake2b(word.encode(), digest_size=4).digest())


def _packed(rows: np.ndarray) -> str:
    return base64.b64encode(rows.astype("<f4").tobytes()).decode()


def _overlap(question: str, passage: str) -> float:
    asked, said = (set(_WORD.findall(text.lower())) for text in (question, passage))
    return len(asked & said) / max(len(asked), 1)


@asynccontextmanager
async def model_server(**changes: Any) -> AsyncIterator[ModelServer]:
    """A server on a free port; *changes* are of its fields."""
    made = ModelServer(**changes)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()
