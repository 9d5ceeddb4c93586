"""The two gRPC services, as far as Kalends uses them.

Belongs here: one method for each call, and what strict mode refuses. Does not belong here: what is kept (``shelf``). A newcomer would get
wrong: each method runs to its end before the next one begins, so two writers meet here only between calls, as they do at one shard of a
real server.
"""

from collections.abc import Callable
from typing import Any

import grpc as rpc
import qdrant_edge as edge
from qdrant_client import grpc

from tests.support.qdrant_wire import conversions
from tests.support.qdrant_wire.conversions import Refused
from tests.support.qdrant_wire.shelf import Collection, Shelf


async def answer(context: Any, call: Callable[[], Any]) -> Any:
    """What *call* returns, or the status that it refuses with; what the engine refuses is the caller's fault here."""
    try:
        return call()
    except Refused as refused:
        return await context.abort(refused.code, refused.details)
    except Exception as error:  # noqa: BLE001 - the engine raises nothing else, and its words go to who asked
        return await context.abort(rpc.StatusCode.INTERNAL, f"Service internal error: {error!r}"[:400])


class Collections(grpc.CollectionsServicer):  # type: ignore[misc]  # grpc's classes are untyped
    """Making, changing and naming collections."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    async def Create(self, request, context):  # noqa: N802 - the service's own name
        return await answer(context, lambda: self._did(self._shelf.create(request)))

    async def Update(self, request, context):  # noqa: N802 - the service's own name
        return await answer(context, lambda: self._did(self._shelf.find(request.collection_name).change(request)))

    async def Delete(self, request, context):  # noqa: N802 - the service's own name
        return await answer(context, lambda: grpc.CollectionOperationResponse(result=self._shelf.delete(request.collection_name)))

    async def UpdateAliases(self, request, context):  # noqa: N802 - the service's own name
        return await answer(context, lambda: self._did(self._shelf.point(list(request.actions))))

    async def List(self, request, context):  # noqa: N802 - the service's own name
        found = [grpc.CollectionDescription(name=name) for name in sorted(self._shelf.collections)]
        return grpc.ListCollectionsResponse(collections=found)

    async def ListAliases(self, request, context):  # noqa: N802 - the service's own name
        found = [grpc.AliasDescription(alias_name=alias, collection_name=name) for alias, name in self._shelf.aliases.items()]
        return grpc.ListAliasesResponse(aliases=found)

    async def Get(self, request, context):  # noqa: N802 - the service's own name
        return await answer(context, lambda: grpc.GetCollectionInfoResponse(result=self._shelf.find(request.collection_name).info()))

    async def CollectionExists(self, request, context):  # noqa: N802 - the service's own name
        name = request.collection_name
        exists = name in self._shelf.collections or name in self._shelf.aliases
        return grpc.CollectionExistsResponse(result=grpc.CollectionExists(exists=exists))

    def _did(self, _: None) -> grpc.CollectionOperationResponse:
        return grpc.CollectionOperationResponse(result=True)


class Points(grpc.PointsServicer):  # type: ignore[misc]  # grpc's classes are untyped
    """Writing and asking."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    async def Upsert(self, request, context):  # noqa: N802 - the service's own name
        return await answer(context, lambda: self._upsert(self._shelf.find(request.collection_name), request))

    async def Delete(self, request, context):  # noqa: N802 - the service's own name
        return await answer(context, lambda: self._delete(self._shelf.find(request.collection_name), request))

    async def CreateFieldIndex(self, request, context):  # noqa: N802 - the service's own name
        def call():
            self._shelf.find(request.collection_name).index(request)
            return _done(request)

        return await answer(context, call)

    async def Get(self, request, context):  # noqa: N802 - the service's own name
        return await answer(context, lambda: self._get(self._shelf.find(request.collection_name), request))

    async def Scroll(self, request, context):  # noqa: N802 - the service's own name
        return await answer(context, lambda: self._scroll(self._shelf.find(request.collection_name), request))

    async def Count(self, request, context):  # noqa: N802 - the service's own name
        return await answer(context, lambda: self._count(self._shelf.find(request.collection_name), request))

    async def Query(self, request, context):  # noqa: N802 - the service's own name
        return await answer(context, lambda: self._query(self._shelf.find(request.collection_name), request))

    async def Facet(self, request, context):  # noqa: N802 - the service's own name
        return await answer(context, lambda: self._facet(self._shelf.find(request.collection_name), request))

    def _upsert(self, collection: Collection, request: grpc.UpsertPoints) -> grpc.PointsOperationResponse:
        most = collection.strict.upsert_max_batchsize
        if most and len(request.points) > most:
            raise Refused(rpc.StatusCode.INVALID_ARGUMENT, f"Bad request: Upsert limit exceeded {len(request.points)} > {most}")
        _indexed(collection, request.update_filter, strict=_refuses(collection, "unindexed_filtering_update"))
        points = [conversions.point(point, collection.sizes) for point in request.points]
        if points:
            condition = conversions.condition(request.update_filter)
            collection.shard.update(edge.UpdateOperation.upsert_points(points, condition, conversions.mode(request.update_mode)))
        return _done(request)

    def _delete(self, collection: Collection, request: grpc.DeletePoints) -> grpc.PointsOperationResponse:
        if request.points.WhichOneof("points_selector_one_of") == "points":
            doomed = [conversions.point_id(one) for one in request.points.points.ids]
            if doomed:
                collection.shard.update(edge.UpdateOperation.delete_points(doomed))
            return _done(request)
        _indexed(collection, request.points.filter, strict=_refuses(collection, "unindexed_filtering_update"))
        condition = conversions.condition(request.points.filter) or edge.Filter()
        collection.shard.update(edge.UpdateOperation.delete_points_by_filter(condition))
        return _done(request)

    def _get(self, collection: Collection, request: grpc.GetPoints) -> grpc.GetResponse:
        _timely(collection, request)
        wanted = [conversions.point_id(one) for one in request.ids]
        found = collection.shard.retrieve(wanted, conversions.selector(request.with_payload), False) if wanted else []
        return grpc.GetResponse(result=[_retrieved(record) for record in found])

    def _scroll(self, collection: Collection, request: grpc.ScrollPoints) -> grpc.ScrollResponse:
        _timely(collection, request)
        limit = request.limit if request.HasField("limit") else 10
        _limited(collection, limit)
        _indexed(collection, request.filter, strict=_refuses(collection, "unindexed_filtering_retrieve"))
        asked = edge.ScrollRequest(
            offset=conversions.point_id(request.offset) if request.HasField("offset") else None,
            limit=limit,
            filter=conversions.condition(request.filter),
            with_payload=conversions.selector(request.with_payload),
            with_vector=False,
        )
        records, following = collection.shard.scroll(asked)
        found = grpc.ScrollResponse(result=[_retrieved(record) for record in records])
        if following is not None:
            found.next_page_offset.CopyFrom(conversions.given_id(following))
        return found

    def _count(self, collection: Collection, request: grpc.CountPoints) -> grpc.CountResponse:
        _timely(collection, request)
        _indexed(collection, request.filter, strict=_refuses(collection, "unindexed_filtering_retrieve"))
        asked = edge.CountRequest(exact=request.exact, filter=conversions.condition(request.filter))
        return grpc.CountResponse(result=grpc.CountResult(count=collection.shard.count(asked)))

    def _query(self, collection: Collection, request: grpc.QueryPoints) -> grpc.QueryResponse:
        _timely(collection, request)
        limit = request.limit if request.HasField("limit") else 10
        _limited(collection, limit)
        _indexed(collection, request.filter, strict=_refuses(collection, "unindexed_filtering_retrieve"))
        if request.params.exact and _refuses(collection, "search_allow_exact"):
            raise Refused(rpc.StatusCode.INVALID_ARGUMENT, "Bad request: Exact search is not allowed in strict mode")
        vector = conversions.query_vector(request.query)
        conversions.check_vector(request.using, vector, collection.sizes)
        asked = edge.QueryRequest(
            limit=limit,
            query=edge.Query.Nearest(vector, request.using),
            filter=conversions.condition(request.filter),
            with_payload=conversions.selector(request.with_payload),
        )
        return grpc.QueryResponse(result=[_scored(point) for point in collection.shard.query(asked)])

    def _facet(self, collection: Collection, request: grpc.FacetCounts) -> grpc.FacetResponse:
        _timely(collection, request)
        limit = request.limit if request.HasField("limit") else 10
        _limited(collection, limit)
        _indexed(collection, request.filter, strict=_refuses(collection, "unindexed_filtering_retrieve"))
        if request.key not in collection.indexed:
            raise Refused(rpc.StatusCode.INVALID_ARGUMENT, f"Bad request: Index required but not found for {request.key}")
        asked = edge.FacetRequest(request.key, limit=limit, exact=request.exact, filter=conversions.condition(request.filter))
        hits = [
            grpc.FacetHit(value=grpc.FacetValue(string_value=str(hit.value)), count=hit.count) for hit in collection.shard.facet(asked).hits
        ]
        return grpc.FacetResponse(hits=hits)


def _refuses(collection: Collection, name: str) -> bool:
    strict = collection.strict
    return strict.HasField(name) and not getattr(strict, name)


def _limited(collection: Collection, limit: int) -> None:
    most = collection.strict.max_query_limit
    if most and limit > most:
        raise Refused(rpc.StatusCode.INVALID_ARGUMENT, f'Bad request: Limit exceeded {limit} > {most} for "limit"')


def _timely(collection: Collection, request: Any) -> None:
    most = collection.strict.max_timeout
    if most and request.timeout > most:
        raise Refused(rpc.StatusCode.INVALID_ARGUMENT, f'Bad request: Limit exceeded {request.timeout} > {most} for "timeout"')


def _indexed(collection: Collection, given: grpc.Filter, *, strict: bool) -> None:
    missing = sorted(set(conversions.fields(given)) - set(collection.indexed)) if strict else []
    if missing:
        raise Refused(rpc.StatusCode.INVALID_ARGUMENT, f'Bad request: Index required but not found for "{missing[0]}"')


def _done(request: Any) -> grpc.PointsOperationResponse:
    status = grpc.UpdateStatus.Completed if request.wait else grpc.UpdateStatus.Acknowledged
    return grpc.PointsOperationResponse(result=grpc.UpdateResult(operation_id=0, status=status))


def _retrieved(record: edge.Record) -> grpc.RetrievedPoint:
    return grpc.RetrievedPoint(id=conversions.given_id(record.id), payload=conversions.payload(record.payload))


def _scored(point: edge.ScoredPoint) -> grpc.ScoredPoint:
    return grpc.ScoredPoint(id=conversions.given_id(point.id), payload=conversions.payload(point.payload), score=point.score)
