"""The connection to OpenSearch: nodes, TLS, credentials, deadlines and what is tried again.

Belongs here: one request and its answer as JSON. Does not belong here: what is asked. A newcomer would get wrong: OpenSearch's client
retries nothing here and logs nothing, because its log lines hold URLs and bodies; a node that does not answer is passed over by us, within
the one deadline of the call.
"""

import asyncio
import functools
import io
import ssl
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import opensearchpy
from opensearchpy.exceptions import ConnectionError as NoConnection
from opensearchpy.exceptions import TransportError

from kalends.adapters.opensearch.failures import DEPENDENCY, OPENSEARCH_ERRORS, RETRY_AFTER_S, is_our_fault, translate
from kalends.domain.errors import DeadlineExceeded, Misconfigured, Unavailable
from kalends.settings import OpensearchSettings

OLDEST: Final = (2, 12)
"""The oldest release that knows everything that is asked here; tested is 3.8."""

Params = Mapping[str, str]

_ANOTHER_NODE = frozenset({502, 503, 504})
_MIN_TRY_S = 0.05


class OpenSearchClient:
    """Requests to one OpenSearch cluster."""

    def __init__(self, raw: opensearchpy.AsyncOpenSearch, *, settings: OpensearchSettings, nodes: int) -> None:
        self.settings = settings
        self._raw = raw
        # a kept connection may have been closed under us, so even a lone node is asked twice
        self._tries = max(2, nodes)
        self._nodes = nodes

    async def call(
        self,
        method: str,
        path: str,
        *,
        deadline_s: float,
        body: Mapping[str, Any] | bytes | None = None,
        params: Params | None = None,
        again: bool = True,
    ) -> Any:
        """The answer to one request as JSON; asked *again* of the next node if one cannot be reached.

        Raises:
            Unavailable: no node answers, or it cannot do it now. DeadlineExceeded: not within *deadline_s* seconds.
            NotFound: there is no such index. Damaged: OpenSearch cannot make sense of it.
        """
        try:
            return await self.exchange(method, path, deadline_s=deadline_s, body=body, params=params, again=again)
        except tuple(OPENSEARCH_ERRORS) as error:
            raise translate(error) from error

    async def exchange(
        self,
        method: str,
        path: str,
        *,
        deadline_s: float,
        body: Mapping[str, Any] | bytes | None = None,
        params: Params | None = None,
        again: bool = True,
    ) -> Any:
        """As ``call``, with the client's own exceptions, for those to whom the status of a refusal says something.

        Raises:
            opensearchpy.exceptions.TransportError: and what else is in ``OPENSEARCH_ERRORS``. DeadlineExceeded: no answer in time.
        """
        try:
            async with asyncio.timeout(deadline_s):
                return await self._tried(method, path, body=body, params=params, deadline_s=deadline_s, tries=self._tries if again else 1)
        except TimeoutError as error:
            detail = f"no answer from OpenSearch within {deadline_s:g} s"
            raise DeadlineExceeded(detail, dependency=DEPENDENCY, retry_after=RETRY_AFTER_S) from error

    async def probe(self) -> None:
        """See that an OpenSearch is there that we can speak to.

        Raises:
            Unavailable, DeadlineExceeded: it is not. Misconfigured: it is none, or too old, or refuses us.
        """
        try:
            told = await self.exchange("GET", "/", deadline_s=self.settings.search_deadline_s)
        except tuple(OPENSEARCH_ERRORS) as error:
            if is_our_fault(error):
                raise Misconfigured("OpenSearch refuses our credentials, or we its certificate", dependency=DEPENDENCY) from error
            raise translate(error) from error
        _check_version(told.get("version") if isinstance(told, dict) else None)

    async def close(self) -> None:
        """End the connections, also those that the client has put aside as dead and would forget."""
        for connection in self._raw.transport.seed_connections:
            await connection.close()  # type: ignore[attr-defined]  # they are of the class below, which has it
        await self._raw.close()

    async def _tried(
        self, method: str, path: str, *, body: Mapping[str, Any] | bytes | None, params: Params | None, deadline_s: float, tries: int
    ) -> Any:
        until = asyncio.get_running_loop().time() + deadline_s
        for left in reversed(range(tries)):
            remaining = max(_MIN_TRY_S, until - asyncio.get_running_loop().time())
            # a node that hangs must leave time for another one
            patience = remaining / 2 if left and self._nodes > 1 else remaining
            try:
                return await self._raw.transport.perform_request(method, path, params=dict(params or {}), body=body, timeout=patience)
            except TransportError as error:
                if not left or not _worth_another_node(error, nodes=self._nodes):
                    raise
        raise Unavailable("OpenSearch was not asked", dependency=DEPENDENCY)


@asynccontextmanager
async def open_opensearch(settings: OpensearchSettings) -> AsyncIterator[OpenSearchClient]:
    """A client of the cluster at ``settings.urls``. Nothing is sent yet, so a store that is away hinders no start.

    Raises:
        Misconfigured: a URL is none, or a file cannot be read or does not hold what it should.
    """
    hosts = [_host(url) for url in settings.urls.split(",") if url.strip()]
    if not hosts:
        raise Misconfigured("opensearch.urls is empty")
    if len({host["use_ssl"] for host in hosts}) > 1:
        raise Misconfigured("opensearch.urls must be all https or all http")
    credentials = await asyncio.to_thread(_credentials, settings)
    context = await asyncio.to_thread(_tls, settings) if hosts[0]["use_ssl"] else None
    raw = opensearchpy.AsyncOpenSearch(
        hosts=hosts,
        connection_class=_silent_connection(),
        http_auth=credentials,
        ssl_context=context,
        pool_maxsize=settings.connections,
        timeout=settings.bulk_deadline_s,
        max_retries=0,
        retry_on_timeout=True,  # with no retries this only makes the pool prefer the other nodes for a while
        retry_on_status=_ANOTHER_NODE,
        dead_timeout=10.0,
        timeout_cutoff=3,
    )
    client = OpenSearchClient(raw, settings=settings, nodes=len(hosts))
    try:
        yield client
    finally:
        await client.close()


def _worth_another_node(error: TransportError, *, nodes: int) -> bool:
    if isinstance(error, opensearchpy.exceptions.ConnectionTimeout) or not isinstance(error, NoConnection):
        return nodes > 1 and error.status_code in {*_ANOTHER_NODE, "TIMEOUT"}
    return True


def _check_version(version: Any) -> None:
    told = version if isinstance(version, dict) else {}
    if told.get("distribution") != "opensearch":
        raise Misconfigured("what answers at opensearch.urls is no OpenSearch", dependency=DEPENDENCY)
    number = str(told.get("number", ""))
    parts = number.split(".")
    if len(parts) < len(OLDEST) or not all(part.isdecimal() for part in parts[:2]) or (int(parts[0]), int(parts[1])) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise Misconfigured(f"OpenSearch {number[:20]} is too old; {oldest} or newer is needed", dependency=DEPENDENCY)


def _host(url: str) -> dict[str, Any]:
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError as error:
        raise Misconfigured("opensearch.urls holds what is no URL") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment or any(map(str.isspace, url.strip())):
        raise Misconfigured("opensearch.urls must hold http or https URLs, such as https://host:9200")
    if parts.username is not None or parts.password is not None:
        raise Misconfigured("opensearch.urls must not hold credentials; use opensearch.user and opensearch.password_file")
    secure = parts.scheme == "https"
    found: dict[str, Any] = {"host": parts.hostname, "port": port or (443 if secure else 9200), "use_ssl": secure}
    return {**found, "url_prefix": parts.path.strip("/")} if parts.path.strip("/") else found


def _credentials(settings: OpensearchSettings) -> tuple[str, str] | None:
    if bool(settings.user) != bool(settings.password_file):
        raise Misconfigured("opensearch.user and opensearch.password_file belong together")
    if not settings.user:
        return None
    try:
        password = Path(settings.password_file).expanduser().read_text(encoding="utf-8").strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"opensearch.password_file {settings.password_file} cannot be read") from error
    if not password:
        raise Misconfigured(f"opensearch.password_file {settings.password_file} is empty")
    return settings.user, password


def _tls(settings: OpensearchSettings) -> ssl.SSLContext:
    if settings.key_file and not settings.cert_file:
        raise Misconfigured("opensearch.key_file needs opensearch.cert_file")
    try:
        context = ssl.create_default_context(cafile=str(Path(settings.ca_file).expanduser()) if settings.ca_file else None)
    except (OSError, ssl.SSLError) as error:
        raise Misconfigured(f"opensearch.ca_file {settings.ca_file} cannot be used") from error
    if settings.cert_file:
        key = str(Path(settings.key_file).expanduser()) if settings.key_file else None
        try:
            context.load_cert_chain(str(Path(settings.cert_file).expanduser()), key)
        except (OSError, ssl.SSLError) as error:
            raise Misconfigured(f"opensearch.cert_file {settings.cert_file} or its key cannot be used") from error
    return context


@functools.cache
def _silent_connection() -> type[opensearchpy.AIOHttpConnection]:
    """The client's connection without its logging, in which bodies and URLs would stand, and with bodies sent in chunks."""

    class Silent(opensearchpy.AIOHttpConnection):
        async def perform_request(
            self,
            method: str,
            url: str,
            params: Mapping[str, Any] | None = None,
            body: bytes | None = None,
            timeout: float | None = None,  # noqa: ASYNC109 - overrides the client's method
            ignore: Collection[int] = (),
            headers: Mapping[str, str] | None = None,
        ) -> Any:
            """Send a body as a file, which aiohttp writes piece by piece; as bytes it would hold up the event loop."""
            content: Any = io.BytesIO(body) if body else None
            return await super().perform_request(method, url, params, content, timeout, ignore, headers)

        def log_request_success(self, *_: Any, **__: Any) -> None:
            """Say nothing."""

        def log_request_fail(self, *_: Any, **__: Any) -> None:
            """Say nothing."""

    return Silent
