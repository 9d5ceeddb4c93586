"""An authority of the cluster's own, the certificates that it issues, and kubeconfigs.

Belongs here: files of keys. Does not belong here: who may do what with them; that is RBAC's. A newcomer would get wrong: to Kubernetes the
common name of a client's certificate is the user and its organizations are the groups.
"""

import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFE = timedelta(days=365)


class Authority:
    """Issues certificates into *folder*; one that is there already goes on with its keys."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certificate_file = folder / "ca.crt"
        self.key_file = folder / "ca.key"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.certificate_file.exists():
            self._key = _loaded(self.key_file)
            self._name = x509.load_pem_x509_certificate(self.certificate_file.read_bytes()).subject
            return
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kalends-tests")])
        usage = x509.KeyUsage(**_usage(key_cert_sign=True, crl_sign=True))
        made = _begun(self._name, self._name, self._key.public_key())
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).add_extension(usage, critical=True)
        _write(self.key_file, _private(self._key))
        _write(self.certificate_file, made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, *, user: str, groups: Sequence[str] = (), addresses: Sequence[str] = (), hosts: Sequence[str] = ()) -> None:
        """Write ``NAME.crt`` and ``NAME.key``, a client's, and a server's too if it has *addresses*; nothing if they are there."""
        if self.file(f"{name}.crt").exists():
            return
        key = ec.generate_private_key(ec.SECP256R1())
        organizations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        subject = x509.Name([*organizations, x509.NameAttribute(NameOID.COMMON_NAME, user)])
        purposes = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if addresses else [])]
        made = _begun(subject, self._name, key.public_key())
        made = made.add_extension(x509.KeyUsage(**_usage(digital_signature=True)), critical=True)
        made = made.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        if addresses:
            names = [*(x509.IPAddress(IPv4Address(address)) for address in addresses), *(x509.DNSName(host) for host in hosts)]
            made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
        _write(self.file(f"{name}.key"), _private(key))
        _write(self.file(f"{name}.crt"), made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def signing_key(self, name: str) -> Path:
        """The file of an RSA key, with which tokens of service accounts are signed."""
        path = self.file(name)
        if not path.exists():
            _write(path, _private(rsa.generate_private_key(public_exponent=65_537, key_size=2048)))
        return path

    def file(self, name: str) -> Path:
        """Where a file of that name is, or will be."""
        return self.folder / name

    def client_config(self, name: str, *, server: str) -> Path:
        """The kubeconfig of whoever has the certificate *name*."""
        user = {"client-certificate-data": self._data(f"{name}.crt"), "client-key-data": self._data(f"{name}.key")}
        return self._config(name, user, server=server, namespace="default")

    def token_config(self, name: str, token: str, *, server: str, namespace: str) -> Path:
        """The kubeconfig of whoever has *token*."""
        return self._config(name, {"token": token}, server=server, namespace=namespace)

    def _config(self, name: str, user: dict[str, Any], *, server: str, namespace: str) -> Path:
        cluster = {"server": server, "certificate-authority-data": self._data("ca.crt")}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "tests",
            "clusters": [{"name": "tests", "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": name, "namespace": namespace}}],
        }
        path = self.file(f"{name}.kubeconfig")
        _write(path, json.dumps(config, indent=1).encode())
        return path

    def _data(self, name: str) -> str:
        return base64.b64encode(self.file(name).read_bytes()).decode()


def _begun(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    return made.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(hours=1)).not_valid_after(now + _LIFE)


def _usage(**given: bool) -> dict[str, bool]:
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
    )
    return {name: given.get(name, False) for name in (*names, "encipher_only", "decipher_only")}


def _private(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, plain)


def _loaded(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def _write(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)
