"""Comparisons: how far the projections have been compared with the log, so that one that was cut off is gone on with.

Belongs here: the record's mapping and its store. Does not belong here: comparing (``index.reconciling``). A newcomer would get wrong: there
is no record unless a comparison was cut off or is under way; one that is done takes it away.
"""

from dataclasses import dataclass

from google.protobuf.message import DecodeError

from kalends.domain.errors import Damaged
from kalends.ports.records import Records
from kalends.wire.gen.kalends.v1 import work_pb2 as pb

KIND = "comparison"
_OWNER = "instance"
_NAME = "reconcile"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """The scope, by its key, that was the last one of a projection to be compared whole; scopes are taken in the order of their keys."""

    projection: str
    scope_key: str


class ComparisonStore:
    """The place, if there is one."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def load(self) -> Compared | None:
        """Where to go on; None to begin, also if it cannot be read.

        Raises:
            Unavailable, DeadlineExceeded: the store does not answer.
        """
        try:
            record = await self._records.get(KIND, _OWNER, _NAME)
            if record is None:
                return None
            stored = pb.Comparison.FromString(record.value)
        except (DecodeError, Damaged):
            return None  # it begins again, which costs no more than time
        return Compared(projection=stored.projection, scope_key=stored.scope)

    async def save(self, compared: Compared) -> None:
        """Keep *compared* as the place to go on behind."""
        value = pb.Comparison(projection=compared.projection, scope=compared.scope_key).SerializeToString()
        await self._records.put(KIND, _OWNER, _NAME, value)

    async def clear(self) -> None:
        """Begin anew the next time; again is no error."""
        await self._records.delete(KIND, _OWNER, _NAME)
