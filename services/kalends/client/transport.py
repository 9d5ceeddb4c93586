"""Between the client's values and httpx's: arguments, answers, errors.

Belongs here: the one table from httpx's exceptions to ours, and how a connection becomes an httpx client's settings. Does not belong here:
what is retried (``exchanges``). A newcomer would get wrong: on loopback the environment's proxies are ignored, because a token for this
machine has no business at a proxy.
"""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import httpx

from kalends.client.agents import AgentLogin, read_key
from kalends.client.connection import Connection
from kalends.client.errors import ClientError, NotConnected, Unreachable, Unreadable
from kalends.client.exchanges import Answer
from kalends.client.requests import Request

USER_AGENT = "kalends-client"
CONNECT_S = 5.0

NEVER_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
NEVER_SENDABLE: Final = (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError)
NOT_OURS: Final = (httpx.DecodingError, httpx.TooManyRedirects)


def translate(error: httpx.HTTPError | httpx.InvalidURL, *, url: str) -> ClientError:
    """Our error for httpx's; the most specific first."""
    reason = str(error) or type(error).__name__
    if isinstance(error, NEVER_SENDABLE):
        return NotConnected(f"cannot send to {url}: {reason}")
    if isinstance(error, NOT_OURS):
        return Unreadable(f"{url}: {reason}")
    if isinstance(error, NEVER_SENT):
        return Unreachable(f"nothing answers at {url}: {reason}", sent=False)
    return Unreachable(f"the connection to {url} broke: {reason}")


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Let no httpx exception pass.

    Raises:
        NotConnected: the URL or a header cannot be sent at all.
        Unreachable: no answer came.
        Unreadable: an answer came that cannot be read.
    """
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise translate(error, url=url) from error


def client_arguments(connection: Connection, *, timeout_s: float) -> dict[str, Any]:
    """What both httpx clients are made with."""
    headers = {"user-agent": USER_AGENT, "accept": "application/json"}
    if connection.token is not None:
        headers["authorization"] = f"Bearer {connection.token}"
    return {
        "base_url": connection.url + "/v1",
        "headers": headers,
        "auth": None if connection.agent_key_file is None else AgentLogin(read_key(connection.agent_key_file), url=connection.url),
        "timeout": httpx.Timeout(timeout_s, connect=min(CONNECT_S, timeout_s)),
        "trust_env": not connection.local,
        "verify": _verified(connection) if connection.url.startswith("https:") else True,
    }


def _verified(connection: Connection) -> ssl.SSLContext:
    """TLS 1.3 and nothing older, the server checked against the connection's certificates, or the system's."""
    try:
        context = ssl.create_default_context(cafile=None if connection.ca_file is None else str(connection.ca_file))
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        if connection.certificate_file is not None:
            # a password is given so that OpenSSL does not ask for one on the terminal
            context.load_cert_chain(connection.certificate_file, connection.key_file, password="")
    except (OSError, ssl.SSLError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        named = ", ".join(str(one) for one in (connection.ca_file, connection.certificate_file, connection.key_file) if one is not None)
        raise NotConnected(f"{named} cannot be used for TLS: {reason}") from error
    return context


def request_arguments(request: Request[Any]) -> dict[str, Any]:
    """What both httpx clients are asked with."""
    headers: Mapping[str, str] = request.headers
    if request.body is not None:
        headers = {"content-type": "application/json", **headers}
    return {"method": request.method, "url": request.path, "params": request.params or None, "content": request.body, "headers": headers}


def answer(response: httpx.Response) -> Answer:
    """Httpx's response as ours."""
    return Answer(status=response.status_code, headers={k.lower(): v for k, v in response.headers.items()}, content=response.content)
