"""Commands for certificates: tls init.

Belongs here: the ``tls`` group. Does not belong here: making certificates (``authority``). A newcomer would get wrong: these files are for
a laptop or a small network; where somebody hands out certificates, theirs are named in the settings, and this is not needed.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kalends.app.invocation import Command, Group, Invocation

if TYPE_CHECKING:
    from rich.console import Console

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,60}")


@click.group(cls=Group)
def tls() -> None:
    """Make certificates for your own machines."""


@tls.command(cls=Command)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--host", "hosts", multiple=True, help="Name or address of the server, beside this machine's own; may be repeated.")
@click.option("--renew", is_flag=True, help="A new certificate from the CA that is there; a running server takes it by itself.")
@click.option("--client", metavar="NAME", help="Make a client's certificate from the CA that is there instead.")
@click.pass_obj
def init(invocation: Invocation, *, folder: Path, hosts: tuple[str, ...], renew: bool, client: str | None) -> None:
    """Make a CA of your own in DIR, and a certificate for the server that is good for 397 days.

    Keep DIR/authority away from the server: only a renewal needs it.
    """
    from kalends.app import authority

    if client is not None:
        if not _NAME.fullmatch(client):
            raise click.UsageError("a client's name is made of letters, digits, dots, dashes and underscores")
        certificate, key = authority.add_client(folder, client)
        told = {"certificate_file": str(certificate), "key_file": str(key)}
    else:
        made = authority.renew(folder, hosts=hosts) if renew else authority.begin(folder, hosts=hosts)
        told = {"certificate_file": str(made.certificate), "key_file": str(made.key), "ca_file": str(made.ca)}

    def show(console: "Console") -> None:
        variables = {"certificate_file": "CLIENT_CERTIFICATE_FILE", "key_file": "CLIENT_KEY_FILE"}
        for name, path in told.items():
            variable = f"KALENDS_TLS__{name.upper()}" if client is None else f"KALENDS_{variables[name]}"
            console.print(f"{variable}={Path(path).absolute()}", markup=False, soft_wrap=True)

    invocation.output.give(told, show)
