"""Audit entries as bytes.

Belongs here: blocks of entries to protobuf and back. Does not belong here: what is hashed (``domain.audit``). A newcomer would get wrong:
the hash is over the values and not over these bytes, so that a copy in JSON can be checked as well.
"""

from collections.abc import Sequence

from google.protobuf.message import DecodeError

from kalends.domain.audit import Entry
from kalends.domain.errors import Damaged
from kalends.wire.gen.kalends.v1 import audit_pb2 as pb


def pack(entries: Sequence[Entry]) -> bytes:
    """*entries*, which are chained, as one message."""
    return pb.AuditBlock(
        entries=[
            pb.AuditEntry(
                number=entry.number,
                at_us=entry.at_us,
                tenant=entry.tenant,
                actor=entry.actor,
                operation=entry.operation,
                memory=entry.memory,
                outcome=entry.outcome,
                request_id=entry.request_id,
                count=entry.count,
                previous=entry.previous,
                hash=entry.hash,
                refused=entry.refused,
                approved_by=entry.approved_by,
            )
            for entry in entries
        ]
    ).SerializeToString()


def unpack(body: bytes) -> Sequence[Entry]:
    """The entries of a message.

    Raises:
        Damaged: the bytes are not what ``pack`` makes.
    """
    try:
        stored = pb.AuditBlock.FromString(body)
    except DecodeError as error:
        raise Damaged("a block of the audit that cannot be read") from error
    return [
        Entry(
            number=one.number,
            at_us=one.at_us,
            tenant=one.tenant,
            actor=one.actor,
            operation=one.operation,
            memory=one.memory,
            outcome=one.outcome,
            request_id=one.request_id,
            count=one.count,
            previous=one.previous,
            hash=one.hash,
            refused=one.refused,
            approved_by=one.approved_by,
        )
        for one in stored.entries
    ]
