"""The one client of a Qdrant server: which transport, with which key and certificates, and with which deadlines.

Belongs here: settings become a client; every call goes through ``read`` or ``write``. Does not belong here: any request. A newcomer would
get wrong: both gRPC and httpx honour the environment's proxies unless told otherwise, and after an outage gRPC waits up to two minutes
before it connects again; both are set here.
"""

import math
import re
import ssl
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlsplit

from kalends.adapters.qdrant.failures import translated
from kalends.domain.errors import Misconfigured
from kalends.settings import QdrantSettings

T = TypeVar("T")

GRPC_PORT, REST_PORT = 6334, 6333

_KEY = re.compile(r"[\x21-\x7e]+")

_OPTIONS = {
    "grpc.enable_http_proxy": 0,
    "grpc.initial_reconnect_backoff_ms": 100,
    # despite its name the time that one attempt to connect may take
    "grpc.min_reconnect_backoff_ms": 5_000,
    "grpc.max_reconnect_backoff_ms": 2_000,
    # only while calls wait: a peer that vanished is noticed before a write's deadline
    "grpc.keepalive_time_ms": 10_000,
    "grpc.keepalive_timeout_ms": 5_000,
    # several servers may share a name; connections of one process do not share a subchannel with another's key
    "grpc.use_local_subchannel_pool": 1,
}


class Connection:
    """A client with its settings. ``client`` is qdrant-client's; what it raises is translated by ``read`` and ``write`` only."""

    def __init__(self, client: Any, *, settings: QdrantSettings) -> None:
        self.client = client
        self.settings = settings
        self.over_rest = settings.transport == "rest"
        self.read_timeout = math.ceil(settings.deadline_s)
        self.write_timeout = math.ceil(settings.write_deadline_s)
        self.longest_timeout = max(self.read_timeout, self.write_timeout)
        """Seconds that a server must let a call ask for."""

    @property
    def consistency(self) -> Any:
        """What reads ask for: an agreement of replicas, or nothing where there is one replica or one is enough."""
        from qdrant_client import models

        if self.settings.replicas == 1 or self.settings.read_consistency == "one":
            return None
        return models.ReadConsistencyType(self.settings.read_consistency)

    async def read(self, call: Awaitable[T]) -> T:
        """The answer of a call that changes nothing, within ``deadline_s``.

        Raises:
            Unavailable, DeadlineExceeded, NotFound, Misconfigured, Damaged: see ``failures``.
        """
        async with translated(deadline_s=self.settings.deadline_s):
            return await call

    async def write(self, call: Awaitable[T]) -> T:
        """The answer of a call that changes something, within ``write_deadline_s``; after a failure it may have happened or not.

        Raises:
            Unavailable, DeadlineExceeded, NotFound, Conflict, Misconfigured, Damaged: see ``failures``.
        """
        async with translated(deadline_s=self.settings.write_deadline_s):
            return await call

    async def close(self) -> None:
        """End the connections; calls that are under way are cut off."""
        await self.client.close()


def connect(settings: QdrantSettings) -> Connection:
    """A client of the server that *settings* name. Nothing is sent yet.

    Raises:
        Misconfigured: a URL is none, or a file cannot be read.
    """
    from qdrant_client import AsyncQdrantClient

    grpc_url = _parts(settings.url, "url")
    over_rest = settings.transport == "rest"
    url = _parts(settings.rest_url, "rest_url") if over_rest and settings.rest_url else grpc_url
    secure = url.scheme == "https"
    options: dict[str, Any] = dict(_OPTIONS)
    verify: Any = True
    if settings.ca_file:
        certificates = _read(settings.ca_file, "ca_file")
        options["root_certificates"] = certificates
        verify = _context(certificates) if secure else True
    # as a header, because the client warns of a key on a plain connection, which inside of a mesh is encrypted after all
    headers = {"api-key": _key(settings.api_key_file)} if settings.api_key_file else None
    client = AsyncQdrantClient(
        host=url.hostname,
        port=(url.port if url is not grpc_url else None) or REST_PORT,
        grpc_port=grpc_url.port or GRPC_PORT,
        https=secure,
        prefix=url.path.strip("/") if url is not grpc_url else None,
        prefer_grpc=not over_rest,
        # each channel waits by itself after an outage: with several, calls would fail for seconds after others have succeeded again
        pool_size=None if over_rest else 1,
        headers=headers,
        timeout=math.ceil(settings.write_deadline_s),
        grpc_options=options,
        check_compatibility=False,
        trust_env=False,
        verify=verify,
    )
    return Connection(client, settings=settings)


def _parts(url: str, name: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        fits = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0 and not any(map(str.isspace, url))
    except ValueError:
        fits = False
    if not fits or parts.username is not None or parts.query or parts.fragment:
        raise Misconfigured(f"qdrant.{name} must be an http or https URL without credentials, such as http://127.0.0.1:6334")
    return parts


def _read(path: str, name: str) -> bytes:
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        raise Misconfigured(f"qdrant.{name}: the file {path} cannot be read") from error


def _key(path: str) -> str:
    key = _read(path, "api_key_file").decode(errors="replace").strip()
    if not _KEY.fullmatch(key):
        raise Misconfigured(f"qdrant.api_key_file: the file {path} does not hold one key")
    return key


def _context(certificates: bytes) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cadata=certificates.decode("ascii"))
    except (ssl.SSLError, UnicodeDecodeError, ValueError) as error:
        raise Misconfigured("qdrant.ca_file holds no certificates") from error
