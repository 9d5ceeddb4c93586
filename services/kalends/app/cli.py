"""The command line: which commands there are, and what becomes of errors.

Belongs here: the table of commands, the exit codes. Does not belong here: what a command does (``commands``). A newcomer would get wrong:
nothing heavy may be imported here, or every call of ``kalends`` gets slow.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

import click

from kalends.app.invocation import Invocation, LazyGroup
from kalends.domain import errors

DONE, FAILED, USAGE, NOT_FOUND, REFUSED, UNAVAILABLE = range(6)
INTERRUPTED = 130

EXIT_CODES: Mapping[str, int] = {
    errors.Misconfigured.code: USAGE,
    errors.NotFound.code: NOT_FOUND,
    errors.Gone.code: NOT_FOUND,
    errors.Unauthenticated.code: REFUSED,
    errors.Forbidden.code: REFUSED,
    errors.Unavailable.code: UNAVAILABLE,
    errors.Throttled.code: UNAVAILABLE,
    errors.DeadlineExceeded.code: UNAVAILABLE,
    "unreachable": UNAVAILABLE,
    "not_connected": UNAVAILABLE,
}
"""By the error's code; every other error is a plain failure."""

_COMMANDS = "kalends.app.commands."
PLACES: Mapping[str, str] = {
    "up": _COMMANDS + "run:up",
    "serve": _COMMANDS + "run:serve",
    "broker-users": _COMMANDS + "broker_users:broker_users",
    "demo": _COMMANDS + "run:demo",
    "doctor": _COMMANDS + "run:doctor",
    "selftest": _COMMANDS + "selftest:selftest",
    "status": _COMMANDS + "run:status",
    "version": _COMMANDS + "run:version",
    "add": _COMMANDS + "write:add",
    "ingest": _COMMANDS + "write:ingest",
    "search": _COMMANDS + "read:search",
    "context": _COMMANDS + "read:context",
    "events": _COMMANDS + "read:events",
    "event": _COMMANDS + "read:event",
    "toc": _COMMANDS + "calendar:toc",
    "expand": _COMMANDS + "calendar:expand",
    "sessions": _COMMANDS + "read:sessions",
    "memory": _COMMANDS + "memories:memory",
    "session": _COMMANDS + "retention:session",
    "retention": _COMMANDS + "retention:retention",
    "canaries": _COMMANDS + "canaries:canaries",
    "forget": _COMMANDS + "forgetting:forget",
    "token": _COMMANDS + "tokens:token",
    "tls": _COMMANDS + "certificates:tls",
    "agent": _COMMANDS + "agents:agent",
    "admin": _COMMANDS + "admin:admin",
    "scheduler": _COMMANDS + "scheduler:scheduler",
    "backup": _COMMANDS + "backups:backup",
    "archive": _COMMANDS + "archives:archive",
    "export": _COMMANDS + "transfers:export",
    "import": _COMMANDS + "transfers:import_files",
    "approvals": _COMMANDS + "approvals:approvals",
    "audit": _COMMANDS + "audit:audit",
    "dead-letters": _COMMANDS + "dead_letters:dead_letters",
}


@click.group(cls=LazyGroup, places=PLACES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def cli() -> None:
    """Private, self-hosted memory for AI agents.

    Prints for people on a terminal and JSON with --json or when piped. Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 refused,
    5 unavailable.
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command line (default: the process's own) and exit with its code."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code; errors are told on standard error."""
    invocation = Invocation()
    try:
        code = cli.main(list(arguments), prog_name="kalends", standalone_mode=False, obj=invocation)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        # the reader has seen enough; without this the interpreter complains once more when it flushes at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except errors.KalendsError as error:
        _tell(error, machine_readable=invocation.json)
        return EXIT_CODES.get(error.code, FAILED)
    return code if isinstance(code, int) else DONE


def _tell(error: errors.KalendsError, *, machine_readable: bool) -> None:
    import msgspec

    if machine_readable:
        faults = [{"pointer": fault.pointer, "detail": fault.detail, "code": fault.code} for fault in error.faults]
        body = {"code": error.code, "title": error.title, "detail": error.detail, "errors": faults, "dependency": error.dependency}
        sys.stderr.write(msgspec.json.encode(body).decode() + "\n")
        return
    from kalends.app.output import harmless

    sys.stderr.write(f"kalends: {harmless(error.detail)}\n")
    for fault in error.faults:
        if fault.detail != error.detail:
            sys.stderr.write(f"  {harmless(fault.pointer)}: {harmless(fault.detail)}\n")


if __name__ == "__main__":
    main()
