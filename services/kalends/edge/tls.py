"""TLS on our own listeners: 1.3 and nothing older, with certificates that may be exchanged while connections are open.

Belongs here: contexts from files, reading these again, and when the certificate ends. Does not belong here: listening (``listeners``). A
newcomer would get wrong: a context that is in use takes another certificate for its next handshake, and connections that are open go on
with the old one; so nothing is ever dropped, and a context is never replaced.
"""

import asyncio
import contextlib
import ipaddress
import os
import ssl
import stat
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import structlog

from kalends.domain.errors import Misconfigured
from kalends.edge.services import Health
from kalends.kit.certificates import UnreadableError, ends_at
from kalends.settings import HttpSettings, TlsSettings

log = structlog.get_logger(__name__)

SOON_DAYS = 30
"""From so many days before its end on, a certificate is told of."""

_WORLD = 0o007
_DAY_S = 86_400.0


def check_plain(http: HttpSettings, tls: TlsSettings) -> None:
    """Refuse listeners that anybody on the network could listen to.

    Raises:
        Misconfigured: there is no certificate, the address is not of this machine alone, and nobody said that this is meant.
    """
    if tls.certificate_file or tls.allow_plain or is_loopback(http.host):
        return
    raise Misconfigured(
        f"http.host {http.host} can be reached by others, and without TLS tokens and memories would pass in the open: set "
        "tls.certificate_file and tls.key_file (`kalends tls init` makes them), or tls.allow_plain = true behind a proxy that ends TLS"
    )


def is_loopback(host: str) -> bool:
    """Whether an address is of this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Files:
    """What the files held when they were read."""

    certificate: bytes
    key: bytes = field(repr=False)
    clients: bytes = b""


class ListenerTls:
    """The contexts of both listeners; ``api`` wants a client's certificate where an authority for these is set, ``operations`` never."""

    def __init__(self, settings: TlsSettings, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Read the files.

        Raises:
            Misconfigured: one cannot be read or used, or the key may be read by everybody.
        """
        self._settings = settings
        self._now = now
        self._seen: _Files | None = None
        self.api = _context()
        self.operations = _context()
        if settings.client_ca_file:
            self.api.verify_mode = ssl.CERT_REQUIRED
        self.ends_at = now()
        self.reload()

    def reload(self) -> bool:
        """Take the files as they are now for every handshake from now on; whether anything had changed.

        Raises:
            Misconfigured: they do not fit together, as while they are being exchanged; what was taken before goes on to serve.
        """
        found = self._read()
        if found is not None:
            self._take(found)
        return found is not None

    def _read(self) -> "_Files | None":
        """The files, tried on a context of their own; None if they are those that serve."""
        settings = self._settings
        found = _Files(
            certificate=_content(settings.certificate_file, "tls.certificate_file"),
            key=_content(settings.key_file, "tls.key_file", secret=True),
            clients=_content(settings.client_ca_file, "tls.client_ca_file") if settings.client_ca_file else b"",
        )
        if found == self._seen:
            return None
        try:
            ends_at(found.certificate)
        except UnreadableError as error:
            raise Misconfigured(f"tls.certificate_file: {settings.certificate_file} holds no certificate in PEM form") from error
        _load(_context(), found, clients=True)
        return found

    def _take(self, found: "_Files") -> None:
        """Only where handshakes are made, so that none sees the certificate without its key."""
        self.ends_at = ends_at(found.certificate)
        _load(self.api, found, clients=True)
        _load(self.operations, found, clients=False)
        self._seen = found

    @property
    def left_s(self) -> float:
        """Seconds until our certificate ends; negative once it has."""
        return (self.ends_at - self._now()).total_seconds()

    def health(self) -> list[Health]:
        """Degraded while our certificate ends soon."""
        days = self.left_s / _DAY_S
        soon = days < SOON_DAYS
        told = f"ends {self.ends_at:%Y-%m-%d}" if days >= 0 else f"ended {self.ends_at:%Y-%m-%d}"
        step = "renew it (`kalends tls init DIR --renew` for one of your own CA); it is read again by itself" if soon else ""
        state = "degraded" if soon else "up"
        return [Health(name="certificate", state=state, since=self._now().isoformat(), detail=told, next_step=step, required=False)]

    async def follow(self, told: Callable[[float], None], changed: Callable[[], Awaitable[None]] | None = None) -> None:
        """Read the files again and again until cancelled; *told* gets the seconds until the certificate ends.

        *changed* is called after each change, for whoever else serves with the same files.
        """
        while True:
            told(self.left_s)
            await asyncio.sleep(self._settings.reload_s)
            try:
                found = await asyncio.to_thread(self._read)
                if found is not None:
                    self._take(found)
                    log.info("another certificate serves from now on", ends=self.ends_at.isoformat())
                    if changed is not None:
                        await changed()
            except Misconfigured as error:
                log.warning("the certificate cannot be read again", reason=error.detail)


def open_tls(settings: TlsSettings) -> ListenerTls | None:
    """The contexts that *settings* ask for, if they do.

    Raises:
        Misconfigured: only one of certificate and key is named, or one cannot be used.
    """
    if not settings.certificate_file and not settings.key_file:
        if settings.client_ca_file:
            raise Misconfigured("tls.client_ca_file needs tls.certificate_file and tls.key_file")
        return None
    if not settings.certificate_file or not settings.key_file:
        raise Misconfigured("tls.certificate_file and tls.key_file go together")
    return ListenerTls(settings)


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["http/1.1"])
    return context


def _load(context: ssl.SSLContext, files: _Files, *, clients: bool) -> None:
    try:
        with _held(files.certificate + b"\n" + files.key) as path:
            # a password is given so that OpenSSL does not ask for one on the terminal
            context.load_cert_chain(path, password="")
    except (OSError, ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or type(error).__name__
        raise Misconfigured(f"tls.certificate_file and tls.key_file cannot be used together: {reason}") from error
    if clients and files.clients:
        try:
            context.load_verify_locations(cadata=files.clients.decode("ascii"))
        except (ValueError, ssl.SSLError) as error:
            raise Misconfigured("tls.client_ca_file holds no certificate in PEM form") from error


@contextlib.contextmanager
def _held(content: bytes) -> Iterator[str]:
    """A path to *content*, which OpenSSL insists on; in memory where the system can do that.

    The files themselves may be exchanged between two looks at them, and a context that serves must never get half of a pair.
    """
    if sys.platform == "linux":
        handle = os.memfd_create("kalends-tls")
        try:
            os.write(handle, content)
            yield f"/proc/self/fd/{handle}"
        finally:
            os.close(handle)
    else:
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            yield file.name


def _content(path: str, setting: str, *, secret: bool = False) -> bytes:
    try:
        handle = os.open(Path(path), os.O_RDONLY)
        try:
            if secret and sys.platform != "win32" and stat.S_IMODE(os.fstat(handle).st_mode) & _WORLD:
                raise Misconfigured(f"{setting}: {path} can be read by everybody; run: chmod 600 {path}")
            return os.read(handle, 1 << 20)
        finally:
            os.close(handle)
    except OSError as error:
        raise Misconfigured(f"{setting}: {path} cannot be read: {error.strerror}") from error
