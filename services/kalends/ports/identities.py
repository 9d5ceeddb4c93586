"""Identities: credentials that somebody else issued, and whom they stand for here.

A newcomer would get wrong: an issuer that is away is ``Unavailable``, never ``Unauthenticated``: a client that gets 401 throws its
credential away.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from kalends.domain.credentials import Principal


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerState:
    """How an issuer is: since when, and what is wrong. ``degraded``: away, and what is known of it still serves."""

    name: str
    state: Literal["up", "degraded", "down"]
    since: datetime
    detail: str = ""


class Identities(Protocol):
    """Checks credentials of other issuers."""

    async def principal(self, credential: str) -> Principal:
        """Whom *credential*, a signed token, stands for.

        Raises:
            Unauthenticated: of no issuer that is trusted, forged, for somebody else, expired, not yet valid, too old, or of nobody who has
            a place here. Unavailable, DeadlineExceeded: the issuer is needed for the answer and does not give it in time.
        """
        ...

    def states(self) -> Sequence[IssuerState]:
        """How the issuers are, from what is already known."""
        ...

    async def close(self) -> None:
        """End the connections."""
        ...
