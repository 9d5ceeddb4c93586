"""The reranker over vLLM: ``/rerank``, or ``/score`` where a server has no such route.

Belongs here: the two shapes of the question, and the check of what is served. Does not belong here: how a call travels (``connection``), or
what the scores are good for (``search``). A newcomer would get wrong: ``/rerank`` sends its results back sorted, and with every passage in
them; and on a server that embeds it answers too, with cosines, so that an answer alone proves no cross-encoder.
"""

from collections.abc import Sequence

import structlog

from kalends.adapters.vllm import answers
from kalends.adapters.vllm.connection import ModelConnection, open_connection
from kalends.adapters.vllm.served import ServedModel, check_name, checked
from kalends.domain.errors import Invalid, KalendsError, Misconfigured, Unavailable
from kalends.settings import RerankerSettings

log = structlog.get_logger(__name__)

MOST_PASSAGES = 64
"""Passages in one request."""

MOST_CHARS = 16_384
"""Characters of a passage that are sent; a cross-encoder reads fewer, and the rest would only travel."""

_NOT_THERE = frozenset({404, 405})
_ANSWER_BYTES = 1 << 18
_ESCAPED = 6
"""A character of a passage that comes back may be written as so many."""

_ALL = -1
"""Cut what is longer than the model reads."""

Scores = list[float]


class VllmReranker:
    """See ``ports.models.Reranker``."""

    def __init__(self, connection: ModelConnection, *, model: str) -> None:
        self._connection = connection
        self._model = model
        self._served = ServedModel(self._check, dependency=connection.dependency)
        self._route = "/rerank"

    @property
    def identity(self) -> str:
        """The model's name."""
        return self._model

    @property
    def failure(self) -> KalendsError | None:
        """What is wrong with the model now, if anything."""
        return self._served.failure

    @property
    def failing_since(self) -> str | None:
        """Since when, in ISO 8601."""
        return self._served.failing_since

    async def warm(self) -> None:
        """Look at what is served; a failure is kept in ``failure`` and the look repeated later."""
        await self._served.warm()

    async def close(self) -> None:
        """End the connections."""
        await self._connection.close()

    async def scores(self, question: str, passages: Sequence[str]) -> Sequence[float]:
        """How well each of *passages* answers *question*, in their order.

        Raises:
            Unavailable, DeadlineExceeded: the model cannot be had now, or refuses these.
        """
        if not passages:
            return []
        cut = [passage[:MOST_CHARS] for passage in passages]
        found: Scores = []
        try:
            async with self._served.using():
                for start in range(0, len(cut), MOST_PASSAGES):
                    found += await self._scores(question, cut[start : start + MOST_PASSAGES])
        except Invalid as error:
            # whoever asks can do without, and has broken no rule
            raise Unavailable(error.detail, dependency=self._connection.dependency) from error
        return found

    async def _scores(self, question: str, passages: Sequence[str]) -> Scores:
        found = await self._asked(self._route, question, passages)
        if found is None and self._route == "/rerank":
            found = await self._asked("/score", question, passages)
            if found is not None:
                self._route = "/score"
        if found is None:
            raise Misconfigured(f"what serves {self._model} does not rerank")
        return found

    async def _asked(self, route: str, question: str, passages: Sequence[str]) -> Scores | None:
        """The scores from *route*; None where there is none."""
        count = len(passages)
        body: dict[str, object] = {"model": self._model, "truncate_prompt_tokens": _ALL}
        if route == "/rerank":
            body |= {"query": question, "documents": passages, "top_n": count}
            numbers = answers.relevances
        else:
            body |= {"text_1": question, "text_2": passages}
            numbers = answers.scores

        def read(status: int, content: bytes) -> Scores | None:
            return None if status in _NOT_THERE else checked(self._connection, status, content, lambda body: numbers(body, count=count))

        most = _ESCAPED * sum(len(passage) for passage in passages) + _ANSWER_BYTES
        return await self._connection.ask(route, body, read, most_bytes=most, urgent=True)

    async def _check(self) -> None:
        """The name, and that it reranks.

        Raises:
            Misconfigured: something else is served. Unavailable, DeadlineExceeded: nothing answers.
        """
        await check_name(self._connection, self._model)
        await self._scores("Who wrote the letter?", ["The lighthouse keeper wrote a letter."])
        log.info("model checked", model=self._model, route=self._route)


def open_reranker(settings: RerankerSettings) -> VllmReranker:
    """The reranker that *settings* name. Nothing is sent yet.

    Raises:
        Misconfigured: a setting cannot work.
    """
    if not settings.model:
        raise Misconfigured("reranker.urls needs reranker.model (KALENDS_RERANKER__MODEL)")
    connection = open_connection(
        settings.urls,
        setting="reranker.urls",
        dependency="reranker",
        subject="the reranking model",
        deadline_s=settings.deadline_s,
        concurrency=settings.concurrency,
        key_file=settings.key_file,
        ca_file=settings.ca_file,
        strip="/v1",
    )
    return VllmReranker(connection, model=settings.model)
