"""Whose turn it is to change the streams of events: a lease among the records, under its own small clock.

Belongs here: making that lease. Does not belong here: leases as such (``wire.leases``). A newcomer would get wrong: the broker does check
that no two streams have a subject, but not for two changes at the same instant; both would be done, and a message be stored twice.
"""

import asyncio
import secrets
import time
from datetime import UTC, datetime

from kalends.adapters.nats.options import NatsOptions
from kalends.adapters.nats.records import NatsRecords
from kalends.wire.leases import Lease

_NAME = "streams-of-events"


class _Ticks:
    """The clock of this machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def turn(records: NatsRecords, *, options: NatsOptions) -> Lease:
    """The lease as this process sees it."""
    holder = secrets.token_hex(8)
    return Lease(records, name=_NAME, holder=holder, lease_s=options.widening_lease, clock=_Ticks(), alone=options.sole_reader)
