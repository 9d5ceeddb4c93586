"""Commands that read the calendar: toc, expand.

Belongs here: the tree for people and for programs. Does not belong here: what a node says, which is the server's. A newcomer would get
wrong: lists have no lines, so only the node that was asked for shows its own; every node shows its id, by which it can be asked for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any

import click

from kalends.app.commands.read import show_event
from kalends.app.invocation import Command, Invocation
from kalends.app.moments import shown

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text
    from rich.tree import Tree

    from kalends.client import ExpandedGrip, Memory, TocEntry, TocNode

DEPTHS: Mapping[str, int] = {"": 4, "year": 3, "month": 2, "week": 1, "day": 1, "segment": 0}
"""By the level of what is asked for, the levels that are shown below it: down to days, and below a day its segments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """A node and what is shown below it."""

    entry: "TocEntry"
    below: "Sequence[Branch]"


@click.command(cls=Command)
@click.argument("node", required=False)
@click.option("--depth", type=click.IntRange(0, 5), help="Levels below NODE, or from the years on; down to days by default.")
@click.option("--version", type=click.IntRange(min=1), help="An earlier version of NODE, alone.")
@click.pass_obj
def toc(invocation: Invocation, node: str | None, *, depth: int | None, version: int | None) -> None:
    """Show the calendar as a tree, or NODE (such as toc:month:2026-01) with its lines and what lies below it."""
    if version is not None and (node is None or depth):
        raise click.UsageError("--version shows one NODE alone")
    output = invocation.output
    with invocation.client() as kalends:
        memory = kalends.memory(invocation.memory)
        if node is None:
            years = _branches(memory, list(memory.toc()), DEPTHS[""] if depth is None else depth)
            output.give({"items": [_plain(branch) for branch in years]}, lambda console: _show_years(console, years))
            return
        found = memory.toc(node, version=version)
        levels = 0 if version is not None else DEPTHS.get(found.level, 0) if depth is None else depth
        below = _branches(memory, list(memory.toc_children(node)), levels) if levels else []
    output.give(_plain(Branch(entry=found, below=below)), lambda console: _show_node(console, found, below))


@click.command(cls=Command)
@click.argument("grip_id", metavar="GRIP")
@click.option("--before", type=click.IntRange(0, 100), default=3, show_default=True, help="So many events before it in its session.")
@click.option("--after", type=click.IntRange(0, 100), default=3, show_default=True, help="So many events after it in its session.")
@click.pass_obj
def expand(invocation: Invocation, grip_id: str, *, before: int, after: int) -> None:
    """Show the events that prove a line of the calendar, and what was said around them."""
    with invocation.client() as kalends:
        found = kalends.memory(invocation.memory).expand(grip_id, before=before, after=after)
    invocation.output.give(found, lambda console: _show_grip(console, found))


def _branches(memory: "Memory", entries: "Sequence[TocEntry]", levels: int) -> list[Branch]:
    """*entries* and what lies below them, *levels* levels in all."""
    if levels == 0:
        return []
    return [
        Branch(entry=one, below=_branches(memory, list(memory.toc_children(one.node_id)), levels - 1) if levels > 1 else [])
        for one in entries
    ]


def _plain(branch: Branch) -> dict[str, Any]:
    import msgspec

    return {**msgspec.to_builtins(branch.entry), "children": [_plain(one) for one in branch.below]}


def _show_years(console: "Console", years: Sequence[Branch]) -> None:
    if not years:
        console.print("the calendar is empty so far: it fills when a conversation has been quiet for a while")
    for year in years:
        console.print(_tree(year))


def _show_node(console: "Console", node: "TocNode", below: Sequence[Branch]) -> None:
    from rich.text import Text

    from kalends.app.output import harmless

    tree = _tree(Branch(entry=node, below=()))
    for bullet in node.bullets:
        ids = "  ".join(grip.grip_id for grip in bullet.grips)
        tree.add(Text.assemble("• ", harmless(bullet.text), (f"  {ids}", "italic"), style="dim"))
    for branch in below:
        tree.add(_tree(branch))
    console.print(tree)
    remarks = [f"version {node.version} of {node.newest_version}", f"by {harmless(node.author)}" if node.author else ""]
    remarks += [f"keywords: {harmless(', '.join(node.keywords))}" if node.keywords else ""]
    console.print("; ".join(remark for remark in remarks if remark), style="dim", markup=False)


def _tree(branch: Branch) -> "Tree":
    from rich.tree import Tree

    tree = Tree(_head(branch.entry), guide_style="dim")
    for one in branch.below:
        tree.add(_tree(one))
    return tree


def _head(entry: "TocEntry") -> "Text":
    from rich.text import Text

    from kalends.app.output import harmless

    when = entry.label
    if entry.level == "segment" and entry.start is not None and entry.end is not None:
        when = f"{entry.start.astimezone(UTC):%H:%M}-{entry.end.astimezone(UTC):%H:%M}"
    count = f"{entry.event_count} {'event' if entry.event_count == 1 else 'events'}"
    head = Text.assemble((when, "bold cyan"), "  ", harmless(entry.title), (f"  {count}  {entry.node_id}", "dim"))
    if entry.degraded:
        head.append(f"  degraded: {harmless(entry.degraded)}", style="yellow")
    return head


def _show_grip(console: "Console", found: "ExpandedGrip") -> None:
    from rich.text import Text

    from kalends.app.output import harmless

    console.print(Text(f"“{harmless(found.excerpt)}”", style="bold"))
    console.print(
        f"{harmless(found.speaker)}, {shown(found.occurred_at)}; {found.node_id} {harmless(found.node_title)}", style="dim", markup=False
    )
    for one in found.before:
        show_event(console, one)
    for one in found.span:
        show_event(console, one, strong=True)
    if found.truncated:
        console.print("  … the span goes on", style="dim")
    for one in found.after:
        show_event(console, one)
