"""Problems: what a caller learns of an error (RFC 9457), the same over HTTP and NATS.

Belongs here: the one table from error types to statuses, and the body that is made of them. Does not belong here: raising
(everywhere else), headers of a transport (``http``, ``nats``). A newcomer would get wrong: an error that nobody named becomes a 500
without any detail, and its message is not even logged, because it may hold what somebody told an agent.
"""

import traceback
from collections.abc import Mapping
from typing import Any

import msgspec
import structlog

from kalends.domain import errors

log = structlog.get_logger(__name__)

STATUSES: Mapping[type[errors.KalendsError], int] = {
    errors.Malformed: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.UnderHold: 409,
    errors.Gone: 410,
    errors.TooLarge: 413,
    errors.UnsupportedMedia: 415,
    errors.Invalid: 422,
    errors.Throttled: 429,
    errors.KalendsError: 500,
    errors.Damaged: 500,
    errors.Misconfigured: 500,
    errors.Occupied: 503,
    errors.Unavailable: 503,
    errors.DeadlineExceeded: 504,
}
"""Every error type and its status; a test holds that none is missing."""

CONTENT_TYPE = "application/problem+json"


class ProblemFault(msgspec.Struct, frozen=True, kw_only=True):
    """One thing wrong with an input; ``pointer`` is a JSON pointer into it."""

    pointer: str
    detail: str
    code: str


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of every answer that is not a success."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: tuple[ProblemFault, ...] = ()
    retry_after_s: float | None = None
    dependency: str | None = None


def problem(error: errors.KalendsError, *, status: int, request_id: str) -> Problem:
    """*error* as a body with *status*; the detail of a 500 stays inside."""
    return Problem(
        type=f"urn:kalends:problem:{error.code}",
        title=error.title,
        status=status,
        detail=error.title if status == 500 else error.detail,
        code=error.code,
        request_id=request_id,
        errors=tuple(ProblemFault(pointer=fault.pointer, detail=fault.detail, code=fault.code) for fault in error.faults),
        retry_after_s=error.retry_after,
        dependency=error.dependency,
    )


def method_not_allowed(request_id: str) -> Problem:
    """The path is known, the method is not; only HTTP has such a thing, so it is no error of the domain."""
    return Problem(
        type="urn:kalends:problem:method_not_allowed",
        title="method not allowed",
        status=405,
        detail="the Allow header names the methods of this path",
        code="method_not_allowed",
        request_id=request_id,
    )


def problem_of(error: BaseException, *, request_id: str) -> Problem:
    """What a caller is told of *error*. Errors without a name are logged with their place and told without any detail."""
    named = named_error(error)
    if named is None:
        log.error("unexpected error", request_id=request_id, error_type=type(error).__name__, places=places(error))
        return problem(errors.KalendsError(), status=500, request_id=request_id)
    status = status_of(named)
    if status == 500:
        log.error("internal error", request_id=request_id, code=named.code, detail=named.detail, places=places(named))
    return problem(named, status=status, request_id=request_id)


def status_of(error: errors.KalendsError) -> int:
    """The status of the nearest type in the table."""
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


def named_error(error: BaseException) -> errors.KalendsError | None:
    """*error* in the domain's words: itself, a time-out, or the first of a group in which all have a name."""
    if isinstance(error, errors.KalendsError):
        return error
    if isinstance(error, TimeoutError):
        return errors.DeadlineExceeded("no answer within the time allowed")
    if isinstance(error, BaseExceptionGroup):
        members = [named_error(member) for member in error.exceptions]
        return members[0] if all(members) else None
    return None


def places(error: BaseException) -> list[str]:
    """Where *error* came from, outermost first, without messages or values: those may hold content."""
    found = [f"{frame.name}:{frame.lineno} in {frame.filename.rsplit('/', 1)[-1]}" for frame in traceback.extract_tb(error.__traceback__)]
    if error.__cause__ is not None:
        found += [f"caused by {type(error.__cause__).__name__}", *places(error.__cause__)]
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            found += [f"holds {type(member).__name__}", *places(member)]
    return found


_ENCODER = msgspec.json.Encoder()


def encode(body: Any) -> bytes:
    """*body* as JSON."""
    return _ENCODER.encode(body)
