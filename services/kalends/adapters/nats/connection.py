"""The connection: made with a deadline, kept up for ever, and watched.

Belongs here: connecting, its state, and the send path. Does not belong here: what is asked over it (``requests`` and the stores). A
newcomer would get wrong: what is published while the connection is down is kept by the client and sent later, so the stores wait for
``connected`` before they send, and repeat with the same ids what was under way when it broke.

``send`` uses two protected methods of nats-py, ``_send_command`` and ``_flush_pending``: its ``publish`` checks and builds each message
anew and asks for a flush each time, which costs more than the broker does (a test holds the two methods to what is used of them here).
``_PatientClient`` mends others.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import nats.errors
import structlog
from nats.aio.client import Client, Server
from nats.protocol import parser

from kalends.adapters.nats.failures import DEPENDENCY, RETRY_AFTER, translated
from kalends.adapters.nats.options import NatsOptions
from kalends.adapters.nats.tls import ClientTls
from kalends.domain.errors import KalendsError, Misconfigured, TooLarge, Unavailable
from kalends.kit import tasks
from kalends.kit.backoff import pauses

log = structlog.get_logger(__name__)

_PORT = 4222
_FIRST_WAIT = 0.05
_LONGEST_WAIT = 2.0
_SPACE = re.compile(r"\s")
_DELIVERY = b"$JS.ACK."
_BLANKS = " \t\n\r\v\f"
_REFUSED = ("authorization violation", "authentication")
_LEADERLESS_S = 10.0
"""An election takes up to nine seconds; a node from which no leader is heard for longer has lost the others."""


# The broker parts the words of a line at blanks and tabs, nats-py at any space: a vertical tab in a subject or a reply subject, which any
# agent can send, would end the connection of whoever hears it.
parser.MSG_RE = re.compile(rb"\AMSG[ \t]+([^ \t\r\n]+)[ \t]+(\d+)[ \t]+(([^ \t\r\n]+)[ \t]+)?(\d+)\r\n")
parser.HMSG_RE = re.compile(rb"\AHMSG[ \t]+([^ \t\r\n]+)[ \t]+(\d+)[ \t]+(([^ \t\r\n]+)[ \t]+)?(\d+)[ \t]+(\d+)\r\n")


def _without_the_brokers_own(headers: bytes) -> bytes:
    """The headers of a delivery that its writer gave: nobody asks for the others, and each projection would parse them for each event."""
    first, *lines = headers.split(b"\r\n")
    given = [line for line in lines if line and not line.startswith(b"Nats-")]
    return b"\r\n".join([first, *given, b"", b""]) if given else b""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkState:
    """Whether the broker answers, since when (``time.time``), and what the client last complained of."""

    status: Literal["up", "down"]
    since: float
    detail: str = ""


class _PatientClient(Client):
    """Goes on reading where nats-py 2.16 silently ends all of it.

    That is: at the answer to a flush that nobody waits for any more, and at a message whose subject, reply subject or header is no text,
    which any agent can send to a service of ours.
    """

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:  # noqa: FBT001, FBT002 - as it is called
        if initial_connection and self.options.get("tls") is not None and not info.get("tls_required"):
            # theirs would go on in the open and send our password
            raise nats.errors.Error("nats: the broker does not offer TLS")
        await super()._process_info(info, initial_connection=initial_connection)

    async def _process_pong(self) -> None:
        if self._pongs and self._pongs[0].done():
            self._pongs[0] = asyncio.get_running_loop().create_future()
        await super()._process_pong()

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        if headers and reply.startswith(_DELIVERY):
            headers = _without_the_brokers_own(headers)
        try:
            await super()._process_msg(sid, subject, reply, data, headers)
        except (ValueError, LookupError) as error:
            # one message that cannot be read is dropped; its sender gets no answer, all others theirs
            log.warning("a message from the broker could not be read", error_type=type(error).__name__)

    async def _read_loop(self) -> None:
        await super()._read_loop()
        if self.is_connected:
            # whatever ended it, the rest of the stream cannot be trusted: connect anew instead of hearing nothing until the next ping
            await self._process_op_err(nats.errors.ProtocolError())

    @staticmethod
    def _parse_header_lines(raw: bytes) -> dict[str, str]:
        # theirs looks at each character of each name, which takes longer than all the rest of a delivery
        found: dict[str, str] = {}
        for line in raw.decode("utf-8", "replace").split("\r\n"):
            name, colon, value = line.partition(":")
            name = name.strip(_BLANKS)
            if colon and name.isascii() and not _SPACE.search(name):
                found[name] = value.strip(_BLANKS)
        return found


class Link:
    """One connection of ours and what is known about it. ``violations`` counts what the broker forbade us.

    *moves*: whether there are other nodes to turn to when this one is up but has lost the others, and with them every leader.
    """

    def __init__(self, client: Client, *, violated: Callable[[str], None] | None = None, moves: bool = False) -> None:
        self.client = client
        self.violations = 0
        self.state = LinkState(status="down", since=time.time(), detail="not connected")
        self.connected = asyncio.Event()
        self._violated = violated
        self._broken: list[Callable[[], None]] = []
        self._moves = moves
        self._answered_at = float("-inf")

    @property
    def in_cluster(self) -> bool:
        """Whether the node that we are connected to has others beside it, which hear of what we subscribe to a little later."""
        return bool(self.client._server_info.get("cluster"))  # noqa: SLF001 - nats-py shows of the greeting only what it uses itself

    def answered(self) -> None:
        """A leader of something answered a question over this connection."""
        self._answered_at = asyncio.get_running_loop().time()

    async def unanswered(self, *, since: float) -> None:
        """A question asked at *since* (the loop's time) was given up; if no leader has answered for too long, go to another node."""
        now = asyncio.get_running_loop().time()
        silence = now - self._answered_at
        if not self._moves or self._answered_at > since or silence < _LEADERLESS_S:
            return
        log.warning("no leader answers over this node, going to another", seconds=round(silence, 1))
        self._answered_at = now
        client: Any = self.client
        if client.is_connected:
            client._current_server.reconnects += 1  # noqa: SLF001 - nats-py has no word for "not this one", see _next_server
            await client.force_reconnect()

    def on_break(self, notice: Callable[[], None]) -> None:
        """Call *notice* whenever the connection breaks: what is under way will get no answer."""
        self._broken.append(notice)

    def off_break(self, notice: Callable[[], None]) -> None:
        """Do not call *notice* any more."""
        if notice in self._broken:
            self._broken.remove(notice)

    async def came_up(self) -> None:
        """The client says that it is connected."""
        self.answered()
        self.state = LinkState(status="up", since=time.time())
        self.connected.set()

    async def went_down(self) -> None:
        """The client says that it is not connected any more."""
        self.connected.clear()
        if self.state.status == "up":
            self.state = LinkState(status="down", since=time.time(), detail="connection lost")
        for notice in tuple(self._broken):
            notice()

    async def complained(self, error: Exception) -> None:
        """The client reports an error that no call of ours raised."""
        text = str(error)
        if "permissions violation" in text.lower():
            self.violations += 1
            if self._violated:
                self._violated(text)
        elif self.state.status == "down":
            self.state = LinkState(status="down", since=self.state.since, detail=text)

    def down(self) -> Unavailable:
        """The error for whoever needs the broker now."""
        return Unavailable(f"nats: {self.state.detail or 'not connected'}", dependency=DEPENDENCY, retry_after=RETRY_AFTER)

    async def send(self, blob: bytes, *, messages: int) -> None:
        """Hand *blob*, whole protocol messages, to the socket in one piece and in order.

        Raises:
            Unavailable: there is no connection now.
        """
        client: Any = self.client
        if not client.is_connected:
            # ``connected`` is cleared by a task of the client's, which must come to run: whoever waits for it may try again at once
            await asyncio.sleep(0)
            raise self.down()
        client.stats["out_msgs"] += messages
        client.stats["out_bytes"] += len(blob)
        with translated():
            await client._send_command(blob)  # noqa: SLF001 - see the module's docstring
            await client._flush_pending()  # noqa: SLF001 - see the module's docstring

    def fits(self, size: int) -> None:
        """Check that a message of *size* bytes, headers included, may be published.

        Raises:
            TooLarge: the broker would close the connection over it.
        """
        if size > self.client.max_payload:
            raise TooLarge(f"a message of {size} bytes; the broker takes {self.client.max_payload}")


@asynccontextmanager
async def connect(
    url: str,
    *,
    name: str,
    inbox_prefix: str,
    user: str | None = None,
    password: str | None = None,
    credentials: Path | None = None,
    options: NatsOptions | None = None,
    violated: Callable[[str], None] | None = None,
    tls: ClientTls | None = None,
) -> AsyncIterator[Link]:
    """Connect to *url*, or any of several with commas between; the connection is kept up until the end of the block, and closed there.

    Raises:
        Unavailable: nobody answered within the connect timeout.
        Misconfigured: the broker refuses the credentials, or a file of *tls* cannot be used.
    """
    settings = options or NatsOptions()
    client = _PatientClient()
    secured = {} if tls is None else {"tls": tls.context(), "tls_hostname": tls.hostname or None}
    link = Link(client, violated=violated, moves=settings.replicas > 1)
    try:
        await _first(
            link,
            settings,
            servers=[one.strip() for one in url.split(",")],
            name=name,
            inbox_prefix=inbox_prefix,
            user=user,
            password=password,
            user_credentials=str(credentials) if credentials else None,
            **secured,
        )
        yield link
    finally:
        await _close(client)


async def _first(link: Link, options: NatsOptions, **how: Any) -> None:
    """The first connection, which fails fast where the broker says no, and is tried again where nobody answers."""
    client = link.client
    try:
        async with asyncio.timeout(options.connect_timeout):
            for wait in pauses(first=_FIRST_WAIT, longest=_LONGEST_WAIT):
                try:
                    with tasks.heeded():
                        await client.connect(
                            error_cb=link.complained,
                            disconnected_cb=link.went_down,
                            reconnected_cb=link.came_up,
                            closed_cb=link.went_down,
                            reconnect_to_server_handler=partial(_next_server, only=_places(how["servers"]) if options.named_only else None),
                            allow_reconnect=False,
                            max_reconnect_attempts=-1,
                            reconnect_time_wait=1,
                            connect_timeout=2,
                            ping_interval=10,
                            max_outstanding_pings=2,
                            pending_size=options.pending_bytes,
                            flush_timeout=options.request_timeout,
                            drain_timeout=5,
                            **how,
                        )
                    break
                except (OSError, nats.errors.Error) as error:
                    _hang_up(client)
                    if any(word in str(error).lower() for word in _REFUSED):
                        raise Misconfigured("nats: the broker refuses the credentials", dependency=DEPENDENCY) from error
                    await link.complained(error)
                    await asyncio.sleep(wait)
    except TimeoutError as error:
        raise link.down() from error
    client.options["allow_reconnect"] = True
    await link.came_up()


def _hang_up(client: Any) -> None:
    """Let go of a connection that came to nothing, which nats-py keeps."""
    transport = client._transport  # noqa: SLF001 - nats-py has no word for it
    for name in ("_io_writer", "_bare_io_writer"):
        writer = getattr(transport, name, None)
        if writer is not None:
            writer.transport.abort()


def _places(servers: Sequence[str]) -> frozenset[tuple[str | None, int]]:
    """Host and port of each of *servers*."""
    found = [urlsplit(one if "://" in one else f"nats://{one}") for one in servers]
    return frozenset((one.hostname, one.port or _PORT) for one in found)


def _next_server(
    pool: list[Server], _info: dict[str, Any], *, only: Collection[tuple[str | None, int]] | None = None
) -> tuple[Server | None, float]:
    """The server to try next, the one tried least, and the pause before it; the client's own pause does not grow.

    A cluster tells its members' addresses, and the client takes them into its pool; with *only*, no others than these are tried.
    """
    named = [server for server in pool if only is None or (server.uri.hostname, server.uri.port or _PORT) in only]
    chosen = min(named or pool[:1], key=lambda server: server.reconnects)
    return chosen, 0.0 if chosen.reconnects == 0 else min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(chosen.reconnects, 10))


async def _close(client: Client) -> None:
    """Close for good, whatever state it is in; a broker that does not answer cannot hold us up."""
    if client.is_closed:
        return
    try:
        async with asyncio.timeout(2.0):
            if client.is_connected:
                await client.flush(timeout=1)
            await client.close()
    except (TimeoutError, OSError, nats.errors.Error, KalendsError):
        await client.close()
