"""What Qdrant's answers and its client's exceptions become: two tables and the context manager that applies them.

Belongs here: ``STATUS_ERRORS`` (gRPC), ``HTTP_ERRORS`` (REST), ``CLIENT_ERRORS`` (what the client itself raises), deadlines. Does not
belong here: errors of ours, which pass through. A newcomer would get wrong: Qdrant says INVALID_ARGUMENT both for a vector of another
dimension and for a filter that strict mode forbids; both mean that this collection is not the one that we would have made, so it is a
setting, not an outage.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import grpc
import pydantic
from qdrant_client.common import client_exceptions
from qdrant_client.http import exceptions

from kalends.domain.errors import Conflict, Damaged, DeadlineExceeded, KalendsError, Misconfigured, NotFound, TooLarge, Unavailable

DEPENDENCY = "vector"

_Code = grpc.StatusCode

STATUS_ERRORS: Final[Mapping[Any, type[KalendsError]]] = {
    _Code.CANCELLED: Unavailable,
    _Code.UNKNOWN: Unavailable,
    _Code.INVALID_ARGUMENT: Misconfigured,
    _Code.DEADLINE_EXCEEDED: DeadlineExceeded,
    _Code.NOT_FOUND: NotFound,
    _Code.ALREADY_EXISTS: Conflict,
    _Code.PERMISSION_DENIED: Misconfigured,
    _Code.UNAUTHENTICATED: Misconfigured,
    # with a time to wait where the server names one
    _Code.RESOURCE_EXHAUSTED: Unavailable,
    _Code.FAILED_PRECONDITION: Unavailable,
    _Code.ABORTED: Unavailable,
    _Code.OUT_OF_RANGE: Misconfigured,
    _Code.UNIMPLEMENTED: Misconfigured,
    # disks that are full and shards that cannot answer come as INTERNAL: waiting may help
    _Code.INTERNAL: Unavailable,
    _Code.UNAVAILABLE: Unavailable,
    _Code.DATA_LOSS: Damaged,
}
"""By status; every one but OK is here."""

HTTP_ERRORS: Final[Mapping[int, type[KalendsError]]] = {
    400: Misconfigured,
    401: Misconfigured,
    403: Misconfigured,
    404: NotFound,
    405: Misconfigured,
    408: DeadlineExceeded,
    409: Conflict,
    413: TooLarge,
    422: Misconfigured,
    501: Misconfigured,
    504: DeadlineExceeded,
}
"""By status; any other is ``Unavailable``."""

CLIENT_ERRORS: Final[Mapping[type[Exception], type[KalendsError]]] = {
    client_exceptions.ResourceExhaustedResponse: Unavailable,
    client_exceptions.QdrantException: Unavailable,
    exceptions.ResponseHandlingException: Unavailable,
    exceptions.ApiException: Unavailable,
    # a channel that was closed
    grpc.aio.UsageError: Unavailable,
    grpc.aio.BaseError: Unavailable,
    grpc.RpcError: Unavailable,
    # an answer that is none; over REST that is also how a stored NaN shows
    pydantic.ValidationError: Damaged,
}
"""What the client raises without an answer of the server, the most specific first."""


def translate(error: Exception) -> KalendsError | None:
    """*error* as one of ours, or None if it is not Qdrant's; never with more of its text than the server's own words."""
    if isinstance(error, grpc.aio.AioRpcError):
        said = f"{error.code().name}: {_short(error.details() or '')}"
        return STATUS_ERRORS.get(error.code(), Unavailable)(f"vector: {said}", dependency=DEPENDENCY)
    if isinstance(error, exceptions.UnexpectedResponse):
        said = f"HTTP {error.status_code}: {_short(error.content.decode(errors='replace'))}"
        return HTTP_ERRORS.get(error.status_code or 0, Unavailable)(f"vector: {said}", dependency=DEPENDENCY)
    if isinstance(error, client_exceptions.ResourceExhaustedResponse):
        return Unavailable(f"vector: {_short(str(error))}", dependency=DEPENDENCY, retry_after=float(error.retry_after_s))
    if isinstance(error, exceptions.ResponseHandlingException):
        kinds = [kind.__name__ for kind in type(error.source).__mro__]
        unreadable = isinstance(error.source, pydantic.ValidationError)
        becomes = DeadlineExceeded if "TimeoutException" in kinds else Damaged if unreadable else Unavailable
        return becomes(f"vector: no usable answer: {kinds[0]}", dependency=DEPENDENCY)
    for foreign, ours in CLIENT_ERRORS.items():
        if isinstance(error, foreign):
            return ours(f"vector: {type(error).__name__}", dependency=DEPENDENCY)
    return None


@contextlib.asynccontextmanager
async def translated(*, deadline_s: float) -> AsyncIterator[None]:
    """Let only errors of ours out of the block, and end it after *deadline_s* seconds.

    Raises:
        DeadlineExceeded: the time is over. Unavailable, NotFound, Conflict, Misconfigured, Damaged, TooLarge: by the tables.
    """
    try:
        async with asyncio.timeout(deadline_s):
            yield
    except KalendsError:
        raise
    except TimeoutError as error:
        raise DeadlineExceeded(f"vector: no answer within {deadline_s:g} s", dependency=DEPENDENCY) from error
    except Exception as error:
        ours = translate(error)
        if ours is None:
            raise
        raise ours from error


def _short(text: str) -> str:
    return text if len(text) <= 300 else text[:297] + "..."
