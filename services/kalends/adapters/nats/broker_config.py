"""What the broker is told: its configuration file, as JSON, which nats-server reads as it reads its own format.

Belongs here: rendering and writing the file. Does not belong here: running the broker (``server``). A newcomer would get wrong: without
``sync_interval: always`` an acknowledged message may be lost with the power, for up to two minutes of them.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kalends.adapters.nats.room import MIB, ROOM_BYTES
from kalends.adapters.nats.tls import BrokerTls


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerUser:
    """A user of the broker. With ``prefixes`` (an agent's) it may publish below them and read its own inbox, nothing else.

    ``password`` may be a bcrypt hash, which the broker knows by its form. With ``nkey``, a public key, there is no password: the user signs
    what the broker asks for, and the broker knows it by the key alone.
    """

    name: str
    password: str = ""
    nkey: str = ""
    prefixes: tuple[str, ...] | None = None

    @property
    def inbox(self) -> str:
        """The inbox prefix that this user must connect with."""
        return f"_INBOX_{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """How the child process runs; seconds and bytes. ``port`` 0 takes a free one."""

    binary: Path | None = None
    host: str = "127.0.0.1"
    port: int = 0
    max_file_store: int = 1024 * 1024 * MIB
    """What the sizes of all streams may come to; nothing is taken from the disk for it, whose free space is watched by itself."""
    max_payload: int = 8 * MIB
    log_bytes: int = 16 * MIB
    start_timeout: float = 30.0
    stop_timeout: float = 10.0
    tls: BrokerTls | None = None
    room_bytes: int = ROOM_BYTES
    """Free space with which one that ran out of room is started anew."""


def agent(name: str, *, password: str, tenant: str, memory: str) -> BrokerUser:
    """A user for one agent of one memory; all four are tokens that are safe in a subject."""
    return BrokerUser(name=name, password=password, prefixes=(f"kalends.v1.{tenant}.{memory}",))


def render(*, folder: Path, name: str, port: int, options: ServerOptions, users: Sequence[BrokerUser]) -> str:
    """The whole configuration; *port* -1 lets the broker take a free one and say so in its ports file."""
    config: dict[str, object] = {
        "server_name": name,
        "listen": f"{options.host}:{port}",
        "ports_file_dir": str(folder),
        "max_payload": options.max_payload,
        "max_pending": 64 * MIB,
        "write_deadline": "10s",
        "log_file": str(folder / "broker.log"),
        "logfile_size_limit": options.log_bytes,
        "logfile_max_num": 2,
        "jetstream": {
            "store_dir": str(folder / "store"),
            "sync_interval": "always",
            "max_memory_store": 64 * MIB,
            "max_file_store": options.max_file_store,
        },
        "authorization": {"timeout": 5, "users": rendered_users(users)},
    }
    if options.tls is not None:
        config["tls"] = options.tls.rendered()
    return json.dumps(config, indent=2)


def rendered_users(users: Sequence[BrokerUser]) -> list[dict[str, object]]:
    """The users as the configuration has them."""
    return [_user(user) for user in users]


def _user(user: BrokerUser) -> dict[str, object]:
    entry: dict[str, object] = {"nkey": user.nkey} if user.nkey else {"user": user.name, "password": user.password}
    if user.prefixes is not None:
        publish = [f"{prefix}.>" for prefix in user.prefixes]
        entry["permissions"] = {"publish": {"allow": publish} if publish else {"deny": [">"]}, "subscribe": {"allow": [f"{user.inbox}.>"]}}
    return entry


def write_private(path: Path, text: str) -> None:
    """Write *text* to *path* at once and for its owner's eyes only."""
    draft = path.with_name(path.name + ".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
