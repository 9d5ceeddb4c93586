"""What can go wrong when one talks to Kalends, as callers may rely on it.

Belongs here: the client's tree of errors and the table from a problem's ``code`` to its type. Does not belong here: reading an answer
(``exchanges``). A newcomer would get wrong: every answered problem is also the domain's error of the same name, so code that knows the
domain may catch either.

::

    ClientError                 everything below; ``results`` and ``pending`` say how far an append came
    ├── NotConnected            no URL or no token could be found; says where was looked
    ├── Unreachable             no answer: nothing listens, or the connection broke; ``sent`` says whether the request may have arrived
    ├── Unreadable              an answer that is not what the contract promises
    ├── EventsRejected          some events of an append broke a rule; the others are stored
    ├── WaitedTooLong           an operation or a visibility was not reached in the time allowed
    └── Problem                 the server answered with a problem: ``status``, ``code``, ``request_id``, ``faults``
        ├── Malformed 400         ├── Conflict 409            ├── Invalid 422
        ├── Unauthenticated 401   ├── Gone 410                ├── Throttled 429
        ├── Forbidden 403         ├── TooLarge 413            ├── Unavailable 503
        ├── NotFound 404          ├── UnsupportedMedia 415    └── DeadlineExceeded 504
"""

from collections.abc import Mapping, Sequence
from typing import Any

from kalends.client.results import AppendResult
from kalends.domain import errors as domain
from kalends.domain.errors import Fault


class ClientError(domain.KalendsError):
    """Something went wrong between the caller and Kalends.

    ``results`` are the events that an interrupted append knows to be dealt with; ``pending`` are the others, with the ids they were
    given, so that appending exactly these again is safe.
    """

    code = "client"
    title = "the request failed"

    def __init__(
        self, detail: str = "", *, faults: Sequence[Fault] = (), dependency: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(detail, faults=faults, dependency=dependency, retry_after=retry_after)
        self.results: tuple[AppendResult, ...] = ()
        self.pending: tuple[Mapping[str, Any], ...] = ()


class NotConnected(ClientError):
    """No URL or no token could be found."""

    code = "not_connected"
    title = "no instance to talk to"


class Unreachable(ClientError):
    """The server gave no answer. ``sent`` is False where the request certainly never left."""

    code = "unreachable"
    title = "no answer"

    def __init__(self, detail: str = "", *, sent: bool = True) -> None:
        super().__init__(detail)
        self.sent = sent


class Unreadable(ClientError):
    """The answer is not what the contract promises; something else may be listening there."""

    code = "unreadable"
    title = "unreadable answer"


class EventsRejected(ClientError):
    """Some events broke a rule; ``results`` has one result per event, in order, and the good ones are stored."""

    code = "events_rejected"
    title = "events were rejected"

    def __init__(self, results: Sequence[AppendResult]) -> None:
        rejected = [result for result in results if result.error is not None]
        first = rejected[0].error if rejected else None
        reason = f"; first: {first.pointer} {first.detail}" if first else ""
        super().__init__(f"{len(rejected)} of {len(results)} events were rejected{reason}")
        self.results = tuple(results)


class WaitedTooLong(ClientError):
    """What was waited for did not happen in the time allowed; it may still."""

    code = "waited_too_long"
    title = "waited too long"


class Problem(ClientError):
    """The server answered with a problem (RFC 9457)."""

    code = "internal"
    title = "the server failed"

    def __init__(
        self,
        detail: str = "",
        *,
        faults: Sequence[Fault] = (),
        dependency: str | None = None,
        retry_after: float | None = None,
        status: int = 500,
        request_id: str | None = None,
    ) -> None:
        super().__init__(detail, faults=faults, dependency=dependency, retry_after=retry_after)
        self.status = status
        self.request_id = request_id


class Malformed(Problem, domain.Malformed):
    """The server could not read the request."""

    code = domain.Malformed.code


class Unauthenticated(Problem, domain.Unauthenticated):
    """No token was given, or none that the server knows."""

    code = domain.Unauthenticated.code


class Forbidden(Problem, domain.Forbidden):
    """The token lacks the right that the operation needs."""

    code = domain.Forbidden.code


class NotFound(Problem, domain.NotFound):
    """There is no such thing, or it belongs to somebody else."""

    code = domain.NotFound.code


class Conflict(Problem, domain.Conflict):
    """The same id with other content, or a state that forbids the operation."""

    code = domain.Conflict.code


class Gone(Problem, domain.Gone):
    """It was there and was taken away on purpose."""

    code = domain.Gone.code


class TooLarge(Problem, domain.TooLarge):
    """A size limit was exceeded."""

    code = domain.TooLarge.code


class UnsupportedMedia(Problem, domain.UnsupportedMedia):
    """The content type is not one that the server reads."""

    code = domain.UnsupportedMedia.code


class Invalid(Problem, domain.Invalid):
    """The request breaks a rule; ``faults`` say where."""

    code = domain.Invalid.code


class Throttled(Problem, domain.Throttled):
    """The log is full or too far ahead; nothing was stored."""

    code = domain.Throttled.code


class Unavailable(Problem, domain.Unavailable):
    """A dependency of the server is away; ``dependency`` names it."""

    code = domain.Unavailable.code


class DeadlineExceeded(Problem, domain.DeadlineExceeded):
    """The server ran out of time; whether the work was done is unknown."""

    code = domain.DeadlineExceeded.code


BY_CODE: Mapping[str, type[Problem]] = {
    kind.code: kind
    for kind in (
        Malformed,
        Unauthenticated,
        Forbidden,
        NotFound,
        Conflict,
        Gone,
        TooLarge,
        UnsupportedMedia,
        Invalid,
        Throttled,
        Unavailable,
        DeadlineExceeded,
    )
} | {domain.UnderHold.code: Conflict}
"""The type of error for each ``code`` of a problem; a hold is a conflict whose detail names it."""

BY_STATUS: Mapping[int, type[Problem]] = {
    400: Malformed,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    413: TooLarge,
    415: UnsupportedMedia,
    422: Invalid,
    429: Throttled,
    502: Unavailable,
    503: Unavailable,
    504: DeadlineExceeded,
}
"""For problems with a code that this version does not know, and for proxies that answer in the server's place."""
