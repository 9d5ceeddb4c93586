"""Certificates for tests, made when they are needed, and clients that are limited to a version of TLS.

Belongs here: files and contexts. Does not belong here: servers. A newcomer would get wrong: nothing here is checked in, so nothing ends.
"""

import socket
import ssl
from pathlib import Path

from kalends.app.authority import Places, begin
from kalends.settings import TlsSettings


def certificates(folder: Path) -> Places:
    """An authority and a server's certificate for this machine."""
    return begin(folder, hosts=[])


def settings(places: Places, **more: object) -> TlsSettings:
    """The settings that name them."""
    named: dict[str, object] = {
        "certificate_file": str(places.certificate),
        "key_file": str(places.key),
        "ca_file": str(places.ca),
        "reload_s": 0.1,
        **more,
    }
    return TlsSettings(**named)  # type: ignore[arg-type]


def variables(places: Places) -> dict[str, str]:
    """The same as variables of an instance."""
    return {
        "KALENDS_TLS__CERTIFICATE_FILE": str(places.certificate),
        "KALENDS_TLS__KEY_FILE": str(places.key),
        "KALENDS_TLS__CA_FILE": str(places.ca),
        "KALENDS_TLS__RELOAD_S": "0.2",
    }


def trusting(places: Places, *, client: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    """A client's context that trusts the authority alone."""
    context = ssl.create_default_context(cafile=str(places.ca))
    if client is not None:
        context.load_cert_chain(*client)
    return context


def limited(places: Places, version: ssl.TLSVersion) -> ssl.SSLContext:
    """A client that speaks nothing newer than *version*."""
    context = trusting(places)
    context.maximum_version = version
    return context


def shaken(port: int, context: ssl.SSLContext, *, host: str = "localhost") -> tuple[str | None, bytes]:
    """Version and the server's certificate of a new connection.

    Raises:
        OSError: the server refuses, or is not trusted.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain, context.wrap_socket(plain, server_hostname=host) as secured:
        return secured.version(), secured.getpeercert(binary_form=True) or b""
