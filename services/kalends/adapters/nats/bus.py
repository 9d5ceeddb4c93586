"""Everything that Kalends keeps in NATS, opened together over one connection.

Belongs here: the order of opening and closing. Does not belong here: the stores themselves. A newcomer would get wrong: an error in the
block leaves it as itself, not wrapped in an exception group.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from nats.aio.client import Client

from kalends.adapters.nats import streams, turns
from kalends.adapters.nats.audit import NatsAudit
from kalends.adapters.nats.connection import Link, LinkState, connect
from kalends.adapters.nats.dead_letters import DeadLetters
from kalends.adapters.nats.keys import NatsKeys
from kalends.adapters.nats.ledger import NatsLedger
from kalends.adapters.nats.log import NatsLog
from kalends.adapters.nats.options import NatsOptions
from kalends.adapters.nats.records import NatsRecords
from kalends.adapters.nats.requests import Requests
from kalends.adapters.nats.room import Room
from kalends.adapters.nats.tls import ClientTls
from kalends.wire.isolations import Isolations


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsBus:
    """The stores, and the connection they share."""

    log: NatsLog
    records: NatsRecords
    keys: NatsKeys
    ledger: NatsLedger
    audit: NatsAudit
    dead_letters: DeadLetters
    link: Link
    room: Room

    @property
    def connection(self) -> Client:
        """The client itself, for the NATS edge."""
        return self.link.client

    @property
    def state(self) -> LinkState:
        """Whether the broker answers, since when, and what is wrong."""
        return self.link.state

    @property
    def violations(self) -> int:
        """How often the broker forbade us something."""
        return self.link.violations


@asynccontextmanager
async def open_nats(
    *,
    url: str,
    user: str | None = None,
    password: str | None = None,
    credentials: Path | None = None,
    options: NatsOptions | None = None,
    name: str = "kalends",
    violated: Callable[[str], None] | None = None,
    tls: ClientTls | None = None,
) -> AsyncIterator[NatsBus]:
    """Connect, make the streams that are missing, and open all stores; at the end appends under way are waited for.

    Raises:
        Unavailable: nobody answers at *url*. Misconfigured: the credentials are refused, or the streams cannot be what is wanted.
    """
    settings = options or NatsOptions()
    inbox = f"_INBOX_{secrets.token_hex(8)}"
    async with (
        connect(
            url,
            name=name,
            inbox_prefix=inbox,
            user=user,
            password=password,
            credentials=credentials,
            options=settings,
            violated=violated,
            tls=tls,
        ) as link,
        _tasks() as group,
    ):
        room = Room(settings.store, needed=settings.room_bytes, spare=settings.spare_bytes)
        requests = Requests(link, timeout=settings.request_timeout, room=room)
        await requests.open()
        records = NatsRecords(requests, options=settings)
        whose = turns.turn(records, options=settings)
        found = await streams.ensure_streams(requests, options=settings, turn=whose)
        async with NatsLog.open(requests, found=found, isolations=Isolations(records), turn=whose, options=settings, group=group) as log:
            yield NatsBus(
                log=log,
                records=records,
                keys=NatsKeys(requests, options=settings),
                ledger=NatsLedger(requests, options=settings),
                audit=NatsAudit(requests, options=settings),
                dead_letters=DeadLetters(requests, options=settings),
                link=link,
                room=room,
            )


@asynccontextmanager
async def _tasks() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group that lets an error of its block through as it is."""
    raised: BaseException | None = None
    try:
        async with asyncio.TaskGroup() as group:
            try:
                yield group
            except BaseException as error:
                raised = error
                raise
    except BaseExceptionGroup:
        if raised is not None and not isinstance(raised, asyncio.CancelledError):
            raise raised from None
        raise
