"""Commands about canary questions: set, list, show, remove.

Belongs here: the ``canaries`` group. Does not belong here: asking them, which the job ``canary-questions`` does. A newcomer would get
wrong: ``list`` ends with 1 while a question is missed, so that a script can tell.
"""

from typing import TYPE_CHECKING

import click

from kalends.app.invocation import Command, Group, Invocation
from kalends.app.moments import shown

if TYPE_CHECKING:
    from rich.console import Console

    from kalends.client.canaries import Canary, CanaryList

_MISSED = 1


@click.group(cls=Group)
def canaries() -> None:
    """Questions of which you know what they must find."""


@canaries.command("list", cls=Command)
@click.pass_obj
def list_(invocation: Invocation) -> int:
    """Show what became of the questions of the memory; exits with 1 if one is missed."""
    with invocation.client() as kalends:
        found = kalends.memory(invocation.memory).canaries.list()
    invocation.output.give(found, lambda console: _show(console, found))
    return _MISSED if any(one.state == "missed" for one in found.items) else 0


@canaries.command(cls=Command)
@click.argument("name")
@click.pass_obj
def show(invocation: Invocation, name: str) -> None:
    """Show one question with what it expects."""
    with invocation.client() as kalends:
        found = kalends.memory(invocation.memory).canaries.show(name)
    invocation.output.give(found, lambda console: _tell(console, found))


@canaries.command("set", cls=Command)
@click.argument("name")
@click.argument("question")
@click.option("--expect", multiple=True, required=True, metavar="ID", help="An event that must be found; may be given often.")
@click.option("--within", type=click.IntRange(1, 100), default=10, show_default=True, help="Among how many hits.")
@click.pass_obj
def set_(invocation: Invocation, name: str, question: str, *, expect: tuple[str, ...], within: int) -> None:
    """Have QUESTION asked again and again under NAME."""
    with invocation.client() as kalends:
        made = kalends.memory(invocation.memory).canaries.set(name, question, expect=expect, within=within)
    invocation.output.give(made, lambda console: console.print(f"{made.canary} is asked at the next run", markup=False))


@canaries.command(cls=Command)
@click.argument("name")
@click.pass_obj
def remove(invocation: Invocation, name: str) -> None:
    """Forget a question."""
    with invocation.client() as kalends:
        kalends.memory(invocation.memory).canaries.remove(name)
    invocation.output.give({"canary": name}, lambda console: console.print(f"{name} is forgotten", markup=False))


def _show(console: "Console", found: "CanaryList") -> None:
    from kalends.app.output import table

    rows = [(one.canary, one.state, shown(one.since), shown(one.asked_at), one.gone or "", one.question or "") for one in found.items]
    console.print(table(["canary", "state", "since (UTC)", "asked (UTC)", ">gone", "question"], rows))
    if found.accuracy is not None:
        console.print(f"{found.accuracy:.0%} found what they must")


def _tell(console: "Console", found: "Canary") -> None:
    from kalends.app.output import table

    about = {
        "canary": found.canary,
        "question": found.question or "",
        "expects": "\n".join(found.expect),
        "within": found.within,
        "gone": found.gone,
        "state": found.state,
        "since (UTC)": shown(found.since),
        "asked (UTC)": shown(found.asked_at),
    }
    console.print(table(["", ""], list(about.items())))
