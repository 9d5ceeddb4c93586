"""A certificate authority of one's own, in a folder, for a laptop or a small network.

Belongs here: which files there are and when they are made. Does not belong here: making certificates (``kit.certificates``). A newcomer
would get wrong: the authority's key lies in a folder of its own, because no server needs it; who keeps it elsewhere loses nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from kalends.adapters.embedded import files
from kalends.domain.errors import Misconfigured
from kalends.kit import certificates
from kalends.kit.certificates import Issued, UnreadableError

HOSTS = ("localhost", "127.0.0.1", "::1")
_PRIVATE, _PUBLIC = 0o600, 0o644


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where everything is, below one folder."""

    folder: Path

    @property
    def ca(self) -> Path:
        """What clients trust; no secret."""
        return self.folder / "ca.pem"

    @property
    def ca_key(self) -> Path:
        """What signs; to be kept apart from servers."""
        return self.folder / "authority" / "ca-key.pem"

    @property
    def certificate(self) -> Path:
        """The server's."""
        return self.folder / "server.pem"

    @property
    def key(self) -> Path:
        """The server's."""
        return self.folder / "server-key.pem"

    def of_client(self, name: str) -> tuple[Path, Path]:
        """A client's certificate and key."""
        return self.folder / f"client-{name}.pem", self.folder / f"client-{name}-key.pem"


def begin(folder: Path, *, hosts: Sequence[str]) -> Places:
    """Make an authority and a server's certificate for *hosts* and this machine.

    Raises:
        Misconfigured: there is an authority already, or the folder cannot be written.
    """
    places = Places(folder=folder)
    if places.ca.exists() or places.ca_key.exists():
        raise Misconfigured(f"{folder} has an authority already; give --renew for new certificates from it, or another folder")
    now = datetime.now(UTC)
    authority = certificates.new_authority(now=now)
    server = certificates.issue(authority, hosts=_all(hosts), now=now)
    for path in (folder, places.ca_key.parent):
        _folder(path)
    _write(places.ca_key, authority.key, _PRIVATE)
    _write(places.ca, authority.certificate, _PUBLIC)
    _keep(places.certificate, places.key, server)
    return places


def renew(folder: Path, *, hosts: Sequence[str]) -> Places:
    """Make a new server's certificate from the authority in *folder*, for *hosts* or, without any, for those of the last one.

    Raises:
        Misconfigured: there is no authority, or its key is kept elsewhere; or a file cannot be read or written.
    """
    places = Places(folder=folder)
    try:
        wanted = _all(hosts) if hosts else certificates.hosts_of(_read(places.certificate))
        server = certificates.issue(_authority(places), hosts=wanted, now=datetime.now(UTC))
    except UnreadableError as error:
        raise Misconfigured(f"{folder}: {error}") from error
    _keep(places.certificate, places.key, server)
    return places


def add_client(folder: Path, name: str) -> tuple[Path, Path]:
    """Make a certificate with which *name* shows itself to a server that wants one; the files of certificate and key.

    Raises:
        Misconfigured: there is no authority, or its key is kept elsewhere; or a file cannot be written.
    """
    places = Places(folder=folder)
    try:
        client = certificates.issue(_authority(places), hosts=[name], now=datetime.now(UTC), client=True)
    except UnreadableError as error:
        raise Misconfigured(f"{folder}: {error}") from error
    certificate, key = places.of_client(name)
    _keep(certificate, key, client)
    return certificate, key


def _authority(places: Places) -> Issued:
    return Issued(certificate=_read(places.ca), key=_read(places.ca_key))


def _all(hosts: Sequence[str]) -> list[str]:
    return list(dict.fromkeys([*hosts, *HOSTS]))


def _keep(certificate: Path, key: Path, issued: Issued) -> None:
    _write(key, issued.key, _PRIVATE)
    _write(certificate, issued.certificate, _PUBLIC)


def _folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise Misconfigured(f"the folder {path} cannot be made: {error.strerror}") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read: {error.strerror}") from error


def _write(path: Path, content: bytes, mode: int) -> None:
    def write(temporary: Path) -> None:
        temporary.touch(mode=mode)
        temporary.write_bytes(content)

    try:
        files.write_whole(path, write)
    except OSError as error:
        raise Misconfigured(f"{path} cannot be written: {error.strerror}") from error
