"""Arms: one way of finding each, with a deadline, side by side.

Belongs here: asking the engines and saying what was missing. Does not belong here: fusing (``domain.fusion``). A newcomer would get
wrong: an arm that fails is a fact of the answer (``degraded``), not an exception; only when every arm that was asked failed is the answer
a 503. Memory, scope and filter were checked before, so whatever an engine or a model raises is about itself, be it an index that is gone or
a key that is refused; only ``Invalid`` is about the question.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import structlog

from kalends.domain import terms
from kalends.domain.errors import DeadlineExceeded, Invalid, KalendsError, Misconfigured, Unavailable
from kalends.domain.events import EventKey
from kalends.domain.queries import Criteria
from kalends.domain.scope import Scope
from kalends.edge import tracing
from kalends.kit import tasks
from kalends.ports.lexicon import LexicalIndex
from kalends.ports.models import Embedder, Question, Reranker
from kalends.ports.vectors import Array, VectorIndex
from kalends.settings import SearchSettings

log = structlog.get_logger(__name__)

T = TypeVar("T")
Observe = Callable[[str, float], None]

_RARITIES_SHARE = 0.3
"""Share of the vector arm's time in which the lexicon may weigh the words: one that hangs must not take the other arm with it."""


@dataclass(slots=True)
class Findings:
    """What the arms found: raw scores by arm, what failed, how long each took (seconds), and the encoded question."""

    scores: dict[str, Mapping[EventKey, float]] = field(default_factory=dict)
    failed: dict[str, KalendsError] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    question: Question | None = None
    weights: list[float] = field(default_factory=list)


class Arms:
    """The lexical and the vector arm over their engines, and what reranks: *reranker* where there is one, else late interaction."""

    def __init__(
        self,
        *,
        lexicon: LexicalIndex,
        vectors: VectorIndex,
        embedder: Embedder,
        settings: SearchSettings,
        observe: Observe,
        reranker: Reranker | None = None,
    ) -> None:
        self._lexicon = lexicon
        self._vectors = vectors
        self._embedder = embedder
        self._settings = settings
        self._observe = observe
        self._reranker = reranker

    @property
    def reads_passages(self) -> bool:
        """Whether there is a model that reads question and passage together."""
        return self._reranker is not None

    async def find(self, scope: Scope, text: str, *, names: tuple[str, ...], criteria: Criteria, depth: int, seconds: float) -> Findings:
        """Ask the arms *names* at once, each for up to *depth* events within *seconds*.

        Raises:
            Invalid: the question is none that an arm can look for.
        """
        findings = Findings()
        arms = {"lexical": self._lexical, "vector": self._vector}
        deadline = min(seconds, self._settings.arm_deadline_s)
        async with tasks.group() as group:
            for name in names:
                group.create_task(self._timed(name, arms[name](findings, scope, text, criteria, depth, deadline), findings, deadline))
        return findings

    async def read(
        self, findings: Findings, text: str, passages: Callable[[], Awaitable[Mapping[EventKey, str]]], *, seconds: float
    ) -> Mapping[EventKey, float] | None:
        """What the reranker makes of the question and each of *passages*; None (and a note in ``failed``) if it cannot be had."""
        found: dict[str, Mapping[EventKey, float]] = {}
        reranker = self._reranker
        if reranker is None:
            return None

        async def ask() -> None:
            texts = await passages()
            scores = await reranker.scores(text, list(texts.values()))
            found["rerank"] = dict(zip(texts, scores, strict=True))

        await self._timed("rerank", ask(), findings, min(seconds, self._settings.arm_deadline_s))
        return found.get("rerank")

    async def late(self, scope: Scope, findings: Findings, keys: list[EventKey], *, seconds: float) -> Mapping[EventKey, float] | None:
        """Late interaction of the question with each of *keys*; None (and a note in ``failed``) if it cannot be had."""
        if "vector" in findings.failed:
            return None  # the same store and model: the answer says already that they are away
        if findings.question is None or not len(findings.question.tokens):
            findings.failed.setdefault("rerank", Unavailable("no token vectors of the question", dependency="model"))
            return None
        weights = np.asarray(terms.late_weights(findings.weights), dtype=np.float32)
        rows = findings.question.tokens * weights[:, None]
        found: dict[str, Mapping[EventKey, float]] = {}

        async def ask() -> None:
            found["rerank"] = await self._vectors.late(scope, rows, keys)

        await self._timed("rerank", ask(), findings, min(seconds, self._settings.arm_deadline_s))
        return found.get("rerank")

    async def _timed(self, name: str, work: Awaitable[None], findings: Findings, deadline: float) -> None:
        started = time.perf_counter()
        failure: KalendsError | None = None
        try:
            with tracing.span(f"search.{name}", parent=tracing.current.get(), kind="client"):
                async with asyncio.timeout(deadline):
                    await work
        except TimeoutError:
            failure = DeadlineExceeded(f"the {name} arm took longer than {deadline:.3f} s", dependency=name)
        except Invalid:
            raise
        except KalendsError as error:
            failure = error
        finally:
            taken = time.perf_counter() - started
            # late interaction may come after a reranker that failed
            findings.seconds[name] = findings.seconds.get(name, 0.0) + taken
            self._observe(name, taken)
        if failure is not None:
            findings.failed[name] = failure
            if isinstance(failure, Misconfigured):
                # nothing but another setting mends it, so somebody has to see which
                log.error("arm failed", arm=name, kind=failure.code, dependency=failure.dependency, reason=failure.detail)
            else:
                log.warning("arm failed", arm=name, kind=failure.code, dependency=failure.dependency)

    async def _lexical(self, findings: Findings, scope: Scope, text: str, criteria: Criteria, depth: int, _seconds: float) -> None:
        hits = await self._lexicon.search(scope, text, criteria=criteria, limit=depth)
        findings.scores["lexical"] = {hit.key: hit.score for hit in hits}

    async def _vector(self, findings: Findings, scope: Scope, text: str, criteria: Criteria, depth: int, seconds: float) -> None:
        question = await self._embedder.embed_query(text)
        if len(question.tokens):
            rarities = await self._rarities(scope, text, seconds=seconds * _RARITIES_SHARE)
            findings.weights = terms.token_weights(text, question.spans, rarities)
        findings.question = question
        vector = mixed_vector(question, findings.weights, mix=self._settings.dense_mix)
        hits = await self._vectors.nearest(scope, vector, criteria=criteria, limit=depth)
        findings.scores["vector"] = {hit.key: hit.score for hit in hits}

    async def _rarities(self, scope: Scope, text: str, *, seconds: float) -> Mapping[str, float]:
        """Rarities of the question's words; without the lexicon, or if it does not answer in time, every word counts the same."""
        words = terms.content_words(text)
        try:
            async with asyncio.timeout(seconds):
                return await self._lexicon.rarities(scope, words)
        except (TimeoutError, KalendsError):
            return dict.fromkeys(words, 1.0)


def mixed_vector(question: Question, weights: list[float], *, mix: float) -> Array:
    """The question's dense vector (dimension,): *mix* of its rarity-weighted token vectors and the rest of its sentence vector.

    Without token vectors it is the sentence vector.
    """
    tokens = np.asarray(weights, dtype=np.float32) @ question.tokens
    length = float(np.linalg.norm(tokens))
    mixed = question.dense if length == 0 else mix * tokens / length + (1 - mix) * question.dense
    norm = float(np.linalg.norm(mixed))
    return np.asarray(mixed / norm if norm > 0 else question.dense, dtype=np.float32)
