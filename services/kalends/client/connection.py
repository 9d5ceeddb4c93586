"""Where the server is, and with which token or key.

Belongs here: explicit arguments before ``KALENDS_URL``, ``KALENDS_TOKEN_FILE`` and ``KALENDS_AGENT_KEY_FILE`` before the files of the local
instance. Does not belong here: anything about requests. A newcomer would get wrong: the local instance's token is only ever sent to the
local instance, never to another URL that somebody names.
"""

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from kalends.client.errors import NotConnected


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A base URL without a trailing slash and, where one was found, a token or an agent's key file.

    ``ca_file`` holds the certificates that the server's must be signed by (None: those of the system); ``certificate_file`` and
    ``key_file`` are our own, for a server that wants one.
    """

    url: str
    token: str | None = field(default=None, repr=False)
    agent_key_file: Path | None = None
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None

    @property
    def local(self) -> bool:
        """Whether the URL is on this machine's loopback; proxies are not asked for those."""
        host = urlsplit(self.url).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """What ``kalends up`` writes into its data folder as ``instance.json``."""

    url: str
    ops_url: str = ""
    pid: int = 0
    ca_file: str = ""


def data_folder(environment: Mapping[str, str] | None = None) -> Path:
    """The data folder of the local instance: ``KALENDS_DATA``, else the platform's user data folder."""
    named = (os.environ if environment is None else environment).get("KALENDS_DATA")
    if named:
        return Path(named)
    import platformdirs

    return Path(platformdirs.user_data_dir("kalends", appauthor=False))


def local_instance(data: Path) -> Instance | None:
    """The instance that runs, or last ran, on *data*; None if there was none."""
    try:
        return msgspec.json.decode((data / "instance.json").read_bytes(), type=Instance)
    except (OSError, msgspec.MsgspecError):
        return None


def find(
    *,
    url: str | None = None,
    token: str | None = None,
    token_file: str | Path | None = None,
    agent_key_file: str | Path | None = None,
    ca_file: str | Path | None = None,
    certificate_file: str | Path | None = None,
    key_file: str | Path | None = None,
    data: str | Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Connection:
    """Find the server and the token.

    Raises:
        NotConnected: no URL was given and no local instance was found, a named token file cannot be read, or a token and a key are given.
    """
    environment = os.environ if environment is None else environment
    folder = Path(data) if data else data_folder(environment)
    instance = local_instance(folder)
    chosen = url or environment.get("KALENDS_URL") or (instance.url if instance else None)
    if not chosen:
        raise NotConnected(f"no instance has run in {folder}: start one with `kalends up`, or name one with --url or KALENDS_URL")
    chosen = _checked_url(chosen)
    here = instance is not None and chosen == instance.url.rstrip("/")
    connect = partial(
        Connection,
        url=chosen,
        ca_file=_path(ca_file, environment, "KALENDS_CA_FILE", (instance.ca_file if instance is not None and here else "")),
        certificate_file=_path(certificate_file, environment, "KALENDS_CLIENT_CERTIFICATE_FILE"),
        key_file=_path(key_file, environment, "KALENDS_CLIENT_KEY_FILE"),
    )
    if agent_key_file and (token is not None or token_file):
        raise NotConnected("give a token or an agent's key, and not both")
    if token is None and not token_file:
        agent_key = agent_key_file or environment.get("KALENDS_AGENT_KEY_FILE")
        if agent_key:
            return connect(agent_key_file=Path(agent_key))
    named = token_file or environment.get("KALENDS_TOKEN_FILE")
    if token is None and named:
        token = _read(Path(named))
    if token is None and instance is not None and chosen == instance.url.rstrip("/") and (folder / "token").exists():
        token = _read(folder / "token")
    return connect(token=None if token is None else _checked_token(token))


def _path(given: str | Path | None, environment: Mapping[str, str], variable: str, otherwise: str = "") -> Path | None:
    found = given or environment.get(variable) or otherwise
    return Path(found) if found else None


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise NotConnected(f"{url!r} is not an http or https URL")
    return url.rstrip("/").removesuffix("/v1")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not plain text"
        raise NotConnected(f"cannot read the token file {path}: {reason}") from error


def _checked_token(token: str) -> str:
    if not re.fullmatch(r"[!-~]+", token.strip()):
        raise NotConnected("the token is empty or holds characters that no header can carry")
    return token.strip()
