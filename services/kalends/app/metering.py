"""Metering: what is measured by standing between a port and whoever calls it.

Belongs here: models that count their calls, seconds and tokens; the disk of the data folder. Does not belong here: names of metrics
(``edge.metrics``). A newcomer would get wrong: a call that is cancelled has an outcome too; and an embedder that gives no token vectors
does not tell how many tokens it read, so nothing is counted for it rather than a guess.
"""

import asyncio
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from kalends.app.engines import Engines, ServedEmbedder, ServedReranker
from kalends.domain.errors import KalendsError
from kalends.edge import tracing
from kalends.edge.metrics import Metrics
from kalends.edge.usage import Room
from kalends.ports.chat import Chat, Completion
from kalends.ports.models import Question
from kalends.ports.vectors import Window


def room_of(folder: Path) -> Room | None:
    """The disk of *folder*; None where the system does not tell."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return Room(size=found.f_blocks * found.f_frsize, free=found.f_bavail * found.f_frsize)


def metered(engines: Engines, metrics: Metrics) -> Engines:
    """*engines* with models that count."""
    reranker = engines.reranker
    return replace(
        engines,
        embedder=MeteredEmbedder(engines.embedder, metrics),
        reranker=None if reranker is None else MeteredReranker(reranker, metrics),
    )


class _Model:
    """Counts the calls of the model called *model*."""

    def __init__(self, model: str, metrics: Metrics) -> None:
        self._name = model
        self._metrics = metrics
        self._tokens = metrics.model_tokens.labels(model)
        self._seconds = metrics.model_seconds.labels(model)

    @contextmanager
    def _call(self) -> Iterator[None]:
        began, outcome = time.monotonic(), "ok"
        with tracing.span(f"model.{self._name}", parent=tracing.current.get(), kind="client"):
            try:
                yield
            except KalendsError as error:
                outcome = error.code
                raise
            except asyncio.CancelledError:
                outcome = "cancelled"
                raise
            except BaseException:
                outcome = "internal"
                raise
            finally:
                tracing.ended(outcome)
                self._metrics.model_calls.labels(self._name, outcome).inc()
                self._seconds.observe(time.monotonic() - began)


class MeteredEmbedder(_Model):
    """An embedder that counts; see ``app.engines.ServedEmbedder``."""

    def __init__(self, embedder: ServedEmbedder, metrics: Metrics) -> None:
        super().__init__("embedder", metrics)
        self._embedder = embedder

    @property
    def identity(self) -> str:
        """Model, precision and dimension."""
        return self._embedder.identity

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""
        return self._embedder.dimension

    @property
    def failure(self) -> KalendsError | None:
        """Why it cannot be had; None while it can."""
        return self._embedder.failure

    @property
    def failing_since(self) -> str | None:
        """Since when, as RFC 3339."""
        return self._embedder.failing_since

    async def warm(self) -> None:
        """Open it now; a failure is kept and tried again later."""
        await self._embedder.warm()

    async def close(self) -> None:
        """Give everything free."""
        await self._embedder.close()

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[Window]]:
        """The windows of each text, in order."""
        with self._call():
            found = await self._embedder.embed(texts)
        self._tokens.inc(sum(len(window.tokens) for windows in found for window in windows))
        return found

    async def embed_query(self, text: str) -> Question:
        """An encoded question."""
        with self._call():
            found = await self._embedder.embed_query(text)
        self._tokens.inc(len(found.tokens))
        return found


class MeteredReranker(_Model):
    """A reranker that counts; see ``app.engines.ServedReranker``."""

    def __init__(self, reranker: ServedReranker, metrics: Metrics) -> None:
        super().__init__("reranker", metrics)
        self._reranker = reranker

    @property
    def identity(self) -> str:
        """The model's name."""
        return self._reranker.identity

    @property
    def failure(self) -> KalendsError | None:
        """Why it cannot be had; None while it can."""
        return self._reranker.failure

    @property
    def failing_since(self) -> str | None:
        """Since when, as RFC 3339."""
        return self._reranker.failing_since

    async def warm(self) -> None:
        """Look whether it is there; a failure is kept and looked at again later."""
        await self._reranker.warm()

    async def scores(self, question: str, passages: Sequence[str]) -> Sequence[float]:
        """How well each of *passages* answers *question*."""
        with self._call():
            return await self._reranker.scores(question, passages)


class MeteredChat(_Model):
    """A chat model that counts; see ``ports.chat.Chat``."""

    def __init__(self, chat: Chat, metrics: Metrics) -> None:
        super().__init__("chat", metrics)
        self._chat = chat

    @property
    def identity(self) -> str:
        """The model's name."""
        return self._chat.identity

    async def complete(self, system: str, user: str, *, schema: Mapping[str, object], max_tokens: int) -> Completion:
        """The answer to *user* under the rules of *system*."""
        with self._call():
            found = await self._chat.complete(system, user, schema=schema, max_tokens=max_tokens)
        self._tokens.inc(found.tokens)
        return found
