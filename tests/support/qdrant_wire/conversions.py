"""gRPC messages to qdrant-edge's values and back.

Belongs here: translation without state. Does not belong here: a decision about a request. A newcomer would get wrong: what cannot be
translated is refused as INVALID_ARGUMENT if a real server refuses it, and as UNIMPLEMENTED if only this one does not know it.
"""

import uuid
from collections.abc import Iterable, Iterator
from typing import Any

import grpc as rpc
import qdrant_edge as edge
from qdrant_client import grpc
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc

_DISTANCES = {grpc.Cosine: edge.Distance.Cosine, grpc.Dot: edge.Distance.Dot, grpc.Euclid: edge.Distance.Euclid}
_DATATYPES = {grpc.Float16: edge.VectorStorageDatatype.Float16}
_MODES = {
    grpc.UpdateMode.Upsert: edge.UpdateMode.Upsert,
    grpc.UpdateMode.InsertOnly: edge.UpdateMode.InsertOnly,
    grpc.UpdateMode.UpdateOnly: edge.UpdateMode.UpdateOnly,
}


class Refused(Exception):
    """The request is answered with a status that is no success."""

    def __init__(self, code: rpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


def invalid(details: str) -> Refused:
    """A request that a real server refuses too."""
    return Refused(rpc.StatusCode.INVALID_ARGUMENT, f"Wrong input: {details}")


def unknown(details: str) -> Refused:
    """A request that only this server does not know."""
    return Refused(rpc.StatusCode.UNIMPLEMENTED, f"qdrant_wire does not know {details}")


def vector_params(params: grpc.VectorParams) -> edge.EdgeVectorParams:
    """One named vector's settings; graphs, disks and quantization are left out."""
    if params.distance not in _DISTANCES:
        raise unknown(f"the distance {params.distance}")
    multi = params.HasField("multivector_config")
    return edge.EdgeVectorParams(
        size=params.size,
        distance=_DISTANCES[params.distance],
        datatype=_DATATYPES.get(params.datatype, edge.VectorStorageDatatype.Float32),
        multivector_config=edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim) if multi else None,
    )


def index_params(request: grpc.CreateFieldIndexCollection) -> Any:
    """A payload index's settings."""
    params = request.field_index_params
    match request.field_type:
        case grpc.FieldType.FieldTypeKeyword:
            return edge.KeywordIndexParams(is_tenant=params.keyword_index_params.is_tenant)
        case grpc.FieldType.FieldTypeInteger:
            bounds = params.integer_index_params
            known = params.HasField("integer_index_params")
            return edge.IntegerIndexParams(lookup=bounds.lookup if known else True, range=bounds.range if known else True)
    raise unknown(f"an index of type {request.field_type}")


def point_id(given: grpc.PointId) -> int | uuid.UUID:
    """A point's id."""
    if given.WhichOneof("point_id_options") == "num":
        return int(given.num)
    try:
        return uuid.UUID(given.uuid)
    except ValueError:
        raise invalid(f"Unable to parse UUID: {given.uuid}") from None


def given_id(found: Any) -> grpc.PointId:
    """A point's id, on its way back."""
    return grpc.PointId(num=found) if isinstance(found, int) else grpc.PointId(uuid=str(found))


def point(given: grpc.PointStruct, sizes: dict[str, int]) -> edge.Point:
    """A point whose vectors are among *sizes*, by name."""
    named = {name: _vector(vector) for name, vector in given.vectors.vectors.vectors.items()}
    for name, vector in named.items():
        check_vector(name, vector, sizes)
    known = GrpcToRest.convert_payload(given.payload)
    return edge.Point(point_id(given.id), named, known)


def check_vector(name: str, vector: Any, sizes: dict[str, int]) -> None:
    """Refuse a vector that no index of this collection has, or whose rows have another length."""
    if name not in sizes:
        raise invalid(f"Not existing vector name error: {name}")
    for row in vector if vector and isinstance(vector[0], list) else [vector]:
        if len(row) != sizes[name]:
            raise invalid(f"Vector dimension error: expected dim: {sizes[name]}, got {len(row)}")


def query_vector(given: grpc.Query) -> Any:
    """The vector of a nearest-neighbour query."""
    if given.WhichOneof("variant") != "nearest":
        raise unknown(f"the query {given.WhichOneof('variant')}")
    kind = given.nearest.WhichOneof("variant")
    if kind == "dense":
        return list(given.nearest.dense.data)
    if kind == "multi_dense":
        return [list(row.data) for row in given.nearest.multi_dense.vectors]
    raise unknown(f"a query by {kind}")


def condition(given: grpc.Filter | None) -> edge.Filter | None:
    """A filter, or none if it is empty."""
    if given is None or not (given.must or given.should or given.must_not):
        return None
    return edge.Filter(
        must=[_condition(one) for one in given.must] or None,
        should=[_condition(one) for one in given.should] or None,
        must_not=[_condition(one) for one in given.must_not] or None,
    )


def fields(given: grpc.Filter) -> Iterator[str]:
    """Every field that a filter asks for."""
    for one in (*given.must, *given.should, *given.must_not):
        kind = one.WhichOneof("condition_one_of")
        if kind == "filter":
            yield from fields(one.filter)
        elif kind in {"field", "is_empty", "is_null"}:
            yield getattr(one, kind).key


def mode(given: Any) -> edge.UpdateMode:
    """How an upsert treats what is there."""
    return _MODES[given]


def selector(given: grpc.WithPayloadSelector) -> Any:
    """Which fields of the payload are wanted."""
    match given.WhichOneof("selector_options"):
        case "include":
            return edge.PayloadSelector.Include(list(given.include.fields))
        case "exclude":
            return edge.PayloadSelector.Exclude(list(given.exclude.fields))
    return bool(given.enable)


def payload(found: dict[str, Any] | None) -> dict[str, grpc.Value]:
    """A payload, on its way back."""
    return RestToGrpc.convert_payload(found or {})


def _vector(given: grpc.Vector) -> Any:
    match given.WhichOneof("vector"):
        case "dense":
            return list(given.dense.data)
        case "multi_dense":
            return [list(row.data) for row in given.multi_dense.vectors]
    raise unknown(f"a vector as {given.WhichOneof('vector')}")


def _condition(given: grpc.Condition) -> Any:
    match given.WhichOneof("condition_one_of"):
        case "filter":
            return condition(given.filter) or edge.Filter()
        case "has_id":
            return edge.HasIdCondition({point_id(one) for one in given.has_id.has_id})
        case "field":
            return _field(given.field)
    raise unknown(f"the condition {given.WhichOneof('condition_one_of')}")


def _field(given: grpc.FieldCondition) -> edge.FieldCondition:
    if given.HasField("range"):
        bounds = {name: getattr(given.range, name) for name in ("gte", "gt", "lte", "lt") if given.range.HasField(name)}
        return edge.FieldCondition(given.key, range=edge.RangeFloat(**bounds))
    match given.match.WhichOneof("match_value"):
        case "keyword":
            return edge.FieldCondition(given.key, match=edge.MatchValue(given.match.keyword))
        case "integer":
            return edge.FieldCondition(given.key, match=edge.MatchValue(given.match.integer))
        case "keywords":
            return edge.FieldCondition(given.key, match=edge.MatchAny(_strings(given.match.keywords.strings)))
    raise unknown(f"a match by {given.match.WhichOneof('match_value')}")


def _strings(given: Iterable[str]) -> list[str]:
    return list(given)
