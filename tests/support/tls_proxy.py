"""A TLS proxy before a plain HTTP server, which asks for a password or for a client's certificate; and the certificates.

Belongs here: what OpenSearch's security plugin does at the door. Does not belong here: rights. A newcomer would get wrong: the OpenSearch
of the tests has no security plugin, so what is proven is that our client keeps to TLS and shows its credentials, not how a server judges
them.
"""

import base64
import datetime as dt
import io
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFE = dt.timedelta(days=2)
_LARGEST = 64 << 20
_PASSED_ON = {"content-type", "accept"}


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A certificate's file and its key's."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority whose certificate is in ``file``."""

    def __init__(self, folder: Path, *, name: str = "authority") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"kalends tests {name}")])
        usage = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        built = self._builder(self._name, self._key.public_key()).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        certificate = built.add_extension(usage, critical=True).sign(self._key, hashes.SHA256())
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def server(self, host: str = "127.0.0.1") -> Pair:
        """A certificate for a server on *host*, an address."""
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
        return self._pair("server", ExtendedKeyUsageOID.SERVER_AUTH, names)

    def client(self) -> Pair:
        """A certificate for a client."""
        return self._pair("client", ExtendedKeyUsageOID.CLIENT_AUTH, x509.SubjectAlternativeName([x509.DNSName("kalends")]))

    def _pair(self, name: str, usage: x509.ObjectIdentifier, names: x509.SubjectAlternativeName) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"kalends tests {name}")])
        built = self._builder(subject, key.public_key()).add_extension(names, critical=False)
        certificate = built.add_extension(x509.ExtendedKeyUsage([usage]), critical=False).sign(self._key, hashes.SHA256())
        pair = Pair(certificate=self._folder / f"{name}.pem", key=self._folder / f"{name}.key")
        pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        pair.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        return pair

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        ours = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        begun = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key)
        dated = begun.serial_number(x509.random_serial_number()).not_valid_before(now - _LIFE).not_valid_after(now + _LIFE)
        return dated.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False).add_extension(ours, critical=False)


class TlsProxy:
    """What a proxy saw: requests that were passed on, and those that were refused for their credentials."""

    def __init__(self) -> None:
        self.url = ""
        self.passed = 0
        self.refused = 0


@asynccontextmanager
async def tls_proxy(target: str, pair: Pair, *, user: str = "", password: str = "", clients: Path | None = None) -> AsyncIterator[TlsProxy]:
    """A proxy to the HTTP server at *target*.

    With *user* every request must carry the password; with *clients*, a file of authorities, every connection a certificate of theirs.
    """
    proxy = TlsProxy()
    wanted = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode() if user else ""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients)

    async with aiohttp.ClientSession(auto_decompress=False) as upstream:

        async def pass_on(request: web.Request) -> web.Response:
            if wanted and request.headers.get("authorization") != wanted:
                proxy.refused += 1
                return web.json_response({"error": "Unauthorized", "status": 401}, status=401)
            proxy.passed += 1
            headers = {name: value for name, value in request.headers.items() if name.lower() in _PASSED_ON}
            headers["accept-encoding"] = "identity"
            body = await request.read()
            async with upstream.request(
                request.method, target + request.path_qs, data=io.BytesIO(body) if body else None, headers=headers
            ) as answer:
                content = await answer.read()
                return web.Response(status=answer.status, body=content, content_type=answer.content_type)

        application = web.Application(client_max_size=_LARGEST)
        application.router.add_route("*", "/{path:.*}", pass_on)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        proxy.url = f"https://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield proxy
        finally:
            await runner.cleanup()
