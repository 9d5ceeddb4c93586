"""The reference: the same work done barely, in one process, without a server, a log or a disk.

Belongs here: exact MiniLM, exact dense search and BM25 as plain as they can be. Does not belong here: the product's way of doing it. A
newcomer would get wrong: beyond the first few hundred texts the matrix of the dense search holds random unit vectors, because the time of
an exact search does not depend on what the vectors say, and embedding all would take minutes.
"""

import asyncio
import math
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from kalends.adapters.embedded import models
from tests.bench import corpus

K1, B = 1.2, 0.75
BATCH = 64
_TERM = re.compile(r"\w+")


class ReferenceJob(msgspec.Struct, kw_only=True):
    """``embedded`` texts are embedded with *precision*; ``events`` are indexed; *cache* keeps the model's graph."""

    cache: str
    precision: str
    embedded: int
    events: int
    questions: int


class Reference(msgspec.Struct, kw_only=True):
    """Rates in events a second, latencies in milliseconds."""

    embed_rate: float
    index_rate: float
    bm25: list[float]
    dense: list[float]
    both: list[float]


class Bm25:
    """Okapi BM25 over arrays, everything in memory."""

    def __init__(self, texts: Sequence[str]) -> None:
        places: defaultdict[str, list[int]] = defaultdict(list)
        counts: defaultdict[str, list[int]] = defaultdict(list)
        lengths = np.zeros(len(texts), dtype=np.float32)
        for place, text in enumerate(texts):
            terms = _TERM.findall(text.lower())
            lengths[place] = len(terms)
            for term, count in Counter(terms).items():
                places[term].append(place)
                counts[term].append(count)
        norm = K1 * (1 - B + B * lengths / max(float(lengths.mean()), 1.0))
        self._size = len(texts)
        self._postings: dict[str, tuple[NDArray[np.int64], NDArray[np.float32]]] = {}
        for term, found in places.items():
            where = np.array(found)
            often = np.array(counts[term], dtype=np.float32)
            rarity = math.log(1 + (len(texts) - len(found) + 0.5) / (len(found) + 0.5))
            self._postings[term] = (where, rarity * often * (K1 + 1) / (often + norm[where]))

    def best(self, question: str, *, limit: int) -> NDArray[np.int64]:
        """Places of the best texts, best first."""
        scores = np.zeros(self._size, dtype=np.float32)
        for term in set(_TERM.findall(question.lower())):
            if term in self._postings:
                where, weights = self._postings[term]
                scores[where] += weights
        return _top(scores, limit)


def _top(scores: NDArray[np.float32], limit: int) -> NDArray[np.int64]:
    limit = min(limit, len(scores))
    found = np.argpartition(-scores, limit - 1)[:limit]
    ordered: NDArray[np.int64] = found[np.argsort(-scores[found])]
    return ordered


async def measured(job: ReferenceJob) -> Reference:
    """Do the reference's work and time it."""
    turns = corpus.turns(job.events)
    threads = models.default_threads()
    embedder = await models.open_embedder(Path(job.cache), threads=threads, nice=0, precision=job.precision)
    try:
        texts = [turn.embedded for turn in corpus.turns(job.embedded)]
        await embedder.embed(texts[:BATCH])
        started = time.perf_counter()
        vectors = []
        for start in range(0, len(texts), BATCH):
            vectors += [windows[0].dense for windows in await embedder.embed(texts[start : start + BATCH])]
        embed_rate = len(texts) / (time.perf_counter() - started)
        started = time.perf_counter()
        index = Bm25([turn.indexed for turn in turns])
        index_rate = len(turns) / (time.perf_counter() - started)
        random = np.random.default_rng(3).standard_normal((max(job.events - len(vectors), 0), models.DIMENSION), dtype=np.float32)
        matrix = np.vstack([np.array(vectors, dtype=np.float32), random / np.linalg.norm(random, axis=1, keepdims=True)])[: job.events]
        found = Reference(embed_rate=embed_rate, index_rate=index_rate, bm25=[], dense=[], both=[])
        for question in corpus.questions(job.questions, about=job.events, first=99):
            started = time.perf_counter()
            index.best(question, limit=10)
            lexical = time.perf_counter()
            dense = (await embedder.embed_query(question)).dense
            _top(matrix @ dense, 10)
            ended = time.perf_counter()
            found.bm25.append((lexical - started) * 1000)
            found.dense.append((ended - lexical) * 1000)
            found.both.append((ended - started) * 1000)
        return found
    finally:
        await embedder.close()


def main() -> None:
    """Read a job from standard input and print what was measured."""
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=ReferenceJob)
    sys.stdout.write(msgspec.json.encode(asyncio.run(measured(job))).decode() + "\n")


if __name__ == "__main__":
    main()
