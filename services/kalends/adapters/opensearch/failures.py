"""What OpenSearch's refusals and its client's exceptions become: one table for all of them.

Belongs here: ``OPENSEARCH_ERRORS``, ``STATUS_ERRORS`` and what applies them. Does not belong here: what is tried again (``client``,
``writing``). A newcomer would get wrong: a password that has run out or a missing index is ``Unavailable``, because it is no fault of what
is written, which would be put aside as unreadable after any other error; and the text of a refusal is left out, because it may quote what
was sent, which is somebody's memory. Only the server's name of the error is kept, and only if it looks like one.
"""

import re
import ssl
from collections.abc import Iterator, Mapping
from typing import Final

import aiohttp
import opensearchpy

from kalends.domain.errors import Damaged, DeadlineExceeded, KalendsError, Misconfigured, NotFound, TooLarge, Unavailable

DEPENDENCY = "lexical"
RETRY_AFTER_S = 1.0

OPENSEARCH_ERRORS: Final[Mapping[type[Exception], type[KalendsError]]] = {
    opensearchpy.exceptions.ConnectionTimeout: DeadlineExceeded,
    opensearchpy.exceptions.SSLError: Unavailable,
    opensearchpy.exceptions.ConnectionError: Unavailable,
    opensearchpy.exceptions.NotFoundError: NotFound,
    opensearchpy.exceptions.ConflictError: Unavailable,
    opensearchpy.exceptions.RequestError: Damaged,
    opensearchpy.exceptions.AuthenticationException: Unavailable,
    opensearchpy.exceptions.AuthorizationException: Unavailable,
    opensearchpy.exceptions.TransportError: Unavailable,
    opensearchpy.exceptions.SerializationError: Unavailable,
    opensearchpy.exceptions.ImproperlyConfigured: Misconfigured,
    opensearchpy.exceptions.OpenSearchException: Unavailable,
}
"""What the client's exceptions become, the most specific first."""

STATUS_ERRORS: Final[Mapping[int, type[KalendsError]]] = {
    400: Damaged,
    404: NotFound,
    408: DeadlineExceeded,
    413: TooLarge,
    504: DeadlineExceeded,
}
"""What a status of a refusal becomes, be it of a request or of one item of a bulk; every other one is ``Unavailable``."""

BLOCKED = "cluster_block_exception"
"""Writing is forbidden, as on a full disk: waiting within a request does not help, and the status (429, 403 or 503) says nothing."""

EXISTS = "resource_already_exists_exception"

_TLS = (ssl.SSLError, ssl.CertificateError, aiohttp.ClientSSLError)
_NAME = re.compile(r"[a-z][a-z0-9_]{2,79}")


def translate(error: Exception) -> KalendsError:
    """Our error for one of the client's; its text is left out."""
    if isinstance(error, opensearchpy.exceptions.TransportError) and isinstance(error.status_code, int):
        return refusal(error.status_code, name_of(error))
    kind = type(error).__name__
    for foreign, ours in OPENSEARCH_ERRORS.items():
        if isinstance(error, foreign):
            return ours(f"OpenSearch cannot be asked: {kind}", dependency=DEPENDENCY, retry_after=_after(ours))
    return Unavailable(f"OpenSearch cannot be asked: {kind}", dependency=DEPENDENCY, retry_after=RETRY_AFTER_S)


def refusal(status: int, name: str = "") -> KalendsError:
    """Our error for a refusal with *status* that OpenSearch calls *name*."""
    ours = Unavailable if name == BLOCKED else STATUS_ERRORS.get(status, Unavailable)
    said = f", {name}" if _NAME.fullmatch(name) else ""
    return ours(f"OpenSearch answers with status {status}{said}", dependency=DEPENDENCY, retry_after=_after(ours))


def name_of(error: Exception) -> str:
    """The server's name of what went wrong; empty if it gave none."""
    said = getattr(error, "error", "") if isinstance(error, opensearchpy.exceptions.TransportError) else ""
    return said if isinstance(said, str) and _NAME.fullmatch(said) else ""


def is_our_fault(error: Exception) -> bool:
    """Whether *error* is about credentials or certificates, which only a change of the settings mends."""
    if not isinstance(error, opensearchpy.exceptions.TransportError):
        return False
    return error.status_code in {401, 403} or any(isinstance(cause, _TLS) for cause in _causes(error))


def _causes(error: opensearchpy.exceptions.TransportError) -> Iterator[BaseException]:
    """What the client and its HTTP client say was the cause, outermost first."""
    told = error.args[2] if len(error.args) > 2 else None
    found: BaseException | None = told if isinstance(told, BaseException) else None
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__


def _after(ours: type[KalendsError]) -> float | None:
    return RETRY_AFTER_S if ours in {Unavailable, DeadlineExceeded} else None
