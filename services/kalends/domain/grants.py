"""Grants: what somebody may do here whom another issuer vouches for.

Belongs here: from what a claim says to memories and rights. Does not belong here: whether the claim is true (``adapters.oidc``). A newcomer
would get wrong: a claim that is missing, or that names nothing known, gives nothing; only a name that the settings or the issuer spell out
opens all of a tenant's memories.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from kalends.domain import ownership
from kalends.domain.credentials import RIGHTS, ROLES, Principal
from kalends.domain.errors import Invalid
from kalends.domain.labels import EVERY_LABEL, is_label
from kalends.domain.scope import Tenant, memory_name

EVERY_MEMORY = "*"
"""In place of a memory's name: all of the tenant's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A tenant, the memories (None: all of the tenant's), the rights there, and the labels that may be seen (None: all)."""

    tenant: Tenant
    memories: frozenset[str] | None
    rights: frozenset[str]
    labels: frozenset[str] | None = frozenset()

    def principal(self, *, issuer: str, subject: str, expires_at: datetime | None) -> Principal:
        """Who asks with this grant."""
        who = outsider(issuer, subject)
        return Principal(
            token_id=who,
            tenant=self.tenant,
            memories=self.memories,
            rights=self.rights,
            expires_at=expires_at,
            labels=self.labels,
            name=ownership.outsider_name(who),
        )


def outsider(issuer: str, subject: str) -> str:
    """An id for *subject* of *issuer*: the same each time, no text of theirs, and never that of a token or of an agent."""
    digest = hashlib.blake2b(f"{issuer}\0{subject}".encode("utf-8", "surrogatepass"), digest_size=15).digest()
    return "x-" + base64.b32encode(digest).decode().lower()


def claimed(claims: Mapping[str, object], name: str) -> object:
    """The claim *name*; where there is none of that very name, dots lead into objects (``realm_access.roles``)."""
    if name in claims:
        return claims[name]
    found: object = claims
    for step in name.split("."):
        found = found.get(step) if isinstance(found, Mapping) else None
    return found


def names_in(value: object) -> list[str]:
    """The names that a claim's *value* holds: a list of texts, or a text with blanks between them as OAuth writes scopes."""
    if isinstance(value, str):
        return value.split()
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []


def memories_of(names: Iterable[str]) -> frozenset[str] | None:
    """The memories of those *names*; what cannot be the name of a memory is none."""
    given = set(names)
    return None if EVERY_MEMORY in given else frozenset(name for name in given if _is_memory(name))


def labels_of(names: Iterable[str]) -> frozenset[str] | None:
    """The labels of those *names*; what cannot be a label is none."""
    given = set(names)
    return None if EVERY_LABEL in given else frozenset(name for name in given if is_label(name))


def _is_memory(name: str) -> bool:
    try:
        memory_name(name)
    except Invalid:
        return False
    return True


def rights_of(names: Iterable[str]) -> frozenset[str]:
    """The rights of roles and rights by name, all together; unknown names give none."""
    return frozenset(right for name in names for right in ROLES.get(name, (name,) if name in RIGHTS else ()))


def rights_claimed(names: Iterable[str], meaning: Mapping[str, str]) -> frozenset[str]:
    """The rights of a claim's *names*, each of which *meaning* makes a role or a right; without any meanings they stand for themselves."""
    return rights_of(meaning.get(name, "") for name in names) if meaning else rights_of(names)
