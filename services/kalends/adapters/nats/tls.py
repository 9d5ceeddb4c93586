"""TLS between us and the broker: 1.3 and nothing older, on both sides.

Belongs here: the client's context, and what a broker of our own is told. Does not belong here: connecting (``connection``). A newcomer
would get wrong: NATS begins in the open and asks for TLS in its greeting, so whoever stands between could leave that out; a client that is
to use TLS refuses such a greeting before it says who it is.
"""

import ssl
from dataclasses import dataclass
from pathlib import Path

from kalends.adapters.nats.failures import DEPENDENCY
from kalends.domain.errors import Misconfigured


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTls:
    """What the broker must prove, and what we show: PEM files, empty for the system's authorities and for no certificate of ours.

    ``hostname`` is the name in the broker's certificate, where it is not that of the URL.
    """

    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""
    hostname: str = ""

    def context(self) -> ssl.SSLContext:
        """The context of the client.

        Raises:
            Misconfigured: a file cannot be used.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca_file or None)
            context.minimum_version = ssl.TLSVersion.TLSv1_3
            if self.certificate_file:
                # a password is given so that OpenSSL does not ask for one on the terminal
                context.load_cert_chain(self.certificate_file, self.key_file or None, password="")
        except (OSError, ssl.SSLError, ValueError) as error:
            named = ", ".join(one for one in (self.ca_file, self.certificate_file, self.key_file) if one)
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise Misconfigured(f"{named} cannot be used for TLS to NATS: {reason}", dependency=DEPENDENCY) from error
        return context


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerTls:
    """The certificate and key of a broker of our own, as PEM files that it reads again when it is told to."""

    certificate: Path
    key: Path

    def rendered(self) -> dict[str, object]:
        """As the broker's configuration says it."""
        return {"cert_file": str(self.certificate.absolute()), "key_file": str(self.key.absolute()), "min_version": "1.3", "timeout": 5}
