"""What the exceptions of PyJWT and httpx become: two tables.

Belongs here: ``JWT_ERRORS`` and ``HTTP_ERRORS``, each the most specific first. Does not belong here: errors of ours. A newcomer would get
wrong: nothing of a token is ever part of an error, because whoever reads the log could use it; callers get one text for every refusal, and
only metrics and the audit learn the reason.
"""

from collections.abc import Mapping
from typing import Final

import httpx
import jwt

from kalends.domain.errors import DeadlineExceeded, KalendsError, Misconfigured, Unauthenticated, Unavailable

DEPENDENCY = "identities"
REFUSED = "the token is not accepted"

JWT_ERRORS: Final[Mapping[type[Exception], str]] = {
    jwt.exceptions.ExpiredSignatureError: "expired",
    jwt.exceptions.ImmatureSignatureError: "not_yet",
    jwt.exceptions.InvalidAudienceError: "audience",
    jwt.exceptions.InvalidIssuerError: "issuer",
    jwt.exceptions.InvalidSignatureError: "signature",
    jwt.exceptions.InvalidAlgorithmError: "algorithm",
    jwt.exceptions.InvalidIssuedAtError: "claims",
    jwt.exceptions.InvalidJTIError: "claims",
    jwt.exceptions.InvalidSubjectError: "claims",
    jwt.exceptions.MissingRequiredClaimError: "claims",
    jwt.exceptions.DecodeError: "form",
    jwt.exceptions.InvalidKeyError: "key",
    jwt.exceptions.InvalidTokenError: "form",
    jwt.exceptions.PyJWTError: "form",
    RecursionError: "form",
    ValueError: "form",
    OverflowError: "claims",
    TypeError: "form",
}
"""Why a token is refused, as a word for metrics and the audit."""

HTTP_ERRORS: Final[Mapping[type[Exception], type[KalendsError]]] = {
    httpx.InvalidURL: Misconfigured,
    httpx.UnsupportedProtocol: Misconfigured,
    httpx.TimeoutException: DeadlineExceeded,
    httpx.HTTPError: Unavailable,
    httpx.StreamError: Unavailable,
}


def refused(reason: str) -> Unauthenticated:
    """The one answer to every token that is not accepted."""
    return Unauthenticated(REFUSED, reason=reason)


def refusal(error: Exception) -> Unauthenticated:
    """Why a token that *error* was raised for is refused."""
    return refused(next(reason for kind, reason in JWT_ERRORS.items() if isinstance(error, kind)))


def unreachable(error: Exception, *, name: str) -> KalendsError:
    """What became of a request to *name* that raised *error*."""
    kind = next((ours for foreign, ours in HTTP_ERRORS.items() if isinstance(error, foreign)), Unavailable)
    return kind(f"{name} cannot be asked: {type(error).__name__}", dependency=DEPENDENCY, retry_after=1.0)
