"""The ledger on JetStream: one subject for each entry, on a stream from which nothing can be deleted.

Belongs here: subjects and the write that never replaces. Does not belong here: what an entry says. A newcomer would get wrong: the stream
denies deletion for good, even to us, so what does not fit any more is refused instead of making room.
"""

import asyncio

from kalends.adapters.nats import reading, streams
from kalends.adapters.nats.failures import STALE, accepted, decoded, refusal_code
from kalends.adapters.nats.options import NatsOptions
from kalends.adapters.nats.requests import Requests
from kalends.domain.errors import DeadlineExceeded, Unavailable
from kalends.domain.scope import Scope, token
from kalends.kit.backoff import pauses

_TRY_S = 1.5
_FIRST = b"Nats-Expected-Last-Subject-Sequence: 0\r\n"


class NatsLedger:
    """Entries by scope and id; see ``ports.ledger.Ledger``."""

    def __init__(self, requests: Requests, *, options: NatsOptions) -> None:
        self._requests = requests
        self._options = options

    async def put(self, scope: Scope, entry_id: str, entry: bytes) -> bytes:
        """Keep *entry* unless there is one under this id already; what is kept now.

        Raises:
            Throttled: the ledger is full. TooLarge: the entry does not fit. Unavailable, DeadlineExceeded: it may be kept; again is safe.
        """
        self._requests.link.fits(len(entry) + 512)
        self._requests.room.need_spare()
        async with self._requests.in_time():
            for wait in pauses(first=0.02, longest=0.5):
                try:
                    reply = decoded((await self._requests.ask(subject_of(scope, entry_id), entry, headers=_FIRST, within=_TRY_S)).data)
                except (Unavailable, DeadlineExceeded):
                    reply = None  # it may be stored: what is there now decides
                if reply is not None and refusal_code(reply) not in STALE:
                    accepted(reply)
                    return entry
                kept = await self.get(scope, entry_id)
                if kept is not None:
                    return kept
                await asyncio.sleep(wait)
        raise AssertionError("pauses never end")

    async def get(self, scope: Scope, entry_id: str) -> bytes | None:
        """The entry, or None.

        Raises:
            Unavailable, DeadlineExceeded: the broker does not answer.
        """
        subject = subject_of(scope, entry_id)
        confirm = self._options.replicas > 1
        (found,) = await reading.last_by_subject(self._requests, streams.LEDGER, [subject], window=1, confirm=confirm)
        return None if found is None else found.body


def subject_of(scope: Scope, entry_id: str) -> str:
    """The subject of an entry."""
    return f"ledger.v1.{scope.slot}.{token(scope.tenant)}.{token(scope.memory)}.{token(entry_id.lower())}"
