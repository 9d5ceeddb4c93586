"""Certificates in PEM files: when they end, and a small authority of one's own that makes them.

Belongs here: reading and making certificates and their keys, as bytes. Does not belong here: files, or serving with them. A newcomer would
get wrong: whoever has the authority's key can be anybody to those who trust it, so it is kept apart from what a server reads.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAYS = 397
"""As long as clients take certificates of public authorities at all."""

CA_DAYS = 10 * DAYS
_BACK = timedelta(minutes=5)
"""Clocks of other machines may be a little behind."""


class UnreadableError(ValueError):
    """The bytes are no certificate or no key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A certificate and its private key, both as PEM."""

    certificate: bytes
    key: bytes


def ends_at(pem: bytes) -> datetime:
    """When the first certificate in *pem*, which is the server's own, ends; aware, UTC.

    Raises:
        UnreadableError: there is none.
    """
    try:
        return x509.load_pem_x509_certificates(pem)[0].not_valid_after_utc
    except (ValueError, IndexError) as error:
        raise UnreadableError("no certificate in PEM form") from error


def new_authority(*, now: datetime, name: str = "Kalends local CA") -> Issued:
    """An authority of one's own, which signs certificates and nothing else."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(name, issuer=name, key=key, now=now, days=CA_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs=True), critical=True)
    return _issued(builder, key=key, signer=key)


def issue(authority: Issued, *, hosts: Sequence[str], now: datetime, client: bool = False) -> Issued:
    """A certificate for a server that is reached as any of *hosts* (names or addresses); or, for a *client*, one in their first's name.

    Raises:
        UnreadableError: *authority* is none.
    """
    try:
        issuer = x509.load_pem_x509_certificate(authority.certificate)
        signer = serialization.load_pem_private_key(authority.key, password=None)
    except (ValueError, TypeError) as error:
        raise UnreadableError("the authority's certificate or key cannot be read") from error
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise UnreadableError("the authority's key is not one that we made")
    key = ec.generate_private_key(ec.SECP256R1())
    common = issuer.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    builder = _builder(hosts[0], issuer=str(common[0].value) if common else "", key=key, now=now, days=DAYS)
    builder = builder.add_extension(x509.SubjectAlternativeName([_general(host) for host in hosts]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs=False), critical=True)
    purpose = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
    builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    authority_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    return _issued(builder.add_extension(authority_key, critical=False), key=key, signer=signer)


def _builder(name: str, *, issuer: str, key: ec.EllipticCurvePrivateKey, now: datetime, days: int) -> x509.CertificateBuilder:
    def called(common: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[:64])])

    return (
        x509.CertificateBuilder()
        .subject_name(called(name))
        .issuer_name(called(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACK)
        .not_valid_after(now - _BACK + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _issued(builder: x509.CertificateBuilder, *, key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey) -> Issued:
    certificate = builder.sign(signer, hashes.SHA256())
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Issued(certificate=certificate.public_bytes(serialization.Encoding.PEM), key=private)


def hosts_of(pem: bytes) -> list[str]:
    """The hosts that the first certificate in *pem* is good for, in its order.

    Raises:
        UnreadableError: there is none.
    """
    try:
        certificate = x509.load_pem_x509_certificates(pem)[0]
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, IndexError, x509.ExtensionNotFound) as error:
        raise UnreadableError("no certificate with hosts in PEM form") from error
    return [str(name.value) for name in names]
