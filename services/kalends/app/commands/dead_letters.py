"""Commands about dead letters: list, replay.

Belongs here: the ``dead-letters`` group. Does not belong here: why a message could not be indexed, which is the server's to say. A newcomer
would get wrong: a dead letter is a pointer into the log; the event itself is safe there.
"""

import click

from kalends.app.invocation import Command, Group, Invocation
from kalends.app.moments import shown


@click.group("dead-letters", cls=Group)
def dead_letters() -> None:
    """See and replay what could not be indexed."""


@dead_letters.command("list", cls=Command)
@click.pass_obj
def list_(invocation: Invocation) -> None:
    """List dead letters, oldest first."""
    output = invocation.output
    with invocation.client() as kalends:
        found = list(kalends.dead_letters())
    rows = ((one.dead_letter_id, f"{one.stream}:{one.sequence}", one.consumer, one.deliveries, shown(one.at), one.reason) for one in found)
    titles = ["dead letter", "position", "consumer", ">deliveries", "at (UTC)", "reason"]
    output.give({"items": found}, lambda _: output.table(titles, rows))


@dead_letters.command(cls=Command)
@click.argument("dead_letter_id")
@click.pass_obj
def replay(invocation: Invocation, dead_letter_id: str) -> None:
    """Have one indexed again."""
    with invocation.client() as kalends:
        done = kalends.replay_dead_letter(dead_letter_id)
    invocation.output.give(done, lambda console: console.print(f"{done.state} {done.dead_letter_id}", markup=False))
