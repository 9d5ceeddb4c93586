"""Whether the points of an Edge shard are what was written.

Belongs here: comparing what the engine reads back with the sums that each point carries (``edge_sums``), the indexes of its fields with its
payload, and an event's windows with each other; giving token vectors their sums. Does not belong here: when points are looked at
(``index.reconciling``), in which thread (``vectors``), or what is done about it. A newcomer would get wrong: the engine compares nothing
and answers from whatever stands there; and every call of it holds the interpreter's lock, so they are many and small. While a shard is
written to, a page may be half of one state and half of the next: what ``look`` doubts, ``settle`` decides, with which no write may run.
"""

import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from kalends.adapters.embedded import edge_points, edge_sums, shards
from kalends.adapters.embedded.failures import translated
from kalends.domain.errors import Unavailable
from kalends.domain.events import EventKey

PAGE = 8
"""Points that are looked at together: about 5 ms with token vectors of short texts, for which a search waits."""

ROWS_PER_CALL = 128
"""Token vectors that one call reads, of one point at least: 2 ms."""

_KEYWORDS = ("scope", *shards.KEYWORDS)
_MISCOUNTED = ""
"""Instead of a sum: there are more or fewer token vectors than the payload says."""


class Page(NamedTuple):
    """What ``look`` doubts or finds without a sum, and where the next page begins; None for that after the last."""

    doubted: Sequence[uuid.UUID]
    following: object


def look(shard: Any, offset: object) -> Page:
    """Look at the page of points, by id, that begins at *offset*; None is the first.

    Raises:
        Unavailable: not even ids can be listed.
    """
    try:
        with translated("vector"):
            records, following = shard.scroll(_page(offset, with_payload=True, with_vector=[shards.DENSE]))
            whole = [record for record in records if not _wrong(record)]
            whole = [record for record, told in zip(whole, _tokens(shard, whole), strict=True) if told == _told(record)]
            if not (_are_complete(shard, whole) and _are_indexed(shard, whole)):
                whole = []
    except Unavailable:
        # one that cannot be read is enough for this
        with translated("vector"):
            records, following = shard.scroll(_page(offset, with_payload=False, with_vector=False))
            whole = []
    fine = {str(record.id) for record in whole}
    return Page([_id(record) for record in records if str(record.id) not in fine], following)


def settle(shard: Any, points: Sequence[uuid.UUID]) -> list[str]:
    """What is damaged of *points*, each named as ``point/part``; token vectors that have no sum to compare get one.

    Raises:
        Unavailable: not even ids can be looked up.
    """
    found: list[str] = []
    for point in points:
        found += [f"{point}/{part}" for part in _damaged_parts(shard, point)]
    return found


def sum_up(shard: Any, points: Sequence[uuid.UUID]) -> None:
    """Give the token vectors of *points* the sum of what is read back of them; a point without any gets none.

    Raises:
        Unavailable: the engine failed; which of them have one is unknown, and ``settle`` gives the others theirs.
    """
    from qdrant_edge import UpdateOperation

    with translated("vector"):
        records = shard.retrieve(list(points), [edge_sums.ROWS], False)
        for record, told in zip(records, _tokens(shard, records), strict=True):
            if told:
                shard.update(UpdateOperation.set_payload([record.id], {edge_sums.TOKENS: told}))


def carried(record: Any) -> dict[str, Any]:
    """The payload with which *record*, read with all its vectors, goes into another shard, where its token vectors are made anew.

    Their sum stays behind; but if it is not that of the vectors here, it goes along, so that damage is found there, too.
    """
    payload = dict(record.payload or {})
    told = payload.get(edge_sums.TOKENS)
    if not edge_sums.compares(told) or told == edge_sums.of_tokens(_rows(record)):
        payload.pop(edge_sums.TOKENS, None)
    return payload


def _damaged_parts(shard: Any, point: uuid.UUID) -> list[str]:
    with translated("vector"):
        if not shard.retrieve([point], False, False):
            return []  # it was taken out since it was doubted
    try:
        with translated("vector"):
            (record,) = shard.retrieve([point], True, [shards.DENSE])
            if wrong := _wrong(record):
                return [wrong]
            (told,) = _tokens(shard, [record])
    except Unavailable:
        return ["unreadable"]
    known = _told(record)
    if told == _MISCOUNTED or (told != known and edge_sums.compares(known)):
        return ["tokens"]
    if told != known:
        sum_up(shard, [point])
    found = {"windows": _are_complete, "fields": _are_indexed}
    return [part for part, holds in found.items() if not _is_so(holds, shard, record)]


def _is_so(holds: Callable[[Any, Sequence[Any]], bool], shard: Any, record: Any) -> bool:
    """Whether something holds of one point; it does not if what it depends on cannot be read."""
    try:
        with translated("vector"):
            return holds(shard, [record])
    except Unavailable:
        return False


def _wrong(record: Any) -> str:
    """Which of payload and dense vector is not what was written; nothing if both are."""
    payload = record.payload or {}
    if payload.get(edge_sums.PAYLOAD) != edge_sums.of_payload(_id(record), payload):
        return "payload"
    dense = (record.vector or {}).get(shards.DENSE)
    return "" if payload.get(edge_sums.DENSE) == (None if dense is None else edge_sums.of_dense(dense)) else "dense"


def _told(record: Any) -> object:
    return (record.payload or {}).get(edge_sums.TOKENS)


def _tokens(shard: Any, records: Sequence[Any]) -> list[str | None]:
    """The sums of the token vectors of *records* as they are read now; None for a point that has none and is to have none."""
    found: dict[str, str | None] = {str(record.id): _MISCOUNTED for record in records}
    for piece in _pieces(records):
        expected = {str(record.id): _row_count(record) for record in piece}
        for one in shard.retrieve([record.id for record in piece], False, [shards.TOKENS]):
            rows = _rows(one)
            if len(rows) == expected[str(one.id)]:
                found[str(one.id)] = edge_sums.of_tokens(rows) if rows else None
    return [found[str(record.id)] for record in records]


def _rows(record: Any) -> Sequence[Sequence[float]]:
    rows: Sequence[Sequence[float]] = (record.vector or {}).get(shards.TOKENS) or ()
    return rows


def _row_count(record: Any) -> int:
    return int((record.payload or {}).get(edge_sums.ROWS, 0))


def _pieces(records: Sequence[Any]) -> Iterator[list[Any]]:
    """*records* in pieces whose token vectors one call may read."""
    piece: list[Any] = []
    rows = 0
    for record in records:
        rows += _row_count(record)
        if piece and rows > ROWS_PER_CALL:
            yield piece
            piece, rows = [], _row_count(record)
        piece.append(record)
    if piece:
        yield piece


def _are_complete(shard: Any, records: Sequence[Any]) -> bool:
    """Whether each window belongs to an event that is there in the same version, with all its windows."""
    wanted: dict[uuid.UUID, int] = {}
    for record in records:
        payload: Mapping[str, Any] = record.payload
        key = EventKey(payload["key"])
        is_lead = _id(record) == edge_points.point_id(key, 0)
        others = range(1, payload["windows"]) if is_lead else range(1)
        wanted |= {edge_points.point_id(key, number): payload["version"] for number in others}
    if not wanted:
        return True
    there = shard.retrieve(list(wanted), ["version"], False)
    return {_id(record): (record.payload or {}).get("version") for record in there} == wanted


def _are_indexed(shard: Any, records: Sequence[Any]) -> bool:
    """Whether the indexes of the fields say of *records* what their payloads say."""
    from qdrant_edge import CountRequest, FacetRequest, FieldCondition, Filter, HasIdCondition, RangeFloat

    if not records:
        return True
    these = Filter(must=[HasIdCondition({record.id for record in records})])
    for field in _KEYWORDS:
        said = Counter(value for record in records for value in _values(record.payload.get(field)))
        answer = shard.facet(FacetRequest(field, limit=len(said) + 1, exact=True, filter=these))
        if {str(hit.value): hit.count for hit in answer.hits if hit.count} != said:
            return False
    timed = [(record.id, record.payload["at"]) for record in records if "at" in record.payload]
    moments: list[Any] = [
        Filter(must=[HasIdCondition({point}), FieldCondition("at", range=RangeFloat(gte=moment, lte=moment))]) for point, moment in timed
    ]
    return not moments or int(shard.count(CountRequest(exact=True, filter=Filter(should=moments)))) == len(moments)


def _values(value: str | Sequence[str] | None) -> Sequence[str]:
    """The values of a field: a list's each once."""
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else sorted(set(value))


def _page(offset: object, *, with_payload: bool, with_vector: Any) -> Any:
    from qdrant_edge import ScrollRequest

    return ScrollRequest(offset=offset, limit=PAGE, with_payload=with_payload, with_vector=with_vector)  # type: ignore[arg-type]


def _id(record: Any) -> uuid.UUID:
    return uuid.UUID(str(record.id))
