"""Listeners: sockets and the server that answers on them.

Belongs here: binding, serving, draining. Does not belong here: what is answered (``http``, ``probes``), signals (``app``). A newcomer
would get wrong: ``serve`` ends only by cancellation, and then lets running requests finish for as long as it was told.
"""

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Iterator

import httptools
import uvicorn
from litestar.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from kalends.domain.errors import Misconfigured, Occupied

_BACKLOG = 2048
_KEEP_ALIVE_S = 75
_HEAD_BYTES = 64 * 1024


def bind(host: str, port: int) -> socket.socket:
    """A listening socket on *host*; *port* 0 takes a free one, which ``getsockname()[1]`` tells.

    Raises:
        Occupied: somebody else listens there. Misconfigured: the address is none of this machine's, or the port needs more rights.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(_BACKLOG)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise Occupied(f"port {port} on {host} is listened on by somebody else; choose another with http.port") from error
        raise Misconfigured(f"http.host {host}, port {port}: {error.strerror or error}") from error
    return listening


class _Protocol(HttpToolsProtocol):
    """Ends a connection whose request line and headers are too long, or do not end; uvicorn would keep them all, before any credential.

    What has ended is counted as it is parsed, in however many pieces it came; what has not, as it comes.
    """

    _in_head = False
    _parsed_bytes = 0
    _unended_bytes = 0

    def on_message_begin(self) -> None:
        self._in_head, self._parsed_bytes, self._unended_bytes = True, 0, 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._parsed_bytes += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._parsed_bytes += len(name) + len(value)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._parsed_bytes > _HEAD_BYTES:
            self._refuse()
            raise httptools.HttpParserError("the head is too long")
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        waiting = self._in_head
        super().data_received(data)
        if waiting and self._in_head:
            self._unended_bytes += len(data)
            if self._unended_bytes > _HEAD_BYTES:
                self._refuse()

    def send_400_response(self, msg: str) -> None:
        if not self.transport.is_closing():
            super().send_400_response(msg)

    def _refuse(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            self.transport.close()


class _Server(uvicorn.Server):
    """Leaves signals to whoever runs the process, and takes a cancellation as the wish to drain."""

    def __init__(self, config: uvicorn.Config, *, ready: asyncio.Event | None) -> None:
        super().__init__(config)
        self._ready = ready
        self.cancelled = False

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._ready is not None:
            self._ready.set()

    async def main_loop(self) -> None:
        try:
            await super().main_loop()
        except asyncio.CancelledError:
            # ``serve`` raises it again once the running requests are done.
            self.cancelled = True


async def serve(
    application: ASGIApp,
    listening: socket.socket,
    *,
    drain_s: float,
    ready: asyncio.Event | None = None,
    tls: ssl.SSLContext | None = None,
) -> None:
    """Answer on *listening* until cancelled; then take no more, and give running requests *drain_s* seconds to end.

    *ready* is set once connections are accepted; with *tls* they are encrypted.
    """
    server = _Server(
        uvicorn.Config(
            application,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            http=_Protocol,
            ws="none",
            ssl_context_factory=None if tls is None else lambda _config, _default: tls,
            lifespan="off",
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=max(1, round(drain_s)),
        ),
        ready=ready,
    )
    try:
        await server.serve(sockets=[listening])
    finally:
        listening.close()
    if server.cancelled:
        raise asyncio.CancelledError
