"""What stands beside the found: neighbours in the session that may answer too.

Belongs here: asking the timeline for neighbours, once for each event, and smoothing with them. Does not belong here: scoring (``arms``). A
newcomer would get wrong: a neighbour that no arm found must meet the filter before it may come in.
"""

from collections.abc import Mapping, Sequence

from kalends.domain import fusion
from kalends.domain.events import EventKey
from kalends.domain.queries import Criteria
from kalends.domain.scope import Scope
from kalends.ports.timeline import Timeline
from kalends.settings import SearchSettings

_Pair = tuple[EventKey | None, EventKey | None]


class Surroundings:
    """The neighbours of one question's candidates."""

    def __init__(self, *, timeline: Timeline, scope: Scope, criteria: Criteria, settings: SearchSettings) -> None:
        self._timeline = timeline
        self._scope = scope
        self._criteria = criteria
        self._settings = settings
        self._pairs: dict[EventKey, _Pair] = {}
        self._shares: dict[EventKey, float] = {}
        self._barred: set[EventKey] = set()
        self._cleared: set[EventKey] = set()

    async def look(self, keys: Sequence[EventKey], *, scored: Mapping[EventKey, float]) -> None:
        """Learn the neighbours of *keys*; those in *scored* were found by an arm and need no check against the filter."""
        fresh = [key for key in keys if key not in self._pairs]
        if not fresh:
            return
        found = await self._timeline.neighbours(self._scope, fresh)
        self._pairs |= {key: found.get(key, (None, None)) for key in fresh}
        named = {key for pair in found.values() for key in pair if key is not None}
        self._cleared |= scored.keys()
        strangers = sorted(named - self._cleared - self._barred)
        if strangers:
            allowed = await self._timeline.matching(self._scope, strangers, criteria=self._criteria)
            self._cleared |= allowed
            self._barred |= set(strangers) - allowed
        unmeasured = sorted((named | set(fresh)) - self._shares.keys())
        lengths = await self._timeline.lengths(self._scope, unmeasured)
        share, full = self._settings.smoothing, self._settings.smoothing_chars
        for key in unmeasured:
            self._shares[key] = fusion.share_of(lengths[key], share=share, full_up_to=full) if key in lengths else 0.0

    def beside(self, keys: Sequence[EventKey]) -> list[EventKey]:
        """The neighbours of *keys* that may answer."""
        return [neighbour for key in keys for neighbour in self._pair(key) if neighbour is not None]

    def smoothed(self, scores: Mapping[EventKey, float], keys: Sequence[EventKey], *, among: bool = False) -> dict[EventKey, float]:
        """*scores* smoothed by the neighbours of *keys*; *among*: only neighbours that have a score themselves count."""
        pairs = {key: self._pair(key) for key in keys}
        if among:
            pairs = {key: tuple(one if one in scores else None for one in pair) for key, pair in pairs.items()}  # type: ignore[misc]
        return fusion.smoothed(scores, pairs, shares=self._shares)

    def _pair(self, key: EventKey) -> _Pair:
        before, after = self._pairs[key]
        return (None if before in self._barred else before, None if after in self._barred else after)
