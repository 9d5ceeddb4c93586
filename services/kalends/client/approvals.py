"""Hand-overs and approvals, as values and requests.

Belongs here: whose a memory becomes, what waits for a second person, and what is sent about both. Does not belong here: sending. A newcomer
would get wrong: an answer with an ``approval`` says that nothing has happened yet.
"""

from datetime import datetime
from urllib.parse import quote

from msgspec import Struct

from kalends.client.requests import Request, encoded
from kalends.client.results import Page
from kalends.domain.scope import memory_name


class Approval(Struct, frozen=True, kw_only=True):
    """A risky operation and its second person: ``state`` is pending, approved (being done), refused, done, failed or expired.

    ``memory`` None: about all of them. Principals are written as owners are: ``token:ID``, ``agent:ID`` or ``outsider:ID``.
    """

    approval_id: str
    operation: str
    state: str
    memory: str | None = None
    requested_by: str = ""
    requested_at: datetime | None = None
    expires_at: datetime | None = None
    arguments: dict[str, str] = {}
    decided_by: str | None = None
    decided_at: datetime | None = None
    result: str | None = None
    error: str | None = None


class HandOver(Struct, frozen=True, kw_only=True):
    """Whose a memory is. ``operation_id``: of wrapping its keys anew; None if nothing was changed, or if ``approval`` is awaited."""

    memory: str
    owner: str | None = None
    handed_over_at: datetime | None = None
    operation_id: str | None = None
    approval: Approval | None = None


def hand_over(memory: str, *, to: str, reason_code: str) -> Request[HandOver]:
    """Give a memory a new owner."""
    body = encoded({"to": to, "reason_code": reason_code})
    return Request(method="POST", path=f"/memories/{memory_name(memory)}/hand-over", body=body, result=HandOver)


def list_approvals(*, state: str | None, cursor: str | None = None, limit: int = 200) -> Request[Page[Approval]]:
    """Approvals, newest first."""
    given = {"limit": str(limit), "state": state, "cursor": cursor}
    params = {name: value for name, value in given.items() if value is not None}
    return Request(method="GET", path="/approvals", params=params, result=Page[Approval])


def get_approval(approval_id: str) -> Request[Approval]:
    """One approval."""
    return Request(method="GET", path=_one(approval_id), result=Approval)


def approve(approval_id: str) -> Request[Approval]:
    """Have it done."""
    return Request(method="POST", path=f"{_one(approval_id)}/approve", result=Approval, repeatable=False)


def refuse(approval_id: str) -> Request[Approval]:
    """Have it left undone."""
    return Request(method="POST", path=f"{_one(approval_id)}/refuse", result=Approval, repeatable=False)


def _one(approval_id: str) -> str:
    return f"/approvals/{quote(approval_id, safe='')}"
