"""The command that keeps the users of a broker which runs beside it.

Belongs here: ``broker-users``. Does not belong here: what it does (``app.broker_users``). A newcomer would get wrong: a broker of
``kalends up`` needs none of it, and an outside broker in operator mode knows its users by their JWTs.
"""

from pathlib import Path

import click

from kalends.app.configuration import settings_from
from kalends.app.invocation import Command

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("broker-users", cls=Command)
@click.option("--file", type=_FILE, required=True, help="The file that the broker's configuration includes.")
@click.option("--pid-file", type=_FILE, required=True, help="Where the broker writes its process id; it must be of the same user.")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="Folder with config.toml; else KALENDS_DATA, else yours.")
def broker_users(*, file: Path, pid_file: Path, data: Path | None) -> None:
    """Keep the users of a NATS beside us equal to the tokens and agents that there are, until ended."""
    import asyncio

    from kalends import __version__
    from kalends.app import broker_users as users
    from kalends.edge import logs

    settings = settings_from(data=data)
    logs.configure(level=settings.telemetry.level, service="broker-users")
    asyncio.run(users.follow(settings, file=file, pid_file=pid_file, version=__version__))
