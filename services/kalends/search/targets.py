"""Targets of a search beside events: nodes of the calendar, and grips; and several targets in one answer.

Belongs here: how each target is found, and how their hits become one list. Does not belong here: ranking within a target (``usecases``),
the calendar without a question (``calendar``). A newcomer would get wrong: scores of different targets say nothing about each other, so
where several are asked each one's best counts 1; a search of events alone is left as it is, to the last bit.
"""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from kalends.domain.calendar import Grip
from kalends.domain.errors import Damaged, DeadlineExceeded, KalendsError, Unavailable
from kalends.domain.events import EventKey
from kalends.domain.labels import Clearance
from kalends.domain.queries import TARGETS, check_filter
from kalends.domain.scope import Scope
from kalends.ports.calendar import Calendar
from kalends.search.usecases import Answered, Find, FindMemories, Query, Ranked
from kalends.wire.node_store import NodeStore
from kalends.wire.reader import OpenedEvent, OpenedNode

log = structlog.get_logger(__name__)

_OUTAGES = (Unavailable, DeadlineExceeded, Damaged)
_GRIP_DEPTH = (50, 200)
"""Events that are looked at for grips: five times as many as grips are wanted, within these bounds, since most events have none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundGrip:
    """A grip, the event that it was found by, and the segment that it stands in."""

    key: EventKey
    grip: Grip
    node: OpenedNode


Findable = OpenedEvent | OpenedNode | FoundGrip


class NodeHydrator:
    """Reads nodes of the calendar, each in its newest version."""

    def __init__(self, *, calendar: Calendar, nodes: NodeStore) -> None:
        self._calendar = calendar
        self._nodes = nodes

    async def by_keys(self, scope: Scope, keys: Sequence[EventKey], *, now: datetime, clearance: Clearance) -> list[OpenedNode]:
        """The nodes that are not gone and can be read, in the order of *keys*; a node does not expire, and has no labels."""
        del now, clearance
        known = await self._calendar.by_keys(scope, keys)
        opened = await self._nodes.read(scope, [known[key].position for key in keys if key in known])
        return [one for one in opened if one is not None]


class FindNodes(Find[OpenedNode]):
    """Answers questions with nodes of the calendar. The timeline knows none of them, so no neighbour smooths anything here."""

    def part(self, scope: Scope) -> Scope:
        """Where engines keep nodes: apart from the memory's events."""
        return scope.calendar


class FindGrips:
    """Answers questions with grips: those of the best events, in the order of these events."""

    def __init__(self, *, find: FindMemories, calendar: Calendar, nodes: NodeStore) -> None:
        self._find = find
        self._calendar = calendar
        self._nodes = nodes

    async def __call__(self, scope: Scope, query: Query) -> Answered[FoundGrip]:
        """The grips of the best events for *query*; each hit has its event's scores.

        Raises:
            As ``usecases.Find``.
        """
        least, most = _GRIP_DEPTH
        found = await self._find(scope, replace(query, limit=min(max(5 * query.limit, least), most)))
        named = await self._calendar.grips_of(scope, [hit.opened.event.id for hit in found.hits])
        standing = await self._standing(scope, [grip for grips in named.values() for grip in grips])
        hits = [
            Ranked(
                opened=FoundGrip(key=hit.opened.key, grip=standing[name][0], node=standing[name][1]),
                score=hit.score,
                raw=hit.raw,
            )
            for hit in found.hits
            for name in named.get(hit.opened.event.id, ())
            if name in standing
        ]
        return _with_hits(found, hits[: query.limit])

    async def _standing(self, scope: Scope, ids: Sequence[str]) -> Mapping[str, tuple[Grip, OpenedNode]]:
        """Those grips whose segment still has them, and the segment; what a newer version left out is history."""
        places = await self._calendar.grips(scope, ids)
        positions = list(dict.fromkeys(places.values()))
        opened = [one for one in await self._nodes.read(scope, positions) if one is not None]
        newest = await self._calendar.by_keys(scope, [one.key for one in opened])
        found: dict[str, tuple[Grip, OpenedNode]] = {}
        for one in opened:
            if one.key in newest and newest[one.key].content_mac == one.content_mac:
                found |= {grip.id: (grip, one) for bullet in one.node.bullets for grip in bullet.grips}
        return found


class FindTargets:
    """Answers questions with whatever the filter's targets name."""

    def __init__(self, *, memories: FindMemories, nodes: FindNodes, grips: FindGrips) -> None:
        self._memories = memories
        self._nodes = nodes
        self._grips = grips

    async def __call__(self, scope: Scope, query: Query) -> Answered[Findable]:
        """The best of each target for *query*, in one list; a target that fails beside others is told in ``degraded``.

        Raises:
            Invalid: the filter does not fit the targets. NotFound: there is no such memory. Unavailable: nothing could answer.
        """
        wanted = query.filter
        check_filter(wanted)
        plain = tuple(target for target in wanted.targets if target in TARGETS)
        if plain == wanted.targets:
            return await self._memories(scope, query)
        runs: dict[str, Awaitable[Answered[Findable]]] = {}
        if plain:
            runs["events"] = self._memories(scope, replace(query, filter=replace(wanted, targets=plain, level=())))
        if "toc" in wanted.targets:
            runs["toc"] = self._nodes(scope, replace(query, filter=replace(wanted, targets=("toc",))))
        if "grips" in wanted.targets:
            runs["grips"] = self._grips(scope, replace(query, filter=replace(wanted, targets=("events",), level=())))
        answers, failed = await _together(runs)
        if len(runs) == 1:
            return next(iter(answers.values()))
        return _merged(answers, failed, limit=query.limit)


async def _together(runs: Mapping[str, Awaitable[Answered[Findable]]]) -> tuple[dict[str, Answered[Findable]], dict[str, KalendsError]]:
    """The answers of *runs*, at the same time, and which of them are away.

    Raises:
        KalendsError: all are away, or one fails for another reason than that.
    """
    answers: dict[str, Answered[Findable]] = {}
    failed: dict[str, KalendsError] = {}

    async def one(name: str, run: Awaitable[Answered[Findable]]) -> None:
        try:
            answers[name] = await run
        except KalendsError as error:
            # raised below: a group of tasks would wrap it
            failed[name] = error

    async with asyncio.TaskGroup() as group:
        for name, run in runs.items():
            group.create_task(one(name, run))
    for name, error in failed.items():
        if not isinstance(error, _OUTAGES) or not answers:
            raise error
        log.warning("target could not be searched", target=name, kind=error.code)
    return {name: answers[name] for name in runs if name in answers}, failed


def _merged(answers: Mapping[str, Answered[Findable]], failed: Mapping[str, KalendsError], *, limit: int) -> Answered[Findable]:
    """All hits by score, each target's scaled to its best; ties go to the target that was named first here, then to the better rank."""
    hits = [hit for answer in answers.values() for hit in _scaled(answer.hits)]
    hits.sort(key=lambda hit: -hit.score)
    every = list(answers.values())
    stages: dict[str, dict[EventKey, float]] = {}
    seconds: dict[str, float] = {}
    for answer in every:
        for name, scores in answer.stages.items():
            stages.setdefault(name, {}).update(scores)
        for name, taken in answer.seconds.items():
            seconds[name] = max(seconds.get(name, 0.0), taken)
    arms = {arm: None for answer in every for arm in answer.arms}
    return Answered(
        hits=hits[:limit],
        arms=tuple(arms),
        degraded=tuple(sorted({name for answer in every for name in answer.degraded} | failed.keys())),
        stale=any(answer.stale for answer in every),
        floors={name: floors for answer in every for name, floors in answer.floors.items()},
        lag=every[0].lag,
        seconds=seconds,
        stages=stages,
        time=next((answer.time for answer in every if answer.time is not None), None),
    )


def _scaled(hits: Sequence[Ranked[Findable]]) -> list[Ranked[Findable]]:
    best = max((hit.score for hit in hits), default=0.0)
    return [replace(hit, score=hit.score / best if best > 0 else 0.0) for hit in hits]


def _with_hits(found: Answered[OpenedEvent], hits: Sequence[Ranked[FoundGrip]]) -> Answered[FoundGrip]:
    """The same answer with grips in the place of their events."""
    return Answered(
        hits=hits,
        arms=found.arms,
        degraded=found.degraded,
        stale=found.stale,
        floors=found.floors,
        lag=found.lag,
        seconds=found.seconds,
        stages=found.stages,
        time=found.time,
    )
