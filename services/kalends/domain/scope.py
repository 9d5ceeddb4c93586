"""Whose data: tenants, memories and the scope that every query needs.

Belongs here: names, their rules, and how a scope becomes tokens that are safe in a subject. Does not belong here: how a credential
is checked (``credentials``). A newcomer would get wrong: user text never becomes a subject token; what does not match the token rule is
replaced by a digest of it.
"""

import base64
import functools
import hashlib
import re
from typing import NamedTuple, NewType

from kalends.domain.errors import Fault, Invalid

Tenant = NewType("Tenant", str)
MemoryName = NewType("MemoryName", str)

SLOTS = 256
"""Hash slots over tenant and memory; partitions are ranges of slots, so widening renames no subject."""

CALENDAR_SUFFIX = "-c"
"""What the key of a calendar has more than its memory's."""

_CALENDAR = "~calendar"
_MEMORY = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_TOKEN = re.compile(r"[a-z0-9-]{1,40}")


class Scope(NamedTuple):
    """The one tenant and memory that an operation may touch; a tuple, because each event is looked up by it several times."""

    tenant: Tenant
    memory: MemoryName

    @property
    def slot(self) -> int:
        """The hash slot, 0 to 255, that all events of this memory share."""
        return _slot(self.tenant, self.memory)

    @property
    def key(self) -> str:
        """A printable identity of the scope for engines: 26 characters, no user text; of a calendar, its memory's with a suffix."""
        return _key(self.tenant, self.memory)

    @property
    def calendar(self) -> "Scope":
        """Where engines keep this memory's calendar, apart from its events: no caller can name it."""
        return Scope(self.tenant, MemoryName(self.memory + _CALENDAR))

    @property
    def memory_itself(self) -> "Scope":
        """The memory whose calendar this is; of a memory, itself."""
        return Scope(self.tenant, MemoryName(self.memory.removesuffix(_CALENDAR)))


@functools.lru_cache(maxsize=4096)
def _slot(tenant: str, memory: str) -> int:
    return hashlib.blake2b(f"{tenant}\0{memory}".encode(), digest_size=1).digest()[0]


@functools.lru_cache(maxsize=4096)
def _key(tenant: str, memory: str) -> str:
    """Cached, because every event asks for it several times."""
    if memory.endswith(_CALENDAR):
        return _key(tenant, memory.removesuffix(_CALENDAR)) + CALENDAR_SUFFIX
    digest = hashlib.blake2b(f"{tenant}\0{memory}".encode(), digest_size=16).digest()
    return base64.b32encode(digest).decode().rstrip("=").lower()


def tenant_name(text: str, *, pointer: str = "/tenant") -> Tenant:
    """Check a tenant's name: the same rule as for memories.

    Raises:
        Invalid: the name does not match the rule.
    """
    return Tenant(_checked(text, pointer=pointer))


def memory_name(text: str, *, pointer: str = "/memory") -> MemoryName:
    """Check a memory's name.

    Raises:
        Invalid: the name does not match ``[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?``.
    """
    return MemoryName(_checked(text, pointer=pointer))


def _checked(text: str, *, pointer: str) -> str:
    if not _MEMORY.fullmatch(text):
        detail = "must be 1 to 40 characters of a-z, 0-9 and '-', starting and ending with a letter or digit"
        raise Invalid(detail, faults=[Fault(pointer=pointer, detail=detail, code="name")])
    return text


def token(text: str) -> str:
    """*text* as a subject token: itself where it is safe, else a base32 digest of it that cannot collide with a safe name."""
    if _TOKEN.fullmatch(text) and not text.startswith("x--"):
        return text
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=20).digest()
    return "x--" + base64.b32encode(digest).decode().rstrip("=").lower()
