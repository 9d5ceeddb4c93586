"""Who owns a memory that was handed over: names of principals, and what ownership leaves of a credential's memories.

Belongs here: the one form in which a principal is named, and the decision whose a memory is. Does not belong here: handing over
(``ingest.handing_over``), following it (``wire.owners``). A newcomer would get wrong: a name is no credential's id. All tokens of a chain
of rotations have one name, and so have all sessions of an agent; and of a person whom an issuer vouches for only a digest is kept.
"""

from collections.abc import Mapping
from dataclasses import replace

from kalends.domain.credentials import Principal

TOKEN, AGENT, OUTSIDER = "token", "agent", "outsider"


def token_name(origin: str) -> str:
    """The holder of the token *origin*, and of whatever it is rotated to."""
    return f"{TOKEN}:{origin}"


def agent_name(agent_id: str) -> str:
    """The agent of that id, in each of its sessions."""
    return f"{AGENT}:{agent_id}"


def outsider_name(digest: str) -> str:
    """Somebody whom an issuer vouches for; *digest* is what ``grants.outsider`` makes of issuer and subject."""
    return f"{OUTSIDER}:{digest}"


def makers_of(creator: Principal) -> frozenset[str]:
    """The makers of what *creator* makes: itself, and whoever made it."""
    return creator.makers | ({creator.name} if creator.name else set())


def settled(principal: Principal, owners: Mapping[str, str]) -> Principal:
    """*principal* with the memories that were handed over to it, and without those that were handed over to others.

    *owners*: who owns what of the principal's tenant, by memory; what was never handed over is not in it. An admin of all the tenant's
    memories keeps them: somebody must be able to hand them over again.
    """
    if not owners or (principal.memories is None and "admin" in principal.rights):
        return principal
    owned = {memory for memory, owner in owners.items() if principal.name and owner == principal.name}
    others = owners.keys() - owned
    if principal.memories is None:
        return replace(principal, withheld=frozenset(others))
    return replace(principal, memories=(principal.memories | owned) - others)
