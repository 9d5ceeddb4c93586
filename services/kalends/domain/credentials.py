"""Credentials, rights and roles: who may do what.

Belongs here: the rights, the names of sets of them, the decision whether a principal may act on a memory, the hash of a token. Does not
belong here: where tokens are stored. A newcomer would get wrong: a memory outside the principal's list is ``NotFound``, a missing right is
``Forbidden``.
"""

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from kalends.domain.errors import Forbidden, NotFound
from kalends.domain.labels import Clearance
from kalends.domain.scope import MemoryName, Scope, Tenant

RIGHTS = ("append", "search", "erase", "admin")
ROLES: Mapping[str, tuple[str, ...]] = {
    "reader": ("search",),
    "writer": ("append", "search"),
    "curator": ("append", "search", "erase"),
    "admin": RIGHTS,
}
"""Names for sets of rights, each with all of the one before."""

TOKEN_PREFIX = "kal_"  # noqa: S105 - the prefix tells scanners what they found; it is no secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who is asking: a credential's id, its tenant, the memories it may touch (None: all of the tenant's) and its rights.

    ``token_id`` is the id of a token or of an agent, or what ``domain.grants`` makes of somebody whom others vouch for. ``name`` says who
    that is whichever of their credentials they hold (``domain.ownership``), ``makers`` the names of who made it, and who made those.
    ``withheld`` are memories that were handed over to somebody else; it only matters where ``memories`` is None.
    """

    token_id: str
    tenant: Tenant
    memories: frozenset[str] | None
    rights: frozenset[str]
    expires_at: datetime | None = None
    labels: frozenset[str] | None = frozenset()
    """Of what has labels it may see what has one of these; None: all."""

    name: str = ""
    makers: frozenset[str] = frozenset()
    withheld: frozenset[str] = frozenset()

    @property
    def clearance(self) -> Clearance:
        """What of a memory it may see."""
        return Clearance(self.labels)

    def reaches(self, memory: str) -> bool:
        """Whether *memory* is among those that it may touch, whatever its rights there."""
        return memory not in self.withheld and (self.memories is None or memory in self.memories)


NOBODY = Principal(token_id="", tenant=Tenant(""), memories=frozenset(), rights=frozenset())
"""Who asks an operation that wants no credential: nobody's tenant, no memory and no right."""


def require_every_label(principal: Principal) -> None:
    """Check that nothing is hidden from *principal* by a label.

    Raises:
        Forbidden: something may be.
    """
    if principal.labels is not None:
        raise Forbidden("this goes through everything whatever its labels; it needs a credential of all labels", reason="labels")


def role_of(rights: Iterable[str]) -> str | None:
    """The role whose rights these are; None if there is none. ``admin`` carries every other right."""
    held = frozenset(rights)
    if "admin" in held:
        return "admin"
    return next((role for role, given in ROLES.items() if held == frozenset(given)), None)


def new_token() -> str:
    """A fresh bearer token: the prefix and 256 random bits."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def token_hash(token: str) -> str:
    """What is stored of a token: SHA-256 (the token itself has 256 random bits, so no slow hash is needed)."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def scope_for(principal: Principal, memory: MemoryName, *, right: str) -> Scope:
    """The scope in which *principal* may use *right* on *memory*.

    Raises:
        NotFound: the memory is not among the principal's.
        Forbidden: the right is missing.
    """
    if not principal.reaches(memory):
        raise NotFound(f"no memory {memory!r}", reason="foreign_memory")
    require(principal, right=right)
    return Scope(tenant=principal.tenant, memory=memory)


def require(principal: Principal, *, right: str) -> None:
    """Check a right; ``admin`` carries every other.

    Raises:
        Forbidden: the right is missing.
    """
    if right not in principal.rights and "admin" not in principal.rights:
        raise Forbidden(f"the credential lacks the right {right!r}", reason="right")
