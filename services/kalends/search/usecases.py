"""Finding memories: arms, fusion, late interaction, smoothing, hydration.

Belongs here: the order of these steps and their budget of time. Does not belong here: JSON (``routes``), arithmetic (``domain.fusion``),
what a time phrase does (``timing``). A newcomer would get wrong: neighbours come in as candidates only if they meet the filter too.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, tzinfo
from typing import Generic, Protocol, TypeVar

import structlog

from kalends.domain import fusion
from kalends.domain.errors import DeadlineExceeded, KalendsError, Unavailable
from kalends.domain.events import EventKey
from kalends.domain.labels import Clearance
from kalends.domain.positions import Floors
from kalends.domain.queries import Criteria, Entry, Filter
from kalends.domain.scope import Scope
from kalends.edge.operations import nobody_waits
from kalends.edge.progress import LagNow, Progress
from kalends.ports.clock import Clock
from kalends.ports.phrases import TimePhrases, TimeRange
from kalends.ports.timeline import Timeline
from kalends.search import timing
from kalends.search.arms import Arms, Findings
from kalends.search.surroundings import Surroundings
from kalends.search.timing import Lift, TimeFilter, lifted
from kalends.settings import SearchSettings
from kalends.wire.memories import MemoryRegistry
from kalends.wire.reader import OpenedEvent

log = structlog.get_logger(__name__)

Item = TypeVar("Item", bound="Keyed")
Item_co = TypeVar("Item_co", bound="Keyed", covariant=True)
Read = TypeVar("Read", bound="Indexed")

_ARMS = {"hybrid": ("lexical", "vector"), "lexical": ("lexical",), "vector": ("vector",)}
_NEIGHBOUR_DEPTH = 100
"""Fused hits whose neighbours are looked at; beyond it smoothing cannot lift anything into the first page."""


class Keyed(Protocol):
    """Something that engines find by its key."""

    @property
    def key(self) -> EventKey:
        """Its identity in every engine."""
        ...


class Indexed(Keyed, Protocol):
    """Something that is found by what engines hold of it."""

    def entries(self) -> Sequence[Entry]:
        """What engines hold of it."""
        ...


class Hydrating(Protocol[Item_co]):
    """Reads what was found."""

    async def by_keys(self, scope: Scope, keys: Sequence[EventKey], *, now: datetime, clearance: Clearance) -> Sequence[Item_co]:
        """What exists of *keys* in one memory and may be seen, in their order."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A checked question.

    ``wanted`` are the floors of ``min_visibility``; ``zone`` is where its time phrases are read, None: nowhere; ``give_way`` is awaited
    between two steps and lets others pass.
    """

    text: str
    limit: int
    mode: str = "hybrid"
    filter: Filter = field(default_factory=Filter)
    rerank: str = "auto"
    wanted: Floors | None = None
    seconds: float = 2.0
    zone: tzinfo | None = None
    give_way: Callable[[], Awaitable[None]] = nobody_waits


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked(Generic[Item_co]):
    """What was found, its final score and the raw scores of the arms that saw it."""

    opened: Item_co
    score: float
    raw: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered(Generic[Item_co]):
    """An answer. ``stages`` explains: scaled and fused scores by key, for those who ask. ``time``: what became of a time phrase."""

    hits: Sequence[Ranked[Item_co]]
    arms: tuple[str, ...]
    degraded: tuple[str, ...]
    stale: bool
    floors: Mapping[str, Floors]
    lag: Mapping[str, LagNow]
    seconds: Mapping[str, float]
    stages: Mapping[str, Mapping[EventKey, float]]
    time: TimeFilter | None = None


Hit = Ranked[OpenedEvent]
Found = Answered[OpenedEvent]


@dataclass(slots=True, kw_only=True)
class _Looked(Generic[Item]):
    """One way through arms, ranking and hydration."""

    hits: list[Ranked[Item]]
    findings: Findings
    stages: dict[str, Mapping[EventKey, float]]
    seconds: dict[str, float]


@dataclass(slots=True, kw_only=True)
class _Reranking:
    """What is reranked: the question, what was found for it, and the scores of the lexical and the vector arm on one scale."""

    scope: Scope
    query: Query
    findings: Findings
    stages: dict[str, Mapping[EventKey, float]]
    arms: tuple[Mapping[EventKey, float], Mapping[EventKey, float]]
    around: Surroundings


class Find(Generic[Read]):
    """Answers questions about one memory, or a part of it that engines keep apart. *follows*: the projection that hydration asks."""

    def __init__(
        self,
        *,
        arms: Arms,
        timeline: Timeline,
        hydrator: Hydrating[Read],
        memories: MemoryRegistry,
        progress: Progress,
        phrases: TimePhrases,
        clock: Clock,
        settings: SearchSettings,
        follows: str = "timeline",
    ) -> None:
        self._arms = arms
        self._timeline = timeline
        self._hydrator = hydrator
        self._memories = memories
        self._progress = progress
        self._phrases = phrases
        self._clock = clock
        self._settings = settings
        self._follows = follows

    def part(self, scope: Scope) -> Scope:
        """Where engines keep what is looked for: with the memory's events."""
        return scope

    async def __call__(self, scope: Scope, query: Query) -> Answered[Read]:
        """The best for *query*.

        Raises:
            NotFound: there is no such memory. Unavailable: every arm that was asked is away; ``dependency`` names them.
        """
        started = time.perf_counter()
        await self._memories.find(scope)
        names = _ARMS[query.mode]
        serving = await self._serving(query, names)
        stale, floors = await self._wait(query, names)
        seconds = {"visibility": time.perf_counter() - started}
        query = replace(query, seconds=max(query.seconds - seconds["visibility"], 0.05))
        stretch, unread = await self._stretch(query, seconds)
        looked, when = await self._within(scope, query, names, stretch)
        if not stale and await self._serving(query, names) != serving:
            # what was visible in the generation that was asked about need not be in the one that answered
            query = replace(query, seconds=max(query.seconds - (time.perf_counter() - started), 0.05))
            stale, floors = await self._wait(query, names)
            looked, when = await self._within(scope, query, names, stretch)
        failed = looked.findings.failed | unread
        seconds |= looked.seconds
        seconds["total"] = time.perf_counter() - started
        return Answered(
            hits=looked.hits,
            arms=tuple(name for name in (*names, "rerank") if name in looked.seconds and name not in failed),
            degraded=tuple(sorted(failed)),
            stale=stale,
            floors=floors,
            lag=await self._progress.lag(),
            seconds=seconds,
            stages=looked.stages,
            time=when,
        )

    async def _stretch(self, query: Query, seconds: dict[str, float]) -> tuple[TimeRange | None, dict[str, KalendsError]]:
        """The stretch of time that the question names; without the reader of phrases the answer is one without a filter, and says so."""
        if query.zone is None:
            return None, {}
        before = time.perf_counter()
        try:
            found = await timing.stretch_of(self._phrases, query.text, now=self._clock.now(), zone=query.zone, seconds=query.seconds)
        except (Unavailable, DeadlineExceeded) as error:
            log.warning("time phrase not read", kind=error.code)
            return None, {"time": error}
        if found is not None:
            seconds["time"] = time.perf_counter() - before
        return found, {}

    async def _within(
        self, scope: Scope, query: Query, names: tuple[str, ...], stretch: TimeRange | None
    ) -> tuple[_Looked[Read], TimeFilter | None]:
        """Look within a firm *stretch*, and everywhere if nothing is there; for any other look everywhere and lift what lies in it."""
        if stretch is None:
            return await self._look(scope, query, names, None), None
        if stretch.firm:
            started = time.perf_counter()
            narrowed = replace(query, filter=timing.narrowed(query.filter, stretch))
            looked = await self._look(scope, narrowed, names, None)
            if not looked.hits:
                left = max(query.seconds - (time.perf_counter() - started), 0.05)
                looked = await self._look(scope, replace(query, seconds=left), names, None)
                return looked, TimeFilter(stretch=stretch, applied=False)
            return looked, TimeFilter(stretch=stretch, applied=True)
        lift = Lift(timeline=self._timeline, scope=self.part(scope), stretch=stretch, share=self._settings.time_bonus)
        looked = await self._look(scope, query, names, lift)
        return looked, TimeFilter(stretch=stretch, applied=lift.lifted)

    async def _look(self, scope: Scope, query: Query, names: tuple[str, ...], lift: Lift | None) -> _Looked[Read]:
        criteria, part = query.filter.criteria(), self.part(scope)
        depth = max(self._settings.depth, query.limit)
        await query.give_way()
        findings = await self._arms.find(part, query.text, names=names, criteria=criteria, depth=depth, seconds=query.seconds)
        if not findings.scores:
            away = ", ".join(sorted(findings.failed))
            raise Unavailable(f"no arm could answer: {away}", dependency=away, retry_after=1.0)
        stages: dict[str, Mapping[EventKey, float]] = {}
        await query.give_way()
        scores = await self._rank(scope, query, criteria, findings, stages, lift)
        await query.give_way()
        before = time.perf_counter()
        hits = await self._hits(scope, query, scores, findings)
        seconds = findings.seconds | {"hydrate": time.perf_counter() - before}
        return _Looked(hits=hits, findings=findings, stages=stages, seconds=seconds)

    async def _serving(self, query: Query, names: tuple[str, ...]) -> Mapping[str, str]:
        """The generations that serve, for a question that names what it must see."""
        return {} if query.wanted is None else await self._progress.generations(names)

    async def _wait(self, query: Query, names: tuple[str, ...]) -> tuple[bool, Mapping[str, Floors]]:
        """Wait for ``min_visibility``; at most three quarters of the time are spent on it."""
        if query.wanted is None:
            return False, {}
        projections = (self._follows, *names)
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
        lift: Lift | None,
    ) -> Mapping[EventKey, float]:
        if query.mode != "hybrid" and query.rerank != "on":
            scores = next(iter(findings.scores.values()))
            return await lifted(scores, lift)
        lexical = fusion.scaled_to_best(findings.scores.get("lexical", {}))
        vector = fusion.scaled_to_range(findings.scores.get("vector", {}))
        share = self._settings.lexical_weight
        stages["fused"] = fusion.weighted([(lexical, share), (vector, 1 - share)])
        head = fusion.ranked(stages["fused"])[:_NEIGHBOUR_DEPTH]
        around = Surroundings(timeline=self._timeline, scope=self.part(scope), criteria=criteria, settings=self._settings)
        await around.look(head, scored=stages["fused"])
        stages["smoothed"] = around.smoothed(stages["fused"], head)
        if query.rerank == "off" or not stages["smoothed"]:
            return await lifted(stages["smoothed"], lift)
        await query.give_way()
        case = _Reranking(scope=scope, query=query, findings=findings, stages=stages, arms=(lexical, vector), around=around)
        return await self._reranked(case, lift)

    async def _reranked(self, case: "_Reranking", lift: Lift | None) -> Mapping[EventKey, float]:
        """The best in the order of the reranker; without one, or where it fails, of late interaction; without that, as they were fused."""
        started = time.perf_counter()
        head = fusion.ranked(case.stages["smoothed"])[: self._settings.rerank_depth]
        if self._arms.reads_passages:
            scores = await self._read(case, head)
            if scores:
                return await self._blended(case, lift, list(scores), read=scores)
        left = max(case.query.seconds - (time.perf_counter() - started), 0.05)
        await case.around.look(head, scored=case.stages["smoothed"])
        candidates = list(dict.fromkeys([*head, *case.around.beside(head)]))
        late = await self._arms.late(self.part(case.scope), case.findings, candidates, seconds=left)
        if late is None:
            return await lifted(case.stages["smoothed"], lift)
        return await self._blended(case, lift, candidates, late=late)

    async def _read(self, case: "_Reranking", head: Sequence[EventKey]) -> Mapping[EventKey, float] | None:
        """What the reranker says of the best, which it reads as the embedder does. Their neighbours come in by smoothing only."""

        async def passages() -> Mapping[EventKey, str]:
            clearance = case.query.filter.clearance
            found = await self._hydrator.by_keys(case.scope, head, now=self._clock.now(), clearance=clearance)
            return {one.key: "\n".join(entry.embedded for entry in one.entries()) for one in found}

        return await self._arms.read(case.findings, case.query.text, passages, seconds=case.query.seconds)

    async def _blended(
        self, case: "_Reranking", lift: Lift | None, candidates: Sequence[EventKey], **reranked: Mapping[EventKey, float]
    ) -> Mapping[EventKey, float]:
        """Arms and what *reranked* them, which is one stage by its name, in their shares."""
        ((stage, scores),) = reranked.items()
        case.findings.scores["rerank"] = scores
        case.stages[stage] = fusion.scaled_to_range(scores)
        lexical, vector = ({key: found[key] for key in candidates if key in found} for found in case.arms)
        settings = self._settings
        rest = 1 - settings.rerank_lexical_weight - settings.rerank_vector_weight
        weighed = [(lexical, settings.rerank_lexical_weight), (vector, settings.rerank_vector_weight), (case.stages[stage], rest)]
        blend = fusion.weighted([*weighed, (dict.fromkeys(candidates, 0.0), 1.0)])
        await case.around.look(candidates, scored=blend)
        final = await lifted(case.around.smoothed(blend, candidates, among=True), lift)
        return _above(final, case.stages["smoothed"])

    async def _hits(self, scope: Scope, query: Query, scores: Mapping[EventKey, float], findings: Findings) -> list[Ranked[Read]]:
        """The best that can be read, refilled where one is gone."""
        order = fusion.ranked(scores)
        hits: list[Ranked[Read]] = []
        at = 0
        while at < len(order) and len(hits) < query.limit:
            keys = order[at : at + query.limit - len(hits)]
            at += len(keys)
            for opened in await self._hydrator.by_keys(scope, keys, now=self._clock.now(), clearance=query.filter.clearance):
                raw = {name: found[opened.key] for name, found in findings.scores.items() if opened.key in found}
                hits.append(Ranked(opened=opened, score=scores[opened.key], raw=raw))
        return hits


class FindMemories(Find[OpenedEvent]):
    """Answers questions with events and chunks of documents."""


def _above(final: Mapping[EventKey, float], fused: Mapping[EventKey, float]) -> dict[EventKey, float]:
    """The reranked scores, and the rest of the fused order below them."""
    rest = {key: score for key, score in fused.items() if key not in final}
    shift = max(rest.values(), default=0.0) - min(final.values(), default=0.0)
    below = max(shift, 0.0) + 1e-6 if rest else 0.0
    return {**{key: score - below for key, score in rest.items()}, **final}
