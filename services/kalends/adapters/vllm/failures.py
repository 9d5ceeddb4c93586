"""What the HTTP client's own exceptions become: one table for every model that is asked over HTTP.

Belongs here: ``HTTP_ERRORS`` and the words of an error. Does not belong here: when a call is tried again (``connection``). A newcomer would
get wrong: the text of a foreign exception and the body of a refusal are left out, because either may quote what was sent.
"""

from collections.abc import Mapping
from typing import Final

import httpx

from kalends.domain.errors import DeadlineExceeded, Invalid, KalendsError, Misconfigured, Unavailable

HTTP_ERRORS: Final[Mapping[type[Exception], type[KalendsError]]] = {
    httpx.TimeoutException: DeadlineExceeded,
    httpx.HTTPError: Unavailable,
    httpx.InvalidURL: Misconfigured,
    httpx.StreamError: Unavailable,
}
"""What httpx's exceptions become, the most specific first."""

NEVER_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout)
"""Nothing has reached the server, so another try does nothing twice."""

_REFUSED = frozenset({400, 413, 422})
"""The server has read the question and will not answer it, however often it is asked."""


def translate(error: Exception, *, dependency: str, subject: str) -> KalendsError:
    """Our error for httpx's; *subject* is what was asked, in words."""
    kind = type(error).__name__
    for foreign, ours in HTTP_ERRORS.items():
        if isinstance(error, foreign):
            return ours(f"{subject} cannot be asked: {kind}", dependency=dependency)
    return Unavailable(f"{subject} cannot be asked: {kind}", dependency=dependency)


def refusal(status: int, *, dependency: str, subject: str) -> KalendsError:
    """Our error for an answer with *status*, which is none of a success."""
    if status in _REFUSED:
        return Invalid(f"{subject} refuses the question: HTTP status {status}", dependency=dependency)
    return Unavailable(f"{subject} answers with HTTP status {status}", dependency=dependency)
