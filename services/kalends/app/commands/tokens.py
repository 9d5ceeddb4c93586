"""Commands about tokens: create, list, rotate, revoke.

Belongs here: the ``token`` group. Does not belong here: how tokens are checked, which is the server's. A newcomer would get wrong: a new
token is for one memory and may append and search, unless one asks for more.
"""

import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kalends.app.invocation import Command, Group, Invocation
from kalends.app.moments import Moment, shown
from kalends.domain.credentials import RIGHTS, ROLES
from kalends.domain.errors import Occupied

if TYPE_CHECKING:
    from rich.console import Console

    from kalends.client.results import NewToken

_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


class Lifetime(click.ParamType[timedelta]):
    """How long from now: ``12h``, ``30d``, ``4w``."""

    name = "time span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """The span of time.

        Raises:
            BadParameter: it is none.
        """
        if isinstance(value, timedelta):
            return value
        found = re.fullmatch(r"([1-9]\d{0,4})([hdw])", str(value))
        if found is None:
            self.fail(f"{value!r} is not a span such as 12h, 30d or 4w", param, ctx)
        return int(found[1]) * _UNITS[found[2]]


@click.group(cls=Group)
def token() -> None:
    """Create, list, rotate and revoke tokens."""


@token.command(cls=Command)
@click.option("--right", "rights", type=click.Choice(RIGHTS), multiple=True, help="May be repeated; append and search by default.")
@click.option("--role", type=click.Choice(list(ROLES)), help="A name for a set of rights, in their place.")
@click.option("--for", "memories", multiple=True, metavar="MEMORY", help="May be repeated; the one of --memory by default.")
@click.option("--all-memories", is_flag=True, help="For every memory, also those to come.")
@click.option("--label", default="", help="What it is for.")
@click.option("--sees", multiple=True, metavar="LABEL", help="A label that it may see and set; may be repeated; every label by default.")
@click.option("--sees-no-labels", is_flag=True, help="It sees only what has no label.")
@click.option("--expires-in", type=Lifetime(), help="Lifetime such as 12h, 30d or 4w.")
@click.option("--expires-at", type=Moment(), help="When it ends.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the secret to this new file, readable by you alone.")
@click.pass_obj
def create(
    invocation: Invocation,
    *,
    rights: tuple[str, ...],
    role: str | None,
    memories: tuple[str, ...],
    all_memories: bool,
    label: str,
    sees: tuple[str, ...],
    sees_no_labels: bool,
    expires_in: timedelta | None,
    expires_at: datetime | None,
    out: Path | None,
) -> None:
    """Create a token; its secret is given this once."""
    if memories and all_memories:
        raise click.UsageError("--for and --all-memories exclude each other")
    if rights and role:
        raise click.UsageError("--right and --role exclude each other")
    if expires_in is not None:
        expires_at = datetime.now(UTC) + expires_in
    scope = None if all_memories else list(memories) or [invocation.memory]
    lasting: dict[str, Any] = {} if expires_at is None else {"expires_at": expires_at}
    allowed: dict[str, Any] = {"role": role} if role else {"rights": list(rights) or ["append", "search"]}
    allowed |= labels_given(sees, none=sees_no_labels)
    # the file first: a secret that cannot be written down would be lost
    handle = None if out is None else new_private_file(out)
    try:
        with invocation.client() as kalends:
            made = kalends.create_token(memories=scope, label=label, **allowed, **lasting)
        if handle is not None:
            os.write(handle, made.secret.encode() + b"\n")
    except BaseException:
        if out is not None:
            out.unlink(missing_ok=True)
        raise
    finally:
        if handle is not None:
            os.close(handle)
    _give_secret(invocation, made, out)


@token.command("list", cls=Command)
@click.pass_obj
def list_(invocation: Invocation) -> None:
    """List tokens; secrets are never shown again."""
    output = invocation.output
    with invocation.client() as kalends:
        found = list(kalends.tokens())
    rows = ((t.token_id, t.label, ", ".join(t.rights), memories_shown(t.memories), shown(t.created_at), shown(t.expires_at)) for t in found)
    titles = ["token", "label", "rights", "memories", "created (UTC)", "expires (UTC)"]
    output.give({"items": found}, lambda _: output.table(titles, rows))


@token.command(cls=Command)
@click.argument("token_id")
@click.option("--overlap-s", type=click.IntRange(0, 604_800), default=300, show_default=True, help="How long the old secret stays valid.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the secret to this new file, readable by you alone.")
@click.pass_obj
def rotate(invocation: Invocation, token_id: str, *, overlap_s: int, out: Path | None) -> None:
    """Give a token a new secret and id; the old ones stay valid for a while."""
    handle = None if out is None else new_private_file(out)
    try:
        with invocation.client() as kalends:
            made = kalends.rotate_token(token_id, overlap_s=overlap_s)
        if handle is not None:
            os.write(handle, made.secret.encode() + b"\n")
    except BaseException:
        if out is not None:
            out.unlink(missing_ok=True)
        raise
    finally:
        if handle is not None:
            os.close(handle)
    result = {"token_id": made.token_id, "replaces": token_id, "overlap_s": overlap_s, "expires_at": made.expires_at}
    result |= {"token": made.secret} if out is None else {"token_file": str(out)}

    def show(console: "Console") -> None:
        console.print(f"token {made.token_id} replaces {token_id}, which ends in {overlap_s} s", markup=False)
        console.print(made.secret if out is None else f"its secret is in {out}", markup=False, soft_wrap=True)

    invocation.output.give(result, show)


@token.command(cls=Command)
@click.argument("token_id")
@click.pass_obj
def revoke(invocation: Invocation, token_id: str) -> None:
    """Make a token useless, at once."""
    with invocation.client() as kalends:
        kalends.revoke_token(token_id)
    invocation.output.give({"token_id": token_id, "revoked": True}, lambda console: console.print(f"revoked {token_id}", markup=False))


def _give_secret(invocation: Invocation, made: "NewToken", out: Path | None) -> None:
    result = {name: getattr(made, name) for name in ("token_id", "memories", "rights", "label", "labels", "expires_at")}
    result |= {"token": made.secret} if out is None else {"token_file": str(out)}

    def show(console: "Console") -> None:
        console.print(f"token {made.token_id}: {', '.join(made.rights)} on {memories_shown(made.memories)}", markup=False)
        if made.labels is not None:
            console.print(f"sees no labels but: {', '.join(made.labels) or 'none'}", markup=False)
        console.print(made.secret if out is None else f"its secret is in {out}", markup=False, soft_wrap=True)

    invocation.output.give(result, show)


def labels_given(sees: tuple[str, ...], *, none: bool) -> dict[str, Any]:
    """What a credential is to see, as the server is asked for it; nothing where it is to see every label.

    Raises:
        UsageError: some, and none.
    """
    if sees and none:
        raise click.UsageError("--sees and --sees-no-labels exclude each other")
    return {"labels": list(sees)} if sees or none else {}


def memories_shown(names: list[str] | None) -> str:
    """The memories of a credential in words."""
    return "every memory" if names is None else ", ".join(names)


def new_private_file(path: Path) -> int:
    """A handle on a new file that its owner alone may read.

    Raises:
        Occupied: there is such a file. UsageError: it cannot be written.
    """
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Occupied(f"{path} exists; a token is never written over another file") from None
    except OSError as error:
        raise click.UsageError(f"{path} cannot be written: {error.strerror}") from error
