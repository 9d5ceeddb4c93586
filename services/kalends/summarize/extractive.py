"""The extractive summarizer: the sentences of a material that say the most of it, letter by letter.

Belongs here: choosing among candidates by their vectors. Does not belong here: candidates (``pieces``) and titles (``phrases``). A newcomer
would get wrong: only a dozen sentences of a material are embedded, and what was asked before never changes an answer: a remembered vector
is the one that the model would give again.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from kalends.domain.calendar import UNTOLD, Claim, Material, Summary
from kalends.kit import graphemes
from kalends.ports.models import Embedder
from kalends.ports.vectors import Array, Window
from kalends.summarize import phrases, pieces
from kalends.summarize.pieces import Piece

RULES = "extractive-1"
"""Which rules chose; another number makes every summary out of date."""

REMEMBERED = 4096
"""Vectors kept: the line of a segment comes again in its day, its week, its month and its year."""

LEAST_CLAIMS = 3
MOST_CLAIMS = 5
PIECES_PER_CLAIM = 6
"""A fourth and a fifth claim are for materials that have that many more pieces to say."""

_RELEVANCE = 0.7
_MEANING = 0.6
_SAME = 0.92
_LONG_CHARS = 50_000

_EMBEDDED_CHARS = 160
"""A sentence that is longer is known by its beginning; the rest would cost as much again and move it little."""


class ExtractiveSummarizer:
    """Sentences near the centre of a material and far from each other: maximal marginal relevance (Carbonell and Goldstein, 1998).

    See ``ports.summarizer.Summarizer``.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._vectors: OrderedDict[str, Array] = OrderedDict()

    @property
    def identity(self) -> str:
        """The rules and the embedder."""
        return f"{RULES}-{self._embedder.identity}"

    async def summarize(self, material: Material, *, memory: str) -> Summary:  # noqa: ARG002 - it costs no memory's budget
        """One to five claims, oldest first; none if no passage has text.

        Raises:
            Unavailable, DeadlineExceeded: the embedder is away.
        """
        size = sum(len(passage.text) for passage in material.passages)
        made = await asyncio.to_thread(pieces.pieces_of, material) if size > _LONG_CHARS else pieces.pieces_of(material)
        if not made:
            return Summary(title=UNTOLD, claims=(), keywords=(), author=self.identity)
        scored = pieces.candidates(made)
        wanted = min(len(scored), wanted_claims(len(scored) if len(scored) < pieces.CANDIDATES else len(made)))
        chosen = await self._chosen(scored, wanted)
        return self._summary(material, made, [piece for piece, _ in scored], chosen)

    def _summary(self, material: Material, made: Sequence[Piece], shortlist: Sequence[Piece], chosen: Sequence[int]) -> Summary:
        """The summary that claims the *chosen* of the *shortlist*, the most telling first."""
        speakers = phrases.speakers_of(material)
        found = phrases.phrases_of(shortlist, made, speakers=speakers)
        claims = [shortlist[index] for index in sorted(chosen)]
        return Summary(
            title=phrases.title([found[index] for index in chosen], found, first=_spoken([shortlist[index].text for index in chosen])),
            claims=tuple(Claim(text=piece.text, evidence=piece.evidence) for piece in claims),
            keywords=phrases.keywords(found, made, speakers=speakers),
            author=self.identity,
        )

    async def _chosen(self, scored: Sequence[tuple[Piece, float]], wanted: int) -> list[int]:
        """Indexes of the *wanted* of *scored* that cover it best, the best first; fewer if the rest says the same again."""
        lexical = np.array([score for _, score in scored], dtype=np.float64)
        if wanted == len(scored):
            return [int(index) for index in np.lexsort((np.arange(len(scored)), -lexical))]
        vectors = await self._embedded([graphemes.cut(piece.text, _EMBEDDED_CHARS) for piece, _ in scored])
        alike = np.round(vectors.astype(np.float64) @ vectors.T.astype(np.float64), 5)
        centre = vectors.mean(axis=0, dtype=np.float64)
        centre /= max(float(np.linalg.norm(centre)), 1e-9)
        near = np.round(vectors.astype(np.float64) @ centre, 5)
        relevance = _MEANING * near + (1 - _MEANING) * lexical / lexical.max()
        chosen: list[int] = []
        while len(chosen) < wanted:
            nearest = alike[:, chosen].max(axis=1) if chosen else np.zeros(len(scored))
            value = np.round(_RELEVANCE * relevance - (1 - _RELEVANCE) * nearest, 5)
            value[chosen] = -np.inf
            value[nearest > _SAME] = -np.inf
            # the first of equals: they stand in the order of their time, key and offset
            best = int(np.argmax(value))
            if value[best] == -np.inf:
                break
            chosen.append(best)
        return chosen

    async def _embedded(self, texts: Sequence[str]) -> Array:
        """Piece vectors of *texts* (n, dimension); those not remembered in one call of the model."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        fresh = {}
        if missing:
            fresh = dict(zip(missing, map(_vector, await self._embedder.embed(missing)), strict=True))
        rows = np.stack([fresh[text] if text in fresh else self._vectors[text] for text in texts])
        for text in texts:
            if text in fresh:
                self._vectors[text] = fresh[text]
            self._vectors.move_to_end(text)
        while len(self._vectors) > REMEMBERED:
            self._vectors.popitem(last=False)
        return rows


def wanted_claims(count: int) -> int:
    """How many claims *count* pieces deserve."""
    return min(MOST_CLAIMS, LEAST_CLAIMS + max(0, count - LEAST_CLAIMS) // PIECES_PER_CLAIM)


def _vector(windows: Sequence[Window]) -> Array:
    mean = np.mean([window.dense for window in windows], axis=0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-9), dtype=np.float32)


def _spoken(texts: Sequence[str]) -> str:
    """The first of *texts* that is no call of a tool, if there is one."""
    return next((text for text in texts if "{" not in text), texts[0])
