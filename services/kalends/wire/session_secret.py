"""The key of the digests that make nonces and bearers of agents: one for all processes of a log, wrapped like a data key.

Belongs here: making, storing and reading it. Does not belong here: the digests (``edge.sessions``). A newcomer would get wrong: it may be
lost without any harm but that agents must log in again, so one that does not open any more is replaced instead of stopping the start.
"""

import structlog

from kalends.domain import wrapped_keys
from kalends.domain.errors import Conflict, Damaged, KalendsError, Unavailable
from kalends.kit import aead
from kalends.ports.kek import Bound, Wrapper
from kalends.ports.records import Record, Records

log = structlog.get_logger(__name__)

KIND = "session-secret"
_OWNER = "instance"
_NAME = "sessions"
_CONTEXT = b"session-secret\0"
_TRIES = 5


async def session_secret(records: Records, wrapper: Wrapper) -> bytes:
    """The 32 bytes; made by whoever asks first, and wrapped anew where the key-encryption key was rotated since.

    Raises:
        Unavailable, DeadlineExceeded: the store or the keeper of the key does not answer.
    """
    for _ in range(_TRIES):
        try:
            record = await records.get(KIND, _OWNER, _NAME)
        except Damaged:
            log.warning("the key of sessions is lost; agents log in again", code=Damaged.code)
            record = None
        known = None if record is None else await _opened(record, wrapper)
        if record is not None and known is not None and wrapped_keys.kek_of(record.value) == await wrapper.newest():
            return known
        secret = known or aead.new_key()
        (wrapped,) = await wrapper.wrap([Bound(key=secret, context=_CONTEXT)])
        try:
            await records.put(KIND, _OWNER, _NAME, wrapped, revision=0 if record is None else record.revision)
        except Conflict:
            continue  # another process was first; what it wrote counts
        return secret
    raise Unavailable("the key of sessions is being written by others", dependency="records", retry_after=1.0)


async def _opened(record: Record, wrapper: Wrapper) -> bytes | None:
    (found,) = await wrapper.unwrap([Bound(key=record.value, context=_CONTEXT)])
    if isinstance(found, KalendsError):
        log.warning("the key of sessions does not open; agents log in again", code=found.code)
        return None
    return found
