"""Granting: what a credential that somebody makes may do, and that nobody gives away more than they have.

Belongs here: the part that tokens and agents have in common. Does not belong here: making either (``tokens``, ``agents``). A newcomer would
get wrong: an admin who is limited to some memories gives only those, and nothing that outlives its own credential.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from kalends.domain import labels
from kalends.domain.credentials import ROLES, Principal
from kalends.domain.errors import Fault, Forbidden, Invalid, NotFound
from kalends.domain.events import check_text
from kalends.domain.labels import MOST_HELD
from kalends.domain.scope import memory_name

Right = Literal["append", "search", "erase", "admin"]
Role = Literal["reader", "writer", "curator", "admin"]
Time = Annotated[datetime, Meta(tz=True)]


class GrantRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a credential may do: ``rights`` or the ``role`` that names them; ``memories`` null: all of the tenant's.

    ``label`` says what it is for. ``labels``: of what has labels it sees what has one of these, and may set these; null: all.
    """

    memories: Annotated[tuple[str, ...], Meta(min_length=1, max_length=200)] | None
    rights: Annotated[tuple[Right, ...], Meta(min_length=1, max_length=4)] | None = None
    role: Role | None = None
    label: Annotated[str, Meta(max_length=200)] = ""
    labels: Annotated[tuple[str, ...], Meta(max_length=MOST_HELD)] | None = None
    expires_at: Time | None = None


def rights_of(request: GrantRequest) -> tuple[str, ...]:
    """The rights that are asked for.

    Raises:
        Invalid: neither rights nor a role, or both.
    """
    if (request.rights is None) == (request.role is None):
        detail = "give rights or a role, and not both"
        raise Invalid(detail, faults=[Fault(pointer="/rights", detail=detail, code="missing")])
    return ROLES[request.role] if request.role is not None else tuple(request.rights or ())


def check(request: GrantRequest, creator: Principal, *, now: datetime) -> tuple[str, ...]:
    """The rights that are asked for, once it is seen that nobody gives away more than they have.

    Raises:
        Invalid: a name that no memory has, a time in the past, rights and a role. NotFound: a memory outside the creator's. Forbidden: more
        than the creator may do, or for longer.
    """
    rights = rights_of(request)
    for index, name in enumerate(request.memories or ()):
        memory_name(name, pointer=f"/memories/{index}")
        if creator.memories is not None and name not in creator.memories:
            raise NotFound(f"no memory {name!r}", reason="foreign_memory")
    if request.labels is not None:
        labels.check(request.labels, most=MOST_HELD)
    fault = check_text(request.label, pointer="/label", limit=800, empty=True)
    if fault is None and request.expires_at is not None and request.expires_at <= now:
        fault = Fault(pointer="/expires_at", detail="must be in the future", code="range")
    if fault is not None:
        raise Invalid(fault.detail, faults=[fault])
    if creator.memories is not None and request.memories is None:
        raise Forbidden("a credential for some memories cannot give access to all")
    if not creator.clearance.covers(request.labels):
        raise Forbidden("a credential cannot give labels that it lacks", reason="labels")
    if "admin" not in creator.rights and not set(rights) <= creator.rights:
        raise Forbidden("a credential cannot give rights that it lacks")
    check_lifetime(request.expires_at, creator)
    return rights


def check_lifetime(expires_at: datetime | None, creator: Principal) -> None:
    """See that what ends at *expires_at* does not outlive the credential of *creator*.

    Raises:
        Forbidden: it does.
    """
    if creator.expires_at is not None and (expires_at is None or expires_at > creator.expires_at):
        raise Forbidden("a credential that expires cannot make one that lasts longer")


def within(memories: Collection[str] | None, principal: Principal, *, held: Collection[str] | None) -> bool:
    """Whether *principal* may see a credential for *memories* that has the labels *held*, and do with it what is done."""
    if not principal.clearance.covers(held):
        return False
    return principal.memories is None or (memories is not None and set(memories) <= principal.memories)
