"""Names that the operator gives, each made of what never changes.

Belongs here: names of memories, Secrets, labels and annotations, and the claim. Does not belong here: reading them. A newcomer would get
wrong: names of memories are the tenant's, while two namespaces may write the same one into their resources. Whose a memory is, its own
description says in its last line, which only admins of Kalends can write: a resource of another namespace is refused, and the same one
made again finds the memory that was retained.
"""

import hashlib
import re
from datetime import UTC, datetime

from kalends.domain.events import new_ulid
from kalends.domain.scope import memory_name

GROUP = "memory.kalends.dev"
VERSION = "v1alpha1"
FIELD_MANAGER = "kalends-operator"
FINALIZER = f"{GROUP}/finalizer"

ABANDON = f"{GROUP}/abandon"
"""On a resource that is being deleted, ``true``: let it go although what its deletion needs cannot be done."""

ROTATE = f"{GROUP}/rotate"
"""On an AgentMemory: any new text asks for new credentials now."""

TOKEN_ID = f"{GROUP}/token-id"
AGENT_ID = f"{GROUP}/agent-id"
PREVIOUS_TOKENS = f"{GROUP}/previous-token-ids"
PREVIOUS_AGENTS = f"{GROUP}/previous-agent-ids"
PREVIOUS_UNTIL = f"{GROUP}/previous-until"
ROTATED_AT = f"{GROUP}/rotated-at"
ROTATES_AT = f"{GROUP}/rotates-at"
ROTATE_SEEN = f"{GROUP}/rotate-seen"
DIGEST = f"{GROUP}/digest"

DESCRIPTION = 2000
"""The longest description, in characters."""

_CLAIM = re.compile(r"\[kubernetes (?P<cluster>[^ \[\]]+) (?P<namespace>[a-z0-9-]+)/[a-z0-9.-]+\]")


def memory_of(name: str, wanted: str | None) -> str:
    """The memory of the AgentMemory *name*: the one that its spec names, or one of its own name.

    Raises:
        Invalid: no memory can be called so.
    """
    return memory_name(wanted or name, pointer="/spec/memory" if wanted else "/metadata/name")


def claim(*, cluster: str, namespace: str, name: str) -> str:
    """What says in a memory's description whose it is."""
    return f"[kubernetes {cluster or '-'} {namespace}/{name}]"


def described(text: str, claimed: str) -> str:
    """A description that ends with the claim; a text that would leave no room for it is cut."""
    room = DESCRIPTION - len(claimed) - 1
    head = text.rstrip()
    head = head if len(head) <= room else head[: room - 1] + "…"
    return f"{head}\n{claimed}" if head else claimed


def claimed_by(description: str) -> str:
    """The claim in a memory's description: its last line, if that is one; else empty."""
    last = description.rstrip().rpartition("\n")[2]
    return last if _CLAIM.fullmatch(last) else ""


def namespace_of(claimed: str) -> tuple[str, str]:
    """Cluster and namespace of a claim; empty ones of none."""
    found = _CLAIM.fullmatch(claimed)
    return (found["cluster"], found["namespace"]) if found else ("", "")


def secret_of(name: str, wanted: str) -> str:
    """The Secret of the AgentMemory *name*: the one that its spec names, or one of its own."""
    return wanted or f"{name}-kalends"


def once(at: datetime | None, key: str) -> str:
    """The ULID of what is asked for once: the same for the same time and *key*."""
    return new_ulid(at or datetime.fromtimestamp(0, UTC), randomness=hashlib.blake2b(key.encode(), digest_size=10).digest())


def label_of(uid: str, agent: str) -> str:
    """What every credential of one resource is labelled with in Kalends, so that none is ever lost sight of."""
    return f"kalends-operator {uid} {agent}".rstrip()


def digest_of(data: dict[str, str]) -> str:
    """What tells that a Secret was edited: it holds a token of 256 random bits, so nothing can be learnt from it."""
    said = "\0".join(f"{key}\0{value}" for key, value in sorted(data.items()))
    return hashlib.sha256(said.encode()).hexdigest()
