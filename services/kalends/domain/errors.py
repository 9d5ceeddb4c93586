"""The tree of everything that can go wrong, as callers may rely on it.

Belongs here: error types, their stable ``code`` and nothing else. Does not belong here: what a transport makes of them
(``edge/problems.py`` for HTTP and NATS, ``index/verdicts.py`` for acks). The one fact a newcomer would get wrong: what belongs to
somebody else is ``NotFound``, never ``Forbidden``, so that nobody learns that it exists.

::

    KalendsError
    ├── Malformed            the bytes are not what the operation reads (400)
    ├── Invalid              well-formed, but against a rule (422)
    ├── Unauthenticated      no credential, or none that is known (401)
    ├── Forbidden            the credential lacks the right (403)
    ├── NotFound             unknown, or another tenant's (404)
    ├── Conflict             same id, other content; or the state forbids it (409)
    │   └── UnderHold        somebody decided that it must stay (409)
    ├── Gone                 erased or retracted (410)
    ├── TooLarge             over a limit of size (413)
    ├── UnsupportedMedia     not a type that is read here (415)
    ├── Throttled            the log is full or too far ahead; try later (429)
    ├── Unavailable          a dependency is away; names it (503)
    ├── DeadlineExceeded     no answer within the time allowed (504)
    ├── Damaged              stored bytes that cannot be what was written
    ├── Misconfigured        a setting that cannot work; says which
    └── Occupied             a port, a folder or a lock that somebody else holds
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing wrong with an input: where (a JSON pointer), what, and a stable code."""

    pointer: str
    detail: str
    code: str = "invalid"


class KalendsError(Exception):
    """Something that Kalends knows how to name went wrong.

    ``reason`` is a word for metrics and the audit, finer than the type and never told to whoever asked.
    """

    code = "internal"
    title = "internal error"

    def __init__(
        self,
        detail: str = "",
        *,
        faults: Sequence[Fault] = (),
        dependency: str | None = None,
        retry_after: float | None = None,
        reason: str = "",
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.faults = tuple(faults)
        self.dependency = dependency
        self.retry_after = retry_after
        self.reason = reason


class Malformed(KalendsError):
    """The request cannot be read."""

    code = "malformed"
    title = "malformed request"


class Invalid(KalendsError):
    """The request can be read but breaks a rule."""

    code = "invalid"
    title = "invalid request"


class Unauthenticated(KalendsError):
    """No credential was given, or none that is known."""

    code = "unauthenticated"
    title = "authentication required"


class Forbidden(KalendsError):
    """The credential does not carry the right that the operation needs."""

    code = "forbidden"
    title = "right missing"


class NotFound(KalendsError):
    """There is no such thing, or it belongs to somebody else."""

    code = "not_found"
    title = "not found"


class Conflict(KalendsError):
    """The same identity with other content, or a state that forbids the operation."""

    code = "conflict"
    title = "conflict"


class UnderHold(Conflict):
    """A hold keeps what was to be erased; the detail names the hold."""

    code = "held"
    title = "under hold"


class Gone(KalendsError):
    """It was here and has been taken away on purpose."""

    code = "gone"
    title = "erased"


class TooLarge(KalendsError):
    """A size limit was exceeded."""

    code = "too_large"
    title = "too large"


class UnsupportedMedia(KalendsError):
    """The content type is not one that is read here."""

    code = "unsupported_media_type"
    title = "unsupported media type"


class Throttled(KalendsError):
    """The log is full, or the projections are too far behind; nothing was stored."""

    code = "throttled"
    title = "too many requests"


class Unavailable(KalendsError):
    """A dependency does not answer; ``dependency`` names it."""

    code = "unavailable"
    title = "dependency unavailable"


class DeadlineExceeded(KalendsError):
    """No answer within the time allowed; whether the work was done is unknown."""

    code = "deadline_exceeded"
    title = "deadline exceeded"


class Damaged(KalendsError):
    """Stored bytes are not what was written; retrying cannot help."""

    code = "damaged"
    title = "damaged data"


class Misconfigured(KalendsError):
    """A setting cannot work; the detail names it."""

    code = "misconfigured"
    title = "misconfigured"


class Occupied(KalendsError):
    """A port, a folder or a lock is held by somebody else; the detail says by whom."""

    code = "occupied"
    title = "already in use"
