"""The audit on JetStream: each message a block of entries, chained by compare-and-set on the stream's last sequence.

Belongs here: writing so that several processes make one chain, and reading. Does not belong here: what an entry says. A newcomer would get
wrong: the stream denies deletion, even to us; and a write whose answer was lost may be there, which only the message behind the end that
we knew can tell, by its id.
"""

import asyncio
import secrets
from collections.abc import Sequence

from kalends.adapters.nats import reading, streams
from kalends.adapters.nats.failures import answer
from kalends.adapters.nats.options import NatsOptions
from kalends.adapters.nats.requests import Requests
from kalends.domain.audit import START, Entry, Head, chained
from kalends.domain.errors import Conflict, Damaged, DeadlineExceeded, Unavailable
from kalends.kit.backoff import pauses
from kalends.ports.audit import Block
from kalends.wire import audit

SUBJECT = "audit.v1.block"
_ID = "Nats-Msg-Id"
_LOOK_BACK = 64
_TRY_S = 1.5
"""After so long without an answer a write is repeated: a leader that has died does not answer."""


class NatsAudit:
    """The chain; see ``ports.audit.AuditStore``. One process writes one block at a time."""

    def __init__(self, requests: Requests, *, options: NatsOptions) -> None:
        self._requests = requests
        self._options = options
        self._end: tuple[int, Head] | None = None
        self._turn = asyncio.Lock()

    async def append(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Chain *entries* to the end and return them so, once they are durable.

        Raises:
            Throttled: the stream is full. TooLarge: they do not fit a message. Unavailable, DeadlineExceeded: they may be there.
        """
        self._requests.room.need_spare()
        message_id = secrets.token_hex(12)
        async with self._turn, self._requests.in_time():
            unknown = False
            for wait in pauses(first=0.01, longest=0.3):
                place, head = self._end or await self.head()
                placed = chained(head, entries)
                try:
                    stored = await self._publish(audit.pack(placed), message_id=message_id, after=place)
                except Conflict:
                    self._end = None
                    if unknown and await self._is_ours(place + 1, message_id):
                        stored = place + 1
                    else:
                        unknown = False  # somebody else's block stands where ours would be, so ours is nowhere
                        await asyncio.sleep(wait)
                        continue
                except (Unavailable, DeadlineExceeded):
                    unknown = True
                    self._end = (place, head)  # the same block again, at the same place
                    await asyncio.sleep(wait)
                    continue
                self._end = (stored, Head(number=placed[-1].number, hash=placed[-1].hash))
                return placed
        raise AssertionError("pauses never end")

    async def head(self) -> tuple[int, Head]:
        """The last block's place, and number and hash of the last entry that can be read.

        What is damaged or gone at the end is passed over, so that the chain goes on; a check finds it.

        Raises:
            Damaged: there is nothing that can be read near the end. Unavailable, DeadlineExceeded: the broker does not answer.
        """
        state = (await self._requests.api(f"STREAM.INFO.{streams.AUDIT}", repeat=True)).get("state")
        place = int(state.get("last_seq", 0)) if isinstance(state, dict) else 0
        for last in range(place, max(0, place - _LOOK_BACK), -1):
            found = await reading.from_leader(self._requests, streams.AUDIT, {"seq": last})
            entries = _entries(found)
            if entries:
                return place, Head(number=entries[-1].number, hash=entries[-1].hash)
        if place:
            raise Damaged(f"none of the last {_LOOK_BACK} blocks of the audit can be read")
        return 0, Head(number=0, hash=START)

    async def read(self, first: int, last: int) -> Sequence[Block]:
        """The blocks at the places *first* to *last*, both included.

        Raises:
            Unavailable, DeadlineExceeded: the broker does not answer.
        """
        places = range(max(1, first), last + 1)
        confirm = self._options.replicas > 1
        window = self._options.reads_in_flight
        stored = await reading.by_sequence(self._requests, streams.AUDIT, places, window=window, confirm=confirm)
        return [Block(place=place, entries=_entries(one)) for place, one in zip(places, stored, strict=True)]

    async def _publish(self, body: bytes, *, message_id: str, after: int) -> int:
        self._requests.link.fits(len(body) + 512)
        headers = f"{_ID}: {message_id}-{after}\r\nNats-Expected-Last-Sequence: {after}\r\n"
        reply = await self._requests.ask(SUBJECT, body, headers=headers.encode(), within=_TRY_S)
        return int(str(answer(reply.data)["seq"]))

    async def _is_ours(self, place: int, message_id: str) -> bool:
        """Whether an earlier try of ours is what stands at *place*."""
        found = await reading.raw_from_leader(self._requests, streams.AUDIT, {"seq": place})
        return found is not None and found[1].get(_ID) == f"{message_id}-{place - 1}"


def _entries(stored: reading.Stored | None) -> Sequence[Entry] | None:
    if stored is None:
        return None
    try:
        return audit.unpack(stored.body)
    except Damaged:
        return None
