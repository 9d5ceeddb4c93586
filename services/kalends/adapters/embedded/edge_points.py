"""Events as points of an Edge shard, and questions as its filters.

Belongs here: ids, payloads, conditions. Does not belong here: the shard (``vectors``). A newcomer would get wrong: a tombstone is a point
without vectors that holds a key, a version and whose it is, and nothing else of what was there; and every payload carries sums
(``edge_sums``), those of token vectors excepted, which the engine must have first.
"""

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kalends.adapters.embedded import edge_sums, reserving, shards
from kalends.domain.errors import Misconfigured
from kalends.domain.events import EventKey
from kalends.domain.queries import Criteria, Entry, Held, Tombstone
from kalends.domain.scope import Scope
from kalends.ports.vectors import VectorEntry

PER_CALL = 24
"""Points of one update: about 10 ms in which nothing else in the process runs."""

_LOGGED_BYTES = 5
"""Of a number in the write-ahead log (CBOR: a byte for its kind, four for a float)."""
_ROW_BYTES = 64
"""Of a token vector beside a byte for each number."""
_PAYLOAD_BYTES = 1024
"""Of a payload without its tags; a few hundred were seen."""
_TAG_BYTES = 64


class Change:
    """An entry or a tombstone, as points."""

    def __init__(self, source: VectorEntry | Tombstone) -> None:
        self._source = source
        named: Entry | Tombstone = source.entry if isinstance(source, VectorEntry) else source
        self.key = named.key
        self.version = named.version
        self.windows = len(source.windows) if isinstance(source, VectorEntry) else 1
        self.tokens = sum(len(window.tokens) for window in source.windows) if isinstance(source, VectorEntry) else 0
        self.tags = len(named.tags) if isinstance(named, Entry) else 0

    def points(self, dimension: int) -> list[Any]:
        """Every window of the change; all of them belong into one update, or a crash could leave a half."""
        from qdrant_edge import Point

        payload: dict[str, Any] = {"key": str(self.key), "version": self.version, "windows": self.windows}
        lead = point_id(self.key, 0)
        if isinstance(self._source, Tombstone):
            return [Point(lead, {}, _summed(lead, {**payload, "dead": True, "grave": self._source.scope.key}))]
        entry = self._source.entry
        payload |= {"scope": entry.scope.key, "at": entry.occurred_us, "tags": [_scoped(entry.scope, tag) for tag in entry.tags]}
        found = []
        for number, window in enumerate(self._source.windows):
            if window.dense.shape != (dimension,) or window.tokens.shape[1:] != (dimension,):
                raise Misconfigured(f"vectors of shape {window.dense.shape} do not fit an index of {dimension}")
            # lists, because Edge reads them twice as fast as arrays
            vectors: dict[str, Any] = {shards.DENSE: window.dense.tolist()}
            own = {**payload, edge_sums.DENSE: edge_sums.of_dense(window.dense)}
            if len(window.tokens):
                vectors[shards.TOKENS] = window.tokens.tolist()
                own[edge_sums.ROWS] = len(window.tokens)
            if number == 0:
                own["lead"] = entry.scope.key
            one = point_id(self.key, number)
            found.append(Point(one, vectors, _summed(one, own)))
        return found


def held(payload: Mapping[str, Any]) -> Held:
    """What the payload of a window 0 says is held."""
    return Held(key=EventKey(payload["key"]), version=payload["version"], live=not payload.get("dead", False))


def first_of(changes: Sequence[Change]) -> tuple[list[Change], list[Change]]:
    """As many changes as fit one update, at least one; and the rest."""
    points = np.cumsum([change.windows for change in changes])
    fitting = max(1, int(np.searchsorted(points, PER_CALL, side="right")))
    return list(changes[:fitting]), list(changes[fitting:])


def need_of(changes: Sequence[Change], dimension: int) -> reserving.Need:
    """What a write of *changes* takes of the disk at most, the sums that follow included."""
    points = sum(change.windows for change in changes)
    values = sum(change.windows * (_PAYLOAD_BYTES + _TAG_BYTES * change.tags) for change in changes)
    return _need(points=points, tokens=sum(change.tokens for change in changes), values=values, dimension=dimension)


def need_of_copies(points: Sequence[Any], dimension: int) -> reserving.Need:
    """What a write of *points* that were read from another shard takes at most."""
    tokens = sum(len((point.vector or {}).get(shards.TOKENS, ())) for point in points)
    values = sum(_PAYLOAD_BYTES + _TAG_BYTES * len((point.payload or {}).get("tags", ())) for point in points)
    return _need(points=len(points), tokens=tokens, values=values, dimension=dimension)


def need_of_ids(points: int) -> reserving.Need:
    """What deleting *points*, or giving them other sums, takes at most."""
    return _need(points=points, tokens=0, values=points * _PAYLOAD_BYTES, dimension=0)


def _need(*, points: int, tokens: int, values: int, dimension: int) -> reserving.Need:
    return reserving.Need(
        log=_LOGGED_BYTES * dimension * (points + tokens) + 2 * values,
        dense=2 * dimension * points,
        tokens=(dimension + _ROW_BYTES) * tokens,
        # each is written twice, for the second time with the sum of what was read back
        values=2 * values,
        points=points,
    )


def point_id(key: EventKey, window: int) -> uuid.UUID:
    """The id of a window: of window 0 the event's key, of the others one that follows from it."""
    if window == 0:
        return uuid.UUID(hex=key)
    return uuid.UUID(bytes=hashlib.blake2b(f"{key}/{window}".encode(), digest_size=16).digest())


def _summed(point: uuid.UUID, payload: Mapping[str, Any]) -> dict[str, Any]:
    return {**payload, edge_sums.PAYLOAD: edge_sums.of_payload(point, payload)}


def _scoped(scope: Scope, tag: str) -> str:
    """A tag that only events of *scope* have: it saves the condition on the scope, and every condition costs 7 ms at 50,000 points."""
    return hashlib.blake2b(f"{scope.key}{tag}".encode(), digest_size=16).hexdigest()


def _any(scope: Scope, tags: Sequence[str]) -> Any:
    from qdrant_edge import MatchAny, MatchValue

    scoped = [_scoped(scope, tag) for tag in tags]
    return MatchValue(scoped[0]) if len(scoped) == 1 else MatchAny(scoped)


def matching(scope: Scope, criteria: Criteria, *more: Any) -> Any:
    """What a point must meet to answer for *scope*, and *more*."""
    from qdrant_edge import FieldCondition, Filter, MatchValue, RangeFloat

    conditions = [*more, *(FieldCondition("tags", match=_any(scope, group)) for group in criteria.any_of)]
    if not criteria.any_of:
        conditions.append(FieldCondition("scope", match=MatchValue(scope.key)))
    if criteria.since_us is not None or criteria.until_us is not None:
        # doubles are exact to the microsecond until the year 2255
        conditions.append(FieldCondition("at", range=RangeFloat(gte=criteria.since_us, lt=criteria.until_us)))
    return Filter(must=conditions)
