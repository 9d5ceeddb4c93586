"""No exception of the HTTP library passes."""

import ssl
from pathlib import Path

import httpx
import pytest

from kalends.client import transport
from kalends.client.connection import Connection
from kalends.client.errors import ClientError, NotConnected, Unreachable, Unreadable


def _all(kind: type[Exception]) -> set[type[Exception]]:
    return {kind}.union(*(_all(child) for child in kind.__subclasses__()))


RAISED = sorted((_all(httpx.RequestError) | {httpx.InvalidURL}), key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", RAISED, ids=lambda kind: kind.__name__)
def test_every_exception_of_a_request_becomes_one_of_ours(kind):
    """Enumerated, so that a new one of the library fails here."""
    with pytest.raises(ClientError) as caught, transport.translated("http://x"):
        raise kind("broken")

    assert isinstance(caught.value.__cause__, kind)


@pytest.mark.parametrize(
    ("error", "expected", "sent"),
    [
        (httpx.ConnectError("refused"), Unreachable, False),
        (httpx.ReadTimeout("slow"), Unreachable, True),
        (httpx.RemoteProtocolError("gone"), Unreachable, True),
        (httpx.DecodingError("garbled"), Unreadable, None),
        (httpx.UnsupportedProtocol("ftp"), NotConnected, None),
    ],
)
def test_it_is_known_whether_a_request_may_have_arrived(error, expected, sent):
    """Only what certainly never left may be repeated when repeating is not harmless."""
    found = transport.translate(error, url="http://x")

    assert type(found) is expected
    assert getattr(found, "sent", None) is sent


def test_proxies_of_the_environment_are_not_asked_for_this_machine():
    """A token for loopback has no business at a proxy."""
    assert transport.client_arguments(Connection(url="http://127.0.0.1:7410"), timeout_s=1)["trust_env"] is False
    assert transport.client_arguments(Connection(url="https://m.example"), timeout_s=1)["trust_env"] is True


def test_over_https_nothing_older_than_tls_1_3_is_spoken():
    """Whatever the system would allow."""
    arguments = transport.client_arguments(Connection(url="https://elsewhere:7410"), timeout_s=1)

    assert arguments["verify"].minimum_version == ssl.TLSVersion.TLSv1_3
    assert arguments["verify"].verify_mode == ssl.CERT_REQUIRED


def test_certificates_that_cannot_be_used_are_told_before_anything_is_sent():
    """By their path."""
    with pytest.raises(NotConnected, match=r"/nowhere/ca\.pem"):
        transport.client_arguments(Connection(url="https://elsewhere:7410", ca_file=Path("/nowhere/ca.pem")), timeout_s=1)
