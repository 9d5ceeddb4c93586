"""Commands about memories: list, create, show, hand-over.

Belongs here: the ``memory`` group. Does not belong here: what is in a memory (``read``, ``write``). A newcomer would get wrong: creating a
memory that exists changes nothing and is no error.
"""

from typing import TYPE_CHECKING, Any

import click

from kalends.app.invocation import Group, Invocation
from kalends.app.moments import shown
from kalends.domain.redaction import ACTIONS, CATEGORIES

if TYPE_CHECKING:
    from rich.console import Console

    from kalends.client import MemoryInfo
    from kalends.client.requests import Isolation


_REASONS = ("request", "reorganization", "departure", "incident", "other")


class Redacting(click.ParamType[tuple[str, str]]):
    """What is to be done about a category of sensitive content: ``email=mask``."""

    name = "redaction"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Category and action.

        Raises:
            BadParameter: there is no such category or action.
        """
        category, _, action = str(value).partition("=")
        if category not in CATEGORIES or action not in ACTIONS:
            self.fail(f"{value!r} is not one of {', '.join(CATEGORIES)} = one of {', '.join(ACTIONS)}", param, ctx)
        return category, action


@click.group(cls=Group)
def memory() -> None:
    """List, create, show and hand over memories."""


@memory.command("list")
@click.pass_obj
def list_(invocation: Invocation) -> None:
    """List the memories that the token may use."""
    output = invocation.output
    with invocation.client() as kalends:
        found = list(kalends.memories())
    rows = ((one.name, one.events, one.documents, one.sessions, shown(one.last_at), one.description) for one in found)
    titles = ["memory", ">events", ">documents", ">sessions", "last (UTC)", "description"]
    output.give({"items": found}, lambda _: output.table(titles, rows))


@memory.command()
@click.argument("name", required=False)
@click.option("--description", help="What it is for.")
@click.option("--max-events", type=click.IntRange(min=1), help="Most events it may hold.")
@click.option("--max-bytes", type=click.IntRange(min=1), help="Most bytes of the log it may hold.")
@click.option("--max-age-days", type=click.IntRange(min=1), help="Erase events so many days after they were recorded.")
@click.option("--keep-events", type=click.IntRange(min=1), help="Erase the oldest events above this number.")
@click.option("--pin", "pinned", multiple=True, metavar="KIND", help="A kind of event that is kept; may be given often.")
@click.option("--session-only", is_flag=True, help="Erase a session when it ends.")
@click.option(
    "--redact", "redactions", type=Redacting(), multiple=True, metavar="CATEGORY=ACTION", help="May be repeated, e.g. email=mask."
)
@click.option("--isolation", type=click.Choice(["shared", "dedicated"]), help="Dedicated: a stream and an index of its own, for ever.")
@click.pass_obj
def create(
    invocation: Invocation,
    name: str | None,
    *,
    description: str | None,
    max_events: int | None,
    max_bytes: int | None,
    redactions: tuple[tuple[str, str], ...],
    isolation: "Isolation | None",
    max_age_days: int | None,
    keep_events: int | None,
    pinned: tuple[str, ...],
    session_only: bool,
) -> None:
    """Create the memory NAME (default: the one of --memory)."""
    quota = {key: value for key, value in (("events", max_events), ("bytes", max_bytes)) if value is not None}
    kept = {"max_age_days": max_age_days, "max_events": keep_events, "pinned_kinds": list(pinned), "session_only": session_only}
    retention = {key: value for key, value in kept.items() if value}
    chosen = _chosen(invocation, name)
    with invocation.client() as kalends:
        made = kalends.create_memory(
            chosen,
            description=description,
            quota=quota or None,
            redaction=dict(redactions) or None,
            isolation=isolation,
            retention=retention or None,
        )
    invocation.output.give(made, lambda console: console.print(f"memory {made.name} is there"))


@memory.command()
@click.argument("name", required=False)
@click.pass_obj
def show(invocation: Invocation, name: str | None) -> None:
    """Show the memory NAME (default: the one of --memory) and its counts."""
    chosen = _chosen(invocation, name)
    with invocation.client() as kalends:
        found = kalends.memory(chosen).info()
    invocation.output.give(found, lambda console: _show(console, found))


@memory.command("hand-over")
@click.argument("name", required=False)
@click.option("--to", required=True, metavar="WHO", help="token:ID, agent:ID, oidc:ISSUER#SUBJECT or kubernetes:NAMESPACE/ACCOUNT.")
@click.option("--reason", "reason_code", type=click.Choice(_REASONS), default=_REASONS[0], show_default=True, help="Why, for the approval.")
@click.option("--wait", is_flag=True, help="Return once every key is wrapped anew.")
@click.pass_obj
def hand_over(invocation: Invocation, name: str | None, *, to: str, reason_code: str, wait: bool) -> None:
    """Give the memory NAME (default: the one of --memory) a new owner; nobody else but admins of all memories reaches it from then on."""
    chosen = _chosen(invocation, name)
    with invocation.client() as kalends:
        done = kalends.memory(chosen).hand_over(to, reason_code=reason_code)
        if wait and done.operation_id is not None:
            kalends.wait_for(done.operation_id)
    said = f"memory {done.memory} is now {done.owner}'s"
    if done.approval is not None:
        said = f"waits for a second person: kalends approvals approve {done.approval.approval_id}"
    invocation.output.give(done, lambda console: console.print(said, markup=False))


def _chosen(invocation: Invocation, name: str | None) -> str:
    if name is not None:
        invocation.named_memory = name
    return invocation.memory


def _show(console: "Console", found: "MemoryInfo") -> None:
    from kalends.app.output import harmless, table

    rows: list[tuple[str, Any]] = [
        ("memory", found.name),
        ("description", harmless(found.description)),
        ("isolation", found.isolation),
        ("created (UTC)", shown(found.created_at)),
        ("owner", found.owner or "whoever's credential names it"),
        ("events", found.events),
        ("documents", found.documents),
        ("sessions", found.sessions),
        ("nodes of the calendar", found.toc_nodes),
        ("grips", found.grips),
        ("bytes of the log", found.log_bytes),
        ("first event (UTC)", shown(found.first_at)),
        ("last event (UTC)", shown(found.last_at)),
    ]
    rows += [("retention", told) for told in _retention(found.retention)]
    rows += [(f"lag of {name}", f"{lag.events} events, {lag.seconds:.1f} s") for name, lag in found.lag.items()]
    console.print(table(["", ""], rows))


def _retention(said: dict[str, Any] | None) -> list[str]:
    """A line for each thing that a memory says of it."""
    if said is None:
        return []
    rules = {"all": said, **said.get("kinds", {})}
    lines = [
        f"{kind}: {' and '.join(told)}"
        for kind, rule in rules.items()
        if (told := [f"{unit} {rule[name]}" for name, unit in (("max_age_days", "days"), ("max_events", "events")) if rule.get(name)])
    ]
    if said.get("pinned_kinds"):
        lines.append(f"kept: {', '.join(said['pinned_kinds'])}")
    if said.get("session_only"):
        lines.append("each session until it ends")
    return lines or ["everything is kept"]
