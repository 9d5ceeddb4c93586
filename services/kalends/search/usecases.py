"""Finding memories: arms, fusion, late interaction, smoothing, hydration.

Belongs here: the order of these steps and their budget of time. Does not belong here: JSON (``routes``), arithmetic (``domain.fusion``). A
newcomer would get wrong: neighbours come in as candidates only if they meet the filter too.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kalends.domain import fusion
from kalends.domain.errors import DeadlineExceeded, Unavailable
from kalends.domain.events import EventKey
from kalends.domain.positions import Floors
from kalends.domain.queries import Criteria, Filter
from kalends.domain.scope import Scope
from kalends.edge.progress import LagNow, Progress
from kalends.ports.clock import Clock
from kalends.ports.timeline import Timeline
from kalends.search.arms import Arms, Findings
from kalends.search.hydration import Hydrator
from kalends.search.surroundings import Surroundings
from kalends.settings import SearchSettings
from kalends.wire.memories import MemoryRegistry
from kalends.wire.reader import OpenedEvent

_ARMS = {"hybrid": ("lexical", "vector"), "lexical": ("lexical",), "vector": ("vector",)}
_NEIGHBOUR_DEPTH = 100
"""Fused hits whose neighbours are looked at; beyond it smoothing cannot lift anything into the first page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A checked question. ``wanted`` are the floors of ``min_visibility``."""

    text: str
    limit: int
    mode: str = "hybrid"
    filter: Filter = field(default_factory=Filter)
    rerank: str = "auto"
    wanted: Floors | None = None
    seconds: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One found event, its final score and the raw scores of the arms that saw it."""

    opened: OpenedEvent
    score: float
    raw: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An answer. ``stages`` explains: scaled and fused scores by key, for those who ask."""

    hits: Sequence[Hit]
    arms: tuple[str, ...]
    degraded: tuple[str, ...]
    stale: bool
    floors: Mapping[str, Floors]
    lag: Mapping[str, LagNow]
    seconds: Mapping[str, float]
    stages: Mapping[str, Mapping[EventKey, float]]


class FindMemories:
    """Answers questions about one memory."""

    def __init__(
        self,
        *,
        arms: Arms,
        timeline: Timeline,
        hydrator: Hydrator,
        memories: MemoryRegistry,
        progress: Progress,
        clock: Clock,
        settings: SearchSettings,
    ) -> None:
        self._arms = arms
        self._timeline = timeline
        self._hydrator = hydrator
        self._memories = memories
        self._progress = progress
        self._clock = clock
        self._settings = settings

    async def __call__(self, scope: Scope, query: Query) -> Found:
        """The best events for *query*.

        Raises:
            NotFound: there is no such memory. Unavailable: every arm that was asked is away; ``dependency`` names them.
        """
        started = time.perf_counter()
        await self._memories.find(scope)
        names = _ARMS[query.mode]
        stale, floors = await self._wait(query, names)
        seconds = {"visibility": time.perf_counter() - started}
        criteria = query.filter.criteria()
        left = max(query.seconds - seconds["visibility"], 0.05)
        depth = max(self._settings.depth, query.limit)
        findings = await self._arms.find(scope, query.text, names=names, criteria=criteria, depth=depth, seconds=left)
        if not findings.scores:
            away = ", ".join(sorted(findings.failed))
            raise Unavailable(f"no arm could answer: {away}", dependency=away, retry_after=1.0)
        stages: dict[str, Mapping[EventKey, float]] = {}
        scores = await self._rank(scope, query, criteria, findings, stages, left)
        seconds |= findings.seconds
        before = time.perf_counter()
        hits = await self._hits(scope, query, scores, findings)
        seconds["hydrate"] = time.perf_counter() - before
        seconds["total"] = time.perf_counter() - started
        return Found(
            hits=hits,
            arms=tuple(name for name in (*names, "rerank") if name in findings.seconds and name not in findings.failed),
            degraded=tuple(sorted(findings.failed)),
            stale=stale,
            floors=floors,
            lag=await self._progress.lag(),
            seconds=seconds,
            stages=stages,
        )

    async def _wait(self, query: Query, names: tuple[str, ...]) -> tuple[bool, Mapping[str, Floors]]:
        """Wait for ``min_visibility``; at most three quarters of the time are spent on it."""
        if query.wanted is None:
            return False, {}
        projections = ("timeline", *names)
        if await self._progress.reached(query.wanted, projections, seconds=query.seconds * 0.75):
            return False, {}
        floors: dict[str, Floors] = {}
        for name in projections:
            try:
                floors[name] = await self._progress.floors(name)
            except (Unavailable, DeadlineExceeded):
                floors[name] = {}
        return True, floors

    async def _rank(
        self,
        scope: Scope,
        query: Query,
        criteria: Criteria,
        findings: Findings,
        stages: dict[str, Mapping[EventKey, float]],
        left: float,
    ) -> Mapping[EventKey, float]:
        if query.mode != "hybrid" and query.rerank != "on":
            return next(iter(findings.scores.values()))
        lexical = fusion.scaled_to_best(findings.scores.get("lexical", {}))
        vector = fusion.scaled_to_range(findings.scores.get("vector", {}))
        share = self._settings.lexical_weight
        stages["fused"] = fusion.weighted([(lexical, share), (vector, 1 - share)])
        head = fusion.ranked(stages["fused"])[:_NEIGHBOUR_DEPTH]
        around = Surroundings(timeline=self._timeline, scope=scope, criteria=criteria, settings=self._settings)
        await around.look(head, scored=stages["fused"])
        stages["smoothed"] = around.smoothed(stages["fused"], head)
        if query.rerank == "off" or not stages["smoothed"]:
            return stages["smoothed"]
        return await self._reranked(scope, around, findings, stages, (lexical, vector), left)

    async def _reranked(
        self,
        scope: Scope,
        around: Surroundings,
        findings: Findings,
        stages: dict[str, Mapping[EventKey, float]],
        arms: tuple[Mapping[EventKey, float], Mapping[EventKey, float]],
        left: float,
    ) -> Mapping[EventKey, float]:
        head = fusion.ranked(stages["smoothed"])[: self._settings.rerank_depth]
        await around.look(head, scored=stages["smoothed"])
        candidates = list(dict.fromkeys([*head, *around.beside(head)]))
        late = await self._arms.late(scope, findings, candidates, seconds=left)
        if late is None:
            return stages["smoothed"]
        findings.scores["rerank"] = late
        stages["late"] = fusion.scaled_to_range(late)
        lexical, vector = ({key: scores[key] for key in candidates if key in scores} for scores in arms)
        settings = self._settings
        rest = 1 - settings.rerank_lexical_weight - settings.rerank_vector_weight
        weighed = [(lexical, settings.rerank_lexical_weight), (vector, settings.rerank_vector_weight), (stages["late"], rest)]
        blend = fusion.weighted([*weighed, (dict.fromkeys(candidates, 0.0), 1.0)])
        await around.look(candidates, scored=blend)
        final = around.smoothed(blend, candidates, among=True)
        return _above(final, stages["smoothed"])

    async def _hits(self, scope: Scope, query: Query, scores: Mapping[EventKey, float], findings: Findings) -> list[Hit]:
        """The best events that can be read, refilled where one is gone."""
        order = fusion.ranked(scores)
        hits: list[Hit] = []
        at = 0
        while at < len(order) and len(hits) < query.limit:
            keys = order[at : at + query.limit - len(hits)]
            at += len(keys)
            for opened in await self._hydrator.by_keys(scope, keys, now=self._clock.now()):
                raw = {name: found[opened.key] for name, found in findings.scores.items() if opened.key in found}
                hits.append(Hit(opened=opened, score=scores[opened.key], raw=raw))
        return hits


def _above(final: Mapping[EventKey, float], fused: Mapping[EventKey, float]) -> dict[EventKey, float]:
    """The reranked scores, and the rest of the fused order below them."""
    rest = {key: score for key, score in fused.items() if key not in final}
    shift = max(rest.values(), default=0.0) - min(final.values(), default=0.0)
    below = max(shift, 0.0) + 1e-6 if rest else 0.0
    return {**{key: score - below for key, score in rest.items()}, **final}
