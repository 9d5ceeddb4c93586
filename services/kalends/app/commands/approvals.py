"""Commands about what waits for a second person: list, approve, refuse.

Belongs here: the ``approvals`` group. Does not belong here: asking, which the risky commands do by themselves. A newcomer would get wrong:
whoever asked cannot decide, so this is for another token than theirs (``--token-file``).
"""

from typing import TYPE_CHECKING

import click

from kalends.app.invocation import Command, Group, Invocation
from kalends.app.moments import shown

if TYPE_CHECKING:
    from kalends.client import Approval

_STATES = ("pending", "approved", "refused", "done", "failed", "expired")


@click.group(cls=Group)
def approvals() -> None:
    """See and decide what waits for a second person."""


@approvals.command("list", cls=Command)
@click.option("--state", type=click.Choice(_STATES), help="Only those that stand so.")
@click.pass_obj
def list_(invocation: Invocation, *, state: str | None) -> None:
    """List approvals, newest first."""
    with invocation.client() as kalends:
        found = list(kalends.approvals(state=state))
    titles = ["approval", "operation", "memory", "state", "asked by", "asked (UTC)", "expires (UTC)", "decided by"]
    invocation.output.give({"items": found}, lambda _: invocation.output.table(titles, map(_row, found)))


def _row(one: "Approval") -> tuple[object, ...]:
    asked, expires = shown(one.requested_at), shown(one.expires_at)
    return (one.approval_id, one.operation, one.memory or "all", one.state, one.requested_by, asked, expires, one.decided_by or "")


@approvals.command(cls=Command)
@click.argument("approval_id")
@click.pass_obj
def approve(invocation: Invocation, approval_id: str) -> int:
    """Have done what somebody else asked for."""
    with invocation.client() as kalends:
        decided = kalends.approve(approval_id)
    _tell(invocation, decided)
    return 1 if decided.state == "failed" else 0


@approvals.command(cls=Command)
@click.argument("approval_id")
@click.pass_obj
def refuse(invocation: Invocation, approval_id: str) -> None:
    """Have left undone what somebody else asked for."""
    with invocation.client() as kalends:
        decided = kalends.refuse_approval(approval_id)
    _tell(invocation, decided)


def _tell(invocation: Invocation, decided: "Approval") -> None:
    said = f"{decided.operation} of {decided.memory or 'all memories'}: {decided.state}"
    detail = decided.result or decided.error
    invocation.output.give(decided, lambda console: console.print(f"{said}; {detail}" if detail else said, markup=False))
