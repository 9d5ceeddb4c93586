"""Spending: what each memory has spent on a chat model today, so that a restart does not renew its budget.

Belongs here: the record's mapping and its store. Does not belong here: the limit (``summarize.budget``). A newcomer would get wrong: there
is one record for each memory, of the last day on which it spent anything.
"""

from datetime import date

from google.protobuf.message import DecodeError

from kalends.domain.errors import Damaged
from kalends.ports.records import Records
from kalends.wire.gen.kalends.v1 import work_pb2 as pb

KIND = "spending"
_NAME = "chat"


class SpendingStore:
    """Days and tokens by the key of a memory."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def load(self, memory: str) -> tuple[date, int] | None:
        """The last day on which *memory* spent something, and how many tokens; None if there is none, or it cannot be read.

        Raises:
            Unavailable, DeadlineExceeded: the store does not answer.
        """
        try:
            record = await self._records.get(KIND, memory, _NAME)
            if record is None:
                return None
            stored = pb.Spending.FromString(record.value)
            return date.fromisoformat(stored.day), stored.tokens
        except (DecodeError, ValueError, Damaged):
            return None  # a count of tokens is no reason to stop writing the calendar; it begins again

    async def save(self, memory: str, day: date, tokens: int) -> None:
        """Keep what *memory* has spent on *day*."""
        value = pb.Spending(day=day.isoformat(), tokens=tokens).SerializeToString()
        await self._records.put(KIND, memory, _NAME, value)
