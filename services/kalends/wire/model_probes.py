"""Model probes: what each served model made of a fixed sentence when any process first met it.

Belongs here: the record's mapping and its store. Does not belong here: asking models, and how alike is the same (``adapters.vllm``). A
newcomer would get wrong: the first one counts and stays, or weights could drift away from the vectors that are stored, a little each time.
"""

from collections.abc import Sequence

import structlog
from google.protobuf.message import DecodeError

from kalends.domain.errors import Conflict, Damaged
from kalends.ports.records import Records
from kalends.wire.gen.kalends.v1 import work_pb2 as pb

log = structlog.get_logger(__name__)

KIND = "model"
_OWNER = "instance"


class ModelProbes:
    """The probes of all models, by identity."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def first(self, identity: str, vector: Sequence[float]) -> Sequence[float]:
        """What was first made by the model *identity*; *vector*, from now on, if it was never met. As many numbers, of 32 bits each.

        Raises:
            Unavailable, DeadlineExceeded, Throttled: the store does not answer, or is full.
        """
        found = await self._load(identity)
        if found is not None and len(found) == len(vector):
            return found
        value = pb.ModelProbe(vector=vector).SerializeToString()
        try:
            await self._records.put(KIND, _OWNER, identity, value, revision=0 if found is None else None)
        except Damaged:
            await self._records.put(KIND, _OWNER, identity, value)
        except Conflict:  # another process met it at the same moment, or what is there cannot be read
            met = await self._load(identity)
            if met is not None and len(met) == len(vector):
                return met
            await self._records.put(KIND, _OWNER, identity, value)
        return vector

    async def _load(self, identity: str) -> Sequence[float] | None:
        try:
            record = await self._records.get(KIND, _OWNER, identity)
            return None if record is None else list(pb.ModelProbe.FromString(record.value).vector)
        except (DecodeError, Damaged):
            log.warning("what a model was first met with cannot be read; what it is now takes its place", model=identity)
            return None
