"""Receipts: what an erasure did, in one form of bytes, signed.

Belongs here: the form, signing and checking. Does not belong here: keeping them (``ports.ledger``). A newcomer would get wrong: what is
signed is not the text that travels but its canonical form, so a receipt that was indented or reordered on its way is still good; and the
key within a receipt proves nothing by itself, so whoever checks should bring the key that they trust.
"""

from datetime import datetime

import msgspec
from msgspec import Struct

from kalends.domain.erasures import Erasure
from kalends.domain.errors import Damaged
from kalends.domain.events import moment
from kalends.kit import signatures

VERSION = 1

_canonical = msgspec.json.Encoder(order="sorted")


class Receipt(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A receipt: no content, no name but of tenant and memory. ``probe`` is what was still found, by store.

    ``key`` and ``signature`` are in hex.

    ``keys_destroyed``: what is sealed is unreadable everywhere, in backups once their keys end; else the messages were taken out.
    ``backups_expire_at``: when the last backup, or its keys, ends that was begun before; null: there is none.
    """

    version: int
    erasure_id: str
    tenant: str
    memory: str
    selector: str
    selector_digest: str
    reason: str
    requested_by: str
    times: dict[str, datetime]
    counts: dict[str, int]
    probe: dict[str, int]
    keys_destroyed: bool
    backups_expire_at: datetime | None
    key: str
    signature: str = ""


_decoder = msgspec.json.Decoder(Receipt)


def canonical(receipt: Receipt) -> bytes:
    """What is signed: JSON with sorted members and without spaces, and no signature."""
    members = {name: value for name, value in msgspec.structs.asdict(receipt).items() if name != "signature"}
    return _canonical.encode(members)


def sign(erasure: Erasure, signer: signatures.Signer, *, backups_expire_at: datetime | None = None) -> bytes:
    """The receipt of a finished erasure, as it travels; *backups_expire_at*: when the last backup ends that may hold what it erased."""
    receipt = Receipt(
        version=VERSION,
        erasure_id=erasure.erasure_id,
        tenant=erasure.scope.tenant,
        memory=erasure.scope.memory,
        selector=erasure.selector_kind,
        selector_digest=erasure.selector_digest,
        reason=erasure.reason,
        requested_by=erasure.requested_by,
        times={state: moment(at_us) for state, at_us in erasure.times.items()},
        counts=dict(erasure.counts),
        probe=dict(erasure.probe),
        keys_destroyed=erasure.selector_kind in {"session_id", "document_id", "everything"},
        backups_expire_at=backups_expire_at,
        key=signer.public.hex(),
    )
    signature = signer.sign(canonical(receipt)).hex()
    return _canonical.encode(msgspec.structs.replace(receipt, signature=signature))


def read(content: bytes) -> Receipt:
    """A receipt from its bytes.

    Raises:
        Damaged: they are none.
    """
    try:
        return _decoder.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Damaged("not a receipt") from error


def is_genuine(receipt: Receipt, *, key: bytes | None = None) -> bool:
    """Whether the owner of *key* (None: of the key that it names itself) signed *receipt* as it is."""
    try:
        named, signature = bytes.fromhex(receipt.key), bytes.fromhex(receipt.signature)
    except ValueError:
        return False
    if key is not None and key != named:
        return False
    return receipt.version == VERSION and signatures.is_signed(canonical(receipt), signature, public=named)
