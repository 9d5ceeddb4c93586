"""An event as points, and the filters that guard them.

Belongs here: ids, payloads and filters, without I/O. Does not belong here: sending them. What a newcomer would get wrong: window 0 has the
event's key as its id and *is* the event; the ids of the windows behind it are made from key, version and number, so two versions of an
event never share a point but window 0, and a window counts only while its version is the one of window 0.
"""

import hashlib
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from qdrant_client import grpc, models

from kalends.domain.errors import Invalid, Misconfigured
from kalends.domain.events import EventKey
from kalends.domain.queries import Criteria, Entry, Held, Tombstone
from kalends.domain.scope import Scope
from kalends.domain.versions import FOREVER
from kalends.ports.vectors import VectorEntry, Window

DENSE: Final = "dense"
TOKENS: Final = "tokens"
GUARD_FIELDS: Final = ["key", "version", "lead", "grave", "dead"]
"""What is read back of a point; ``lead`` and ``grave`` are on window 0 only."""

EXACT_BELOW: Final = 1 << 53
"""Qdrant compares with doubles, which tell neighbouring integers apart only below this; an epoch of a stream has 31 predecessors then."""

_FOREVER: Final = EXACT_BELOW - 1
"""What is stored for the version of an erased event, ``versions.FOREVER``, which Qdrant could not compare."""


class Change:
    """An entry or a tombstone, as points.

    Raises:
        Invalid: its vectors are not all numbers, or it has no window. Misconfigured: vectors of another length, or a version that Qdrant
            could not compare.
    """

    def __init__(self, source: VectorEntry | Tombstone, *, dimension: int) -> None:
        named: Entry | Tombstone = source.entry if isinstance(source, VectorEntry) else source
        self.scope = named.scope
        self.key = named.key
        self.version = _FOREVER if named.version == FOREVER else named.version
        self._facts = _facts(source.entry) if isinstance(source, VectorEntry) else None
        self._windows: Sequence[Window] = source.windows if isinstance(source, VectorEntry) else ()
        if self.version >= EXACT_BELOW or named.version == _FOREVER:
            raise Misconfigured(f"vector: the version {self.version} is too large for Qdrant to compare")
        if self._facts and not self._windows:
            raise Invalid("vector: an event without a window")
        for window in self._windows:
            _check(window, dimension)

    @property
    def extra_ids(self) -> list[str]:
        """The ids of the windows behind window 0, in this version."""
        return [_extra_id(self.key, self.version, number) for number in range(1, len(self._windows))]

    def guard(self) -> grpc.PointStruct:
        """Window 0, or the tombstone in its place: without vectors, scope or lead, so that no search can reach it."""
        known = {"key": str(self.key), "version": self.version, "windows": max(1, len(self._windows))}
        if self._facts is None:
            return _point(_lead_id(self.key), None, {**known, "dead": True, "grave": self.scope.key})
        return _point(_lead_id(self.key), self._windows[0], {**known, **self._facts, "lead": self.scope.key})

    def extras(self) -> Iterator[grpc.PointStruct]:
        """The windows behind window 0."""
        payload = {"key": str(self.key), "version": self.version, **(self._facts or {})}
        for number, point_id in enumerate(self.extra_ids, start=1):
            yield _point(point_id, self._windows[number], payload)


def pieces(points: Iterable[grpc.PointStruct], *, most: int, most_bytes: int) -> Iterator[list[grpc.PointStruct]]:
    """*points* in pieces of at most so many, and so many bytes unless a single one has more."""
    piece: list[grpc.PointStruct] = []
    size = 0
    for point in points:
        length = point.ByteSize()
        if piece and (len(piece) >= most or size + length > most_bytes):
            yield piece
            piece, size = [], 0
        piece.append(point)
        size += length
    if piece:
        yield piece


def older_than(changes: Sequence[Change]) -> models.Filter:
    """Which points of these events are of an older version; on window 0 it is the guard of a write.

    The first clause decides for nearly every point that is held, so a batch is not the square of its length.
    """
    least = min(change.version for change in changes)
    keys = models.FieldCondition(key="key", match=models.MatchAny(any=[str(change.key) for change in changes]))
    clauses: list[Any] = [models.Filter(must=[keys, _version(lt=least)])]
    clauses += [_of(change.key, _version(lt=change.version)) for change in changes if change.version > least]
    return models.Filter(should=clauses)


def up_to(held: Sequence[Held]) -> models.Filter:
    """Which points of these events are of the version that is held, or of an older one."""
    clauses: list[Any] = [_of(one.key, _version(lte=one.version)) for one in held]
    return models.Filter(should=clauses)


def matching(scope: Scope, criteria: Criteria, *more: models.FieldCondition) -> models.Filter:
    """What *criteria* ask, within *scope*: that condition is in every filter, because the graphs are one for each scope."""
    conditions: list[Any] = [_equals("scope", scope.key), *more]
    conditions += [_any_of("tags", [_scoped(scope, tag) for tag in group]) for group in criteria.any_of]
    if criteria.since_us is not None or criteria.until_us is not None:
        # doubles are exact to the microsecond until the year 2255
        conditions.append(models.FieldCondition(key="at", range=models.Range(gte=criteria.since_us, lt=criteria.until_us)))
    return models.Filter(must=conditions)


def among(keys: Sequence[EventKey]) -> models.FieldCondition:
    """The condition that a point is of one of these events."""
    return _any_of("key", [str(key) for key in keys])


def live_in(scope: Scope) -> models.Filter:
    """Every live event of a scope, once."""
    return models.Filter(must=[_equals("lead", scope.key)])


def held_in(scope_key: str) -> models.Filter:
    """Every event and tombstone of a scope, once."""
    return models.Filter(should=[_equals("lead", scope_key), _equals("grave", scope_key)])


def without(field: str, values: Sequence[str]) -> models.Filter:
    """Everything whose *field* is none of *values*."""
    return models.Filter(must_not=[_any_of(field, values)])


def lead_ids(keys: Iterable[EventKey]) -> list[str]:
    """The ids of the windows 0."""
    return [_lead_id(key) for key in keys]


def belongs(payload: Mapping[str, Any], scope_key: str) -> bool:
    """Whether this is a window 0 of the scope."""
    return scope_key in (payload.get("lead"), payload.get("grave"))


def held(payload: Mapping[str, Any]) -> Held:
    """A window 0, as an inventory has it."""
    return Held(key=EventKey(payload["key"]), version=version_of(payload), live=not payload.get("dead", False))


def _facts(entry: Entry) -> dict[str, Any]:
    return {"scope": entry.scope.key, "at": entry.occurred_us, "tags": [_scoped(entry.scope, tag) for tag in entry.tags]}


def _check(window: Window, dimension: int) -> None:
    if window.dense.shape != (dimension,) or window.tokens.ndim != 2 or (len(window.tokens) and window.tokens.shape[1] != dimension):
        raise Misconfigured(f"vector: vectors of shape {window.dense.shape} and {window.tokens.shape} do not fit an index of {dimension}")
    # Qdrant takes a NaN over gRPC and then cannot answer over REST for whatever holds it
    if not (np.isfinite(window.dense).all() and np.isfinite(window.tokens).all()):
        raise Invalid("vector: a vector with something in it that is no number")


def _point(point_id: str, window: Window | None, payload: Mapping[str, Any]) -> grpc.PointStruct:
    vectors: dict[str, grpc.Vector] = {}
    if window is not None:
        vectors[DENSE] = grpc.Vector(dense=_dense(window.dense))
        if len(window.tokens):
            vectors[TOKENS] = grpc.Vector(multi_dense=grpc.MultiDenseVector(vectors=[_dense(row) for row in window.tokens]))
    return grpc.PointStruct(
        id=grpc.PointId(uuid=point_id),
        vectors=grpc.Vectors(vectors=grpc.NamedVectors(vectors=vectors)),
        payload={name: _value(value) for name, value in payload.items()},
    )


def _dense(row: Any) -> grpc.DenseVector:
    return grpc.DenseVector(data=row.tolist())


def _value(value: Any) -> grpc.Value:
    if isinstance(value, bool):
        return grpc.Value(bool_value=value)
    if isinstance(value, int):
        return grpc.Value(integer_value=value)
    if isinstance(value, str):
        return grpc.Value(string_value=value)
    return grpc.Value(list_value=grpc.ListValue(values=[_value(one) for one in value]))


def _lead_id(key: EventKey) -> str:
    return str(uuid.UUID(hex=key))


def version_of(payload: Mapping[str, Any]) -> int:
    """The version that a payload says."""
    found = int(payload["version"])
    return FOREVER if found == _FOREVER else found


def _extra_id(key: EventKey, version: int, window: int) -> str:
    return str(uuid.UUID(bytes=hashlib.blake2b(f"{key}/{version}/{window}".encode(), digest_size=16).digest()))


def _scoped(scope: Scope, tag: str) -> str:
    """A tag that only events of *scope* have, so that no index of a field mixes scopes."""
    return hashlib.blake2b(f"{scope.key}{tag}".encode(), digest_size=16).hexdigest()


def _version(**bounds: int) -> models.FieldCondition:
    return models.FieldCondition(key="version", range=models.Range(**{name: float(bound) for name, bound in bounds.items()}))


def _of(key: EventKey, version: models.FieldCondition) -> models.Filter:
    return models.Filter(must=[_equals("key", str(key)), version])


def _equals(field: str, value: str) -> models.FieldCondition:
    return models.FieldCondition(key=field, match=models.MatchValue(value=value))


def _any_of(field: str, values: Sequence[str]) -> models.FieldCondition:
    distinct = list(dict.fromkeys(values))
    if len(distinct) == 1:
        return _equals(field, distinct[0])
    return models.FieldCondition(key=field, match=models.MatchAny(any=distinct))
