"""One call of the command line: the options that every command takes, and what follows from them.

Belongs here: ``--url --token-file --memory --json``, the command classes that add them everywhere, the client and the output they lead to.
Does not belong here: any command. A newcomer would get wrong: the options may stand before or after the subcommand; the last one wins.
"""

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kalends.domain.errors import Invalid
from kalends.domain.scope import memory_name

if TYPE_CHECKING:
    from kalends.app.output import Output
    from kalends.client import Kalends

DEFAULT_MEMORY = "default"
RETRY_S = 2.0
"""People see sooner that nothing answers; ``ingest`` is more stubborn."""

STUBBORN_S = 60.0


@dataclass(slots=True, kw_only=True)
class Invocation:
    """What the common options said; None where they said nothing."""

    url: str | None = None
    token_file: Path | None = None
    ca_file: Path | None = None
    named_memory: str | None = None
    json: bool = False

    @property
    def memory(self) -> str:
        """The memory to work on: ``--memory``, else ``KALENDS_MEMORY``, else ``default``.

        Raises:
            UsageError: it is no name of a memory.
        """
        name = self.named_memory or os.environ.get("KALENDS_MEMORY") or DEFAULT_MEMORY
        try:
            return memory_name(name)
        except Invalid as error:
            raise click.UsageError(f"memory {name!r} {error.detail}") from error

    @property
    def machine_readable(self) -> bool:
        """Whether to print JSON: asked for, or nobody is looking."""
        return self.json or not sys.stdout.isatty()

    @property
    def output(self) -> "Output":
        """Where results go."""
        from kalends.app.output import Output

        return Output(machine_readable=self.machine_readable)

    def client(self, *, retry_s: float = RETRY_S, timeout_s: float = 35.0, data: Path | None = None) -> "Kalends":
        """A client for the server that the options, the environment or the local instance (of *data*) name.

        *retry_s*: how long it keeps trying; *timeout_s*: how long one try may take.

        Raises:
            NotConnected: there is none to be found.
        """
        from kalends.client import Kalends, RetryPolicy

        retry = RetryPolicy(total_s=retry_s)
        return Kalends(self.url, token_file=self.token_file, ca_file=self.ca_file, data=data, retry=retry, timeout_s=timeout_s)


def _keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    invocation = context.ensure_object(Invocation)
    if value is not None and value is not False:
        setattr(invocation, str(parameter.name), value)


def _common_options() -> list[click.Parameter]:
    return [
        click.Option(["--url"], metavar="URL", help="Server; else KALENDS_URL, else the local one.", expose_value=False, callback=_keep),
        click.Option(
            ["--token-file"],
            type=click.Path(path_type=Path, dir_okay=False),
            help="File with the token; else KALENDS_TOKEN_FILE, else the local instance's.",
            expose_value=False,
            callback=_keep,
        ),
        click.Option(
            ["--ca-file"],
            type=click.Path(path_type=Path, dir_okay=False),
            help="File with the server's CA; else KALENDS_CA_FILE, else the local instance's.",
            expose_value=False,
            callback=_keep,
        ),
        click.Option(
            ["--memory", "named_memory"],
            metavar="NAME",
            help="Memory; else KALENDS_MEMORY, else 'default'.",
            expose_value=False,
            callback=_keep,
        ),
        click.Option(["--json"], is_flag=True, help="Print JSON, also on a terminal.", expose_value=False, callback=_keep),
    ]


class Command(click.Command):
    """A command that takes the common options."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.params = [*self.params, *_common_options()]


class Group(click.Group):
    """A group whose commands take the common options, as it does."""

    command_class = Command

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.params = [*self.params, *_common_options()]


class LazyGroup(Group):
    """A group that imports a command when it is asked for. *places*: command name → ``module:attribute``."""

    def __init__(self, *arguments: Any, places: Mapping[str, str], **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._places = places

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which they are told."""
        return [*super().list_commands(ctx), *self._places]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return it; None if there is none of that name."""
        place = self._places.get(cmd_name)
        if place is None:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = place.partition(":")
        found = getattr(importlib.import_module(module), attribute)
        return found if isinstance(found, click.Command) else None


def scalars(pairs: Sequence[str]) -> dict[str, str]:
    """``k=v`` texts as a mapping.

    Raises:
        BadParameter: a text without ``=``.
    """
    found = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise click.BadParameter(f"{pair!r} is not KEY=VALUE")
        found[name] = value
    return found
