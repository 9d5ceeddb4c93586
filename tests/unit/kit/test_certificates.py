"""A small authority and its certificates, as OpenSSL takes them."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kalends.kit.certificates import CA_DAYS, DAYS, Issued, UnreadableError, ends_at, hosts_of, issue, new_authority

NOW = datetime.now(UTC).replace(microsecond=0)


def handshake(folder: Path, authority: Issued, server: Issued, *, host: str) -> str | None:
    """The version that a client, which trusts *authority* alone, agrees on with *server* as *host*."""
    (folder / "ca.pem").write_bytes(authority.certificate)
    (folder / "chain.pem").write_bytes(server.certificate + server.key)
    accepting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    accepting.load_cert_chain(folder / "chain.pem")
    asking = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    asking.verify_flags |= ssl.VERIFY_X509_STRICT
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = asking.wrap_bio(down, up, server_hostname=host)
    other = accepting.wrap_bio(up, down, server_side=True)
    done: set[ssl.SSLObject] = set()
    for _ in range(10):
        for side in (client, other):
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                continue
        if len(done) == 2:
            return client.version()
    return None


@pytest.mark.parametrize("host", ["localhost", "kalends.internal", "127.0.0.1", "::1"])
def test_a_certificate_is_good_for_each_of_its_hosts(tmp_path: Path, host: str) -> None:
    """By the strict rules, for names and for addresses."""
    authority = new_authority(now=NOW)
    server = issue(authority, hosts=["localhost", "kalends.internal", "127.0.0.1", "::1"], now=NOW)

    assert handshake(tmp_path, authority, server, host=host) == "TLSv1.3"


def test_a_certificate_is_good_for_nothing_else(tmp_path: Path) -> None:
    """Not for another host, not of another authority, not a client's for a server, not after its end."""
    authority = new_authority(now=NOW)
    good = issue(authority, hosts=["localhost"], now=NOW)
    wrong = [
        (authority, good, "127.0.0.1"),
        (new_authority(now=NOW), good, "localhost"),
        (authority, issue(authority, hosts=["localhost"], now=NOW, client=True), "localhost"),
        (authority, issue(authority, hosts=["localhost"], now=NOW - timedelta(days=DAYS + 1)), "localhost"),
    ]

    for trusted, server, host in wrong:
        with pytest.raises(ssl.SSLCertVerificationError):
            handshake(tmp_path, trusted, server, host=host)


def test_the_end_is_that_of_the_servers_own_certificate() -> None:
    """Which stands first in a file with several."""
    authority = new_authority(now=NOW)
    server = issue(authority, hosts=["localhost"], now=NOW)

    assert ends_at(server.certificate + authority.certificate) == NOW - timedelta(minutes=5) + timedelta(days=DAYS)
    assert ends_at(authority.certificate) == NOW - timedelta(minutes=5) + timedelta(days=CA_DAYS)


def test_the_hosts_of_a_certificate_can_be_read_again() -> None:
    """For a renewal that is to be good for the same."""
    authority = new_authority(now=NOW)

    assert hosts_of(issue(authority, hosts=["a.internal", "10.0.0.7", "::1"], now=NOW).certificate) == ["a.internal", "10.0.0.7", "::1"]


@pytest.mark.parametrize("pem", [b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_told(pem: bytes) -> None:
    """As an error of its own."""
    with pytest.raises(UnreadableError):
        ends_at(pem)
    with pytest.raises(UnreadableError):
        hosts_of(pem)
    with pytest.raises(UnreadableError):
        issue(Issued(certificate=pem, key=pem), hosts=["localhost"], now=NOW)
