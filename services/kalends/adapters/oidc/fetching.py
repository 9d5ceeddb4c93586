"""Requests to issuers: short, over TLS, with a deadline and a longest answer.

Belongs here: the client and what may be asked where. Does not belong here: what an answer means. A newcomer would get wrong: an address
that an issuer's document names is checked like one of the settings; plain HTTP is for loopback only.
"""

import asyncio
import ipaddress
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec

from kalends.adapters.oidc.failures import DEPENDENCY, HTTP_ERRORS, unreachable
from kalends.domain.errors import DeadlineExceeded, Misconfigured, Unavailable

MOST_BYTES = 1 << 20
_ACCEPTED = "application/json, application/jwk-set+json"
"""An API server of Kubernetes gives its keys as the latter and nothing else, and answers 406 to whoever does not take that."""


class Fetcher:
    """Asks one server; *ca_file* and *token_file* may be empty."""

    def __init__(self, *, name: str, ca_file: str, token_file: str, deadline_s: float) -> None:
        self._name = name
        self._token_file = Path(token_file) if token_file else None
        self._deadline_s = deadline_s
        self._client = httpx.AsyncClient(
            headers={"user-agent": "kalends", "accept": _ACCEPTED, "accept-encoding": "identity"},
            # the deadline is kept here; httpx's own would only be counted between two reads
            timeout=None,  # noqa: S113 - see above
            verify=_trusted(ca_file),
            trust_env=False,
            follow_redirects=False,
        )

    async def json(self, url: str, *, body: object = None) -> Any:
        """The JSON at *url*, as the answer to *body* (None: a GET).

        Raises:
            Unavailable: no answer, a failure, or no JSON. DeadlineExceeded: none in time. Misconfigured: an address that is not to be
            asked, or a token file that cannot be read.
        """
        check_url(url)
        headers = {} if self._token_file is None else {"authorization": f"Bearer {await asyncio.to_thread(self._token)}"}
        content = None if body is None else msgspec.json.encode(body)
        if content is not None:
            headers["content-type"] = "application/json"
        try:
            async with asyncio.timeout(self._deadline_s):
                return msgspec.json.decode(await self._exchange(url, content, headers))
        except TimeoutError as error:
            detail = f"no answer from {self._name} within {self._deadline_s:g} s"
            raise DeadlineExceeded(detail, dependency=DEPENDENCY, retry_after=1.0) from error
        except tuple(HTTP_ERRORS) as error:
            raise unreachable(error, name=self._name) from error
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise Unavailable(f"{self._name} answers with something that is no JSON", dependency=DEPENDENCY, retry_after=5.0) from error

    async def close(self) -> None:
        """End the connections."""
        await self._client.aclose()

    async def _exchange(self, url: str, content: bytes | None, headers: dict[str, str]) -> bytes:
        async with self._client.stream("GET" if content is None else "POST", url, content=content, headers=headers) as answer:
            if answer.status_code not in (200, 201):
                raise Unavailable(f"{self._name} answers with status {answer.status_code}", dependency=DEPENDENCY, retry_after=5.0)
            found = bytearray()
            async for chunk in answer.aiter_raw():
                found += chunk
                if len(found) > MOST_BYTES:
                    raise Unavailable(f"{self._name} answers with more than {MOST_BYTES} bytes", dependency=DEPENDENCY, retry_after=5.0)
            return bytes(found)

    def _token(self) -> str:
        try:
            text = self._token_file.read_text(encoding="ascii").strip() if self._token_file else ""
        except (OSError, UnicodeDecodeError) as error:
            raise Misconfigured(f"the token file for {self._name} cannot be read: {self._token_file}") from error
        return text


def check_url(url: str) -> None:
    """See that *url* may be asked.

    Raises:
        Misconfigured: it is neither HTTPS nor on loopback.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError as error:
        raise Misconfigured("an issuer's address is no URL") from error
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and _on_loopback(host))):
        raise Misconfigured(f"an issuer's address must be https, or on loopback; got {parts.scheme}://{host}")


def _on_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _trusted(ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise Misconfigured(f"the certificates in {ca_file} cannot be read") from error
