"""Commands about agents that have a key of their own: create, list, revoke, creds.

Belongs here: the ``agent`` group. Does not belong here: how a signature is checked, which is the server's. A newcomer would get wrong: the
secret half of a key is made here and never sent anywhere; the server only ever sees its public half.
"""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kalends.app.commands.tokens import Lifetime, labels_given, memories_shown, new_private_file
from kalends.app.invocation import Command, Group, Invocation
from kalends.app.moments import Moment, shown
from kalends.domain.credentials import ROLES

if TYPE_CHECKING:
    from rich.console import Console

    from kalends.client import Agent
    from kalends.kit.nkeys import KeyPair

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group(cls=Group)
def agent() -> None:
    """Create, list and revoke agents that log in with a key."""


@agent.command(cls=Command)
@click.option("--role", type=click.Choice(list(ROLES)), default="writer", show_default=True, help="What it may do.")
@click.option("--for", "memories", multiple=True, metavar="MEMORY", help="May be repeated; the one of --memory by default.")
@click.option("--all-memories", is_flag=True, help="For every memory, also those to come.")
@click.option("--label", default="", help="What it is for.")
@click.option("--sees", multiple=True, metavar="LABEL", help="A label that it may see and set; may be repeated; every label by default.")
@click.option("--sees-no-labels", is_flag=True, help="It sees only what has no label.")
@click.option("--expires-in", type=Lifetime(), help="Lifetime such as 12h, 30d or 4w.")
@click.option("--expires-at", type=Moment(), help="When it ends.")
@click.option("--public-key", metavar="U…", help="The public half of a key that exists already.")
@click.option("--key-file", type=_FILE, help="Make a key, and write its secret half to this new file, readable by you alone.")
@click.pass_obj
def create(
    invocation: Invocation,
    *,
    role: str,
    memories: tuple[str, ...],
    all_memories: bool,
    label: str,
    sees: tuple[str, ...],
    sees_no_labels: bool,
    expires_in: timedelta | None,
    expires_at: datetime | None,
    public_key: str | None,
    key_file: Path | None,
) -> None:
    """Register an agent by its public key."""
    if (public_key is None) == (key_file is None):
        raise click.UsageError("give --public-key or --key-file, and not both")
    if memories and all_memories:
        raise click.UsageError("--for and --all-memories exclude each other")
    if expires_in is not None:
        expires_at = datetime.now(UTC) + expires_in
    scope = None if all_memories else list(memories) or [invocation.memory]
    lasting: dict[str, Any] = {} if expires_at is None else {"expires_at": expires_at}
    lasting |= labels_given(sees, none=sees_no_labels)
    try:
        if key_file is not None:
            public_key = _make_key(key_file)
        with invocation.client() as kalends:
            made = kalends.create_agent(str(public_key), memories=scope, role=role, label=label, **lasting)
    except BaseException:
        if key_file is not None and public_key is not None:
            key_file.unlink(missing_ok=True)  # ours: a key that nobody knows is of no use
        raise

    def show(console: "Console") -> None:
        console.print(f"agent {made.agent_id}: {', '.join(made.rights)} on {memories_shown(made.memories)}", markup=False)
        if key_file is not None:
            console.print(f"its key is in {key_file}", markup=False, soft_wrap=True)

    invocation.output.give(made, show)


@agent.command("list", cls=Command)
@click.pass_obj
def list_(invocation: Invocation) -> None:
    """List agents with a key."""
    output = invocation.output
    with invocation.client() as kalends:
        found = list(kalends.agents())
    rows = ((a.agent_id, a.label, ", ".join(a.rights), memories_shown(a.memories), shown(a.created_at), shown(a.expires_at)) for a in found)
    titles = ["agent", "label", "rights", "memories", "created (UTC)", "expires (UTC)"]
    output.give({"items": found}, lambda _: output.table(titles, rows))


@agent.command(cls=Command)
@click.argument("agent_id")
@click.pass_obj
def revoke(invocation: Invocation, agent_id: str) -> None:
    """Make an agent's key and its sessions useless, at once."""
    with invocation.client() as kalends:
        kalends.revoke_agent(agent_id)
    invocation.output.give({"agent_id": agent_id, "revoked": True}, lambda console: console.print(f"revoked {agent_id}", markup=False))


@agent.command(cls=Command)
@click.argument("agent_id")
@click.option("--account-seed-file", type=_FILE, required=True, help="Seed (SA…) of the NATS account, or of a signing key of it.")
@click.option("--account", default="", metavar="A…", help="The account, if the seed is a signing key's.")
@click.option("--key-file", type=_FILE, help="The agent's key, to be put into the file too.")
@click.option("--tenant", default="local", show_default=True, help="The agent's tenant.")
@click.option("--out", type=_FILE, required=True, help="Write the credentials to this new file, readable by you alone.")
@click.pass_obj
def creds(
    invocation: Invocation, agent_id: str, *, account_seed_file: Path, account: str, key_file: Path | None, tenant: str, out: Path
) -> None:
    """Write a NATS credentials file for a broker in operator mode: a JWT limited to the agent's subjects."""
    signer = _seed(account_seed_file, what="account")
    with invocation.client() as kalends:
        known = next((one for one in kalends.agents() if one.agent_id == agent_id), None)
    if known is None:
        raise click.UsageError(f"there is no agent {agent_id}")
    pair = None if key_file is None else _seed(key_file, what="agent")
    if pair is not None and pair.public != known.public_key:
        raise click.UsageError(f"{key_file} holds another agent's key")
    handle = new_private_file(out)
    try:
        os.write(handle, _creds_text(known, signer=signer, account=account, tenant=tenant, seed="" if pair is None else pair.seed).encode())
    finally:
        os.close(handle)
    told = {"agent_id": agent_id, "creds_file": str(out), "inbox_prefix": f"_INBOX_{agent_id}", "expires_at": known.expires_at}
    invocation.output.give(
        told, lambda console: console.print(f"credentials are in {out}; connect with the inbox prefix _INBOX_{agent_id}", markup=False)
    )


def _creds_text(known: "Agent", *, signer: "KeyPair", account: str, tenant: str, seed: str) -> str:
    from kalends.adapters.nats import user_jwt
    from kalends.adapters.nats.broker_config import BrokerUser
    from kalends.app.brokers import prefixes

    publish = [f"{prefix}.>" for prefix in prefixes(tenant, known.memories)]
    user = BrokerUser(name=known.agent_id, nkey=known.public_key)
    made = user_jwt.user_jwt(
        user, signer=signer, account=account, issued_at=datetime.now(UTC), expires_at=known.expires_at, publish=publish
    )
    return user_jwt.creds_file(made, seed=seed)


def _make_key(path: Path) -> str:
    """Write a new key to *path* and give its public half."""
    from kalends.kit import nkeys

    handle = new_private_file(path)
    pair = nkeys.new_pair("user")
    try:
        os.write(handle, pair.seed.encode() + b"\n")
    finally:
        os.close(handle)
    return pair.public


def _seed(path: Path, *, what: str) -> "KeyPair":
    from kalends.kit import nkeys

    try:
        return nkeys.pair_of(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{path} holds no seed of the {what}: {error}") from error
