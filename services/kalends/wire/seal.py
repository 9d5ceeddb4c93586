"""The seal of a log: which log it is, and the proof that the key file at hand is the one that it was begun with.

Belongs here: making and checking it. Does not belong here: data keys (``vault``). A newcomer would get wrong: a wrong key file is found
out before anything is served, because with it every new session would be sealed so that the right key cannot open it.
"""

import secrets

from google.protobuf.message import DecodeError

from kalends.domain import wrapped_keys
from kalends.domain.errors import Conflict, Damaged, KalendsError, Misconfigured
from kalends.kit import aead
from kalends.ports.kek import Bound, Wrapper
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
        (wrapped,) = await wrapper.wrap([Bound(key=aead.new_key(), context=_CONTEXT)])
        made = pb.Seal(log_id=secrets.token_bytes(16), wrapped=wrapped)
        try:
            await records.put(KIND, _OWNER, _NAME, made.SerializeToString(), revision=0)
        except Conflict:
            record = await records.get(KIND, _OWNER, _NAME)
        else:
            return made.log_id.hex()
    stored = _read(record)
    await _opened(stored, wrapper)
    return stored.log_id.hex()


async def rewrap_seal(records: Records, wrapper: Wrapper) -> bool:
    """Wrap the seal under the newest key, if it is not; whether it is now.

    False if another process wrote it at the same time: look again.

    Raises:
        Misconfigured: the log was begun with another key. Damaged: the seal cannot be read. Unavailable, DeadlineExceeded: the store or
        the keeper of the key does not answer.
    """
    record = await records.get(KIND, _OWNER, _NAME)
    stored = _read(record)
    if record is None or wrapped_keys.kek_of(stored.wrapped) == await wrapper.newest():
        return True
    key = await _opened(stored, wrapper)
    (wrapped,) = await wrapper.wrap([Bound(key=key, context=_CONTEXT)])
    try:
        changed = pb.Seal(log_id=stored.log_id, wrapped=wrapped)
        await records.put(KIND, _OWNER, _NAME, changed.SerializeToString(), revision=record.revision)
    except Conflict:
        return False
    return True


async def seal_kek(records: Records) -> str | None:
    """The name of the key-encryption key that the seal needs, empty for the first; None where there is no seal.

    Raises:
        Damaged: the seal cannot be read. Unavailable, DeadlineExceeded: the store does not answer.
    """
    record = await records.get(KIND, _OWNER, _NAME)
    return None if record is None else wrapped_keys.kek_of(_read(record).wrapped)


def _read(record: Record | None) -> pb.Seal:
    try:
        stored = pb.Seal.FromString(record.value if record else b"")
    except DecodeError as error:
        raise Damaged("the seal of the log cannot be read") from error
    if len(stored.log_id) != 16:
        raise Damaged("the seal of the log cannot be read")
    return stored


async def _opened(stored: pb.Seal, wrapper: Wrapper) -> bytes:
    (key,) = await wrapper.unwrap([Bound(key=stored.wrapped, context=_CONTEXT)])
    if isinstance(key, KalendsError):
        detail = "this log was begun with another key: put back the key file that belongs to it (a new key opens nothing old)"
        raise Misconfigured(detail) from key
    return key
