"""Probing: whether anything is still found of what was erased.

Belongs here: asking every store for keys. Does not belong here: erasing. A newcomer would get wrong: a tombstone is held by the engines for
ever, so "held" is no finding; found is only what is live, or what the log still has a message of.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kalends.domain.events import EventKey
from kalends.domain.queries import Held
from kalends.domain.scope import Scope
from kalends.ports.lexicon import LexicalIndex
from kalends.ports.log import Log
from kalends.ports.timeline import Timeline
from kalends.ports.vectors import VectorIndex


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """By store, how many keys it has (``left``) and of how many it knows that they are gone; ``live``: those that an engine has."""

    left: Mapping[str, int]
    gone: Mapping[str, int]
    live: Sequence[EventKey]


class Probe:
    """Asks the stores."""

    def __init__(self, source: Log, timeline: Timeline, lexicon: LexicalIndex, vectors: VectorIndex) -> None:
        self._source = source
        self._timeline = timeline
        self._engines: Mapping[str, LexicalIndex | VectorIndex] = {"lexical": lexicon, "vector": vectors}

    async def __call__(self, scope: Scope, keys: Sequence[EventKey]) -> Probed:
        """What each store says of *keys*."""
        left: dict[str, int] = {}
        gone: dict[str, int] = {}
        known = await self._timeline.lookup(scope, keys)
        left["timeline"] = sum(not one.erased for one in known.values())
        gone["timeline"] = sum(one.erased for one in known.values())
        places = await self._timeline.positions(scope, keys)
        messages = await self._source.read([place for some in places.values() for place in some])
        left["log"] = sum(message is not None for message in messages)
        live: dict[EventKey, None] = {}
        for name, engine in self._engines.items():
            held: Sequence[Held] = await engine.held(scope.key, keys)
            left[name] = sum(one.live for one in held)
            gone[name] = sum(not one.live for one in held)
            live |= dict.fromkeys(one.key for one in held if one.live)
        return Probed(left=left, gone=gone, live=tuple(live))
