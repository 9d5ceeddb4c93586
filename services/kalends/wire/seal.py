"""The seal of a log: which log it is, and the proof that the key file at hand is the one that it was begun with.

Belongs here: making and checking it. Does not belong here: data keys (``vault``). A newcomer would get wrong: a wrong key file is found
out before anything is served, because with it every new session would be sealed so that the right key cannot open it.
"""

import secrets

from google.protobuf.message import DecodeError

from kalends.domain.errors import Conflict, Damaged, Misconfigured
from kalends.kit import aead
from kalends.ports.keys import Wrapper
from kalends.ports.records import Record, Records
from kalends.wire.gen.kalends.v1 import records_pb2 as pb

KIND = "seal"
_OWNER = "instance"
_NAME = "log"
_CONTEXT = b"seal\0log"


async def check_seal(records: Records, wrapper: Wrapper) -> str:
    """The id of the log (32 hex digits); one that has none is given one, under the key of *wrapper*.

    Raises:
        Misconfigured: the log was begun with another key. Damaged: the seal cannot be read. Unavailable, DeadlineExceeded: the store
        does not answer.
    """
    record = await records.get(KIND, _OWNER, _NAME)
    if record is None:
        made = pb.Seal(log_id=secrets.token_bytes(16), wrapped=wrapper.wrap(aead.new_key(), context=_CONTEXT))
        try:
            await records.put(KIND, _OWNER, _NAME, made.SerializeToString(), revision=0)
        except Conflict:
            record = await records.get(KIND, _OWNER, _NAME)
        else:
            return made.log_id.hex()
    return _checked(record, wrapper)


def _checked(record: Record | None, wrapper: Wrapper) -> str:
    try:
        stored = pb.Seal.FromString(record.value if record else b"")
    except DecodeError as error:
        raise Damaged("the seal of the log cannot be read") from error
    if len(stored.log_id) != 16:
        raise Damaged("the seal of the log cannot be read")
    try:
        wrapper.unwrap(stored.wrapped, context=_CONTEXT)
    except Damaged as error:
        detail = "this log was begun with another key: put back the key file that belongs to it (a new key opens nothing old)"
        raise Misconfigured(detail) from error
    return stored.log_id.hex()
