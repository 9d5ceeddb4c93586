"""What the HTTP client's own exceptions become on the way to Vault.

Belongs here: ``HTTP_ERRORS``. Does not belong here: when a call is tried again (``connection``). A newcomer would get wrong: the text of a
foreign exception is left out, because it may quote what was sent, and that is a key.
"""

from collections.abc import Mapping
from typing import Final

import httpx

from kalends.domain.errors import DeadlineExceeded, KalendsError, Misconfigured, Unavailable

DEPENDENCY = "vault"

HTTP_ERRORS: Final[Mapping[type[Exception], type[KalendsError]]] = {
    httpx.TimeoutException: DeadlineExceeded,
    httpx.HTTPError: Unavailable,
    httpx.InvalidURL: Misconfigured,
    httpx.StreamError: Unavailable,
}
"""What httpx's exceptions become, the most specific first."""


def translate(error: Exception) -> KalendsError:
    """Our error for httpx's."""
    ours = next((ours for foreign, ours in HTTP_ERRORS.items() if isinstance(error, foreign)), Unavailable)
    return ours(f"Vault cannot be asked: {type(error).__name__}", dependency=DEPENDENCY)
