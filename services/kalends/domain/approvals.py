"""Approvals: a risky operation that waits for a second person.

Belongs here: what is known of one, how it stands, and who may decide. Does not belong here: keeping it (``wire.approvals``), doing what was
approved (``ingest.approving``). A newcomer would get wrong: two credentials are not two persons. Who made the other's credential has seen
its secret, so neither may decide for the other; but that somebody else gave one person two credentials nobody can tell.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kalends.domain.credentials import Principal, require
from kalends.domain.errors import Conflict, Forbidden, NotFound
from kalends.domain.scope import Tenant

ERASE_EVERYTHING = "erase_everything"
HAND_OVER = "hand_over"
RESTORE = "restore"
OPERATIONS = (ERASE_EVERYTHING, HAND_OVER, RESTORE)
"""What a second person can be asked of."""

PENDING, APPROVED, REFUSED, DONE, FAILED, EXPIRED = "pending", "approved", "refused", "done", "failed", "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """One request; times in microseconds since 1970.

    ``state`` is pending, approved (and not done yet), refused, done or failed. ``memories`` are those that it was about when it was asked
    for; ``wide``: only credentials of all memories may see and decide it. ``requested_by`` and ``decided_by`` are names
    (``domain.ownership``), ``requested_with`` and ``decided_with`` ids of credentials; ``makers`` are those of who asked. ``arguments`` are
    codes and ids, no free text.
    """

    approval_id: str
    tenant: Tenant
    operation: str
    memories: tuple[str, ...]
    requested_by: str
    requested_with: str
    requested_us: int
    expires_us: int
    arguments: Mapping[str, str] = field(default_factory=dict)
    makers: frozenset[str] = frozenset()
    wide: bool = False
    state: str = PENDING
    decided_by: str = ""
    decided_with: str = ""
    decided_us: int = 0
    result: str = ""
    error: str = ""
    revision: int = 0

    def state_at(self, now_us: int) -> str:
        """How it stands: what was decided stays so, what was not has expired once its time is over."""
        return EXPIRED if self.state == PENDING and now_us >= self.expires_us else self.state

    def asks_the_same(self, other: "Approval") -> bool:
        """Whether both are the same wish of the same person."""
        mine = (self.operation, self.memories, dict(self.arguments), self.requested_by)
        return mine == (other.operation, other.memories, dict(other.arguments), other.requested_by)


def name_of(principal: Principal) -> str:
    """Who *principal* is, for comparing persons."""
    return principal.name or principal.token_id


def may_see(approval: Approval, principal: Principal) -> bool:
    """Whether *principal* may know of it: of its tenant, and of all its memories where they are only some."""
    if approval.tenant != principal.tenant or (approval.wide and principal.memories is not None):
        return False
    return all(principal.reaches(memory) for memory in approval.memories)


def check_decider(approval: Approval, principal: Principal, *, now_us: int) -> None:
    """See that *principal* may decide now.

    Raises:
        NotFound: it is not for its eyes. Forbidden: it is no admin, or not a second person. Conflict: it was decided, or has expired.
    """
    if not may_see(approval, principal):
        raise NotFound("no such approval")
    require(principal, right="admin")
    who = name_of(principal)
    if who == approval.requested_by:
        raise Forbidden("a second person must decide this; it was you who asked for it", reason="same_person")
    if who in approval.makers or approval.requested_by in principal.makers:
        raise Forbidden(
            "a second person must decide this; of the two credentials one was made by the holder of the other", reason="same_person"
        )
    state = approval.state_at(now_us)
    if state != PENDING:
        raise Conflict("the approval has expired; ask again" if state == EXPIRED else f"the approval was decided already: it is {state}")
