"""The command that tries a running instance.

Belongs here: ``selftest`` and what it prints. Does not belong here: the steps (``trying``). A newcomer would get wrong: it needs an admin's
token, for it makes memories and tokens of its own, and takes them away again.
"""

import sys

import click

from kalends.app.invocation import RETRY_S, Command, Invocation

_FAILED = 1


@click.command(cls=Command)
@click.pass_obj
def selftest(invocation: Invocation) -> int:
    """Try a running instance: write, find, be kept from another's, forget, find no more."""
    from kalends.app import trying
    from kalends.client import Kalends, RetryPolicy

    def connect(token: str | None) -> Kalends:
        if token is None:
            return invocation.client(retry_s=max(RETRY_S, 30.0))
        return Kalends(invocation.url, token=token, ca_file=invocation.ca_file, retry=RetryPolicy(total_s=30.0))

    done = []
    for step in trying.steps(connect):
        done.append(step)
        if not invocation.machine_readable:
            sys.stdout.write(f"{'ok' if step.good else 'FAILED'}  {step.name}{': ' if step.detail else ''}{step.detail}\n")
            sys.stdout.flush()
    good = all(step.good for step in done)
    said = "it remembers, forgets and keeps apart" if good else "it does not do what it should"
    invocation.output.give({"good": good, "steps": done}, lambda console: console.print(said))
    return 0 if good else _FAILED
