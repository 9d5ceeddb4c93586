"""Erasures and holds: a record each, and the mark that tells whether anything about them is new.

Belongs here: the mapping to records, and sealing what a selector names. Does not belong here: hiding (``hidden``), erasing
(``index.erasing``). A newcomer would get wrong: a selector is sealed under a key of its own, outside of its memory's, which is destroyed
once the erasure is over; what stays of it is a digest that says nothing but to who knows it.
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import cast

import structlog
from google.protobuf.message import DecodeError

from kalends.domain.erasures import Erasure, Hold, Selector, SelectorKind, State
from kalends.domain.errors import Conflict, Damaged
from kalends.domain.events import EventId, digest_id
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.kit import aead, failpoints
from kalends.ports.keys import Keys
from kalends.ports.records import Record, Records
from kalends.wire.documents import session_of
from kalends.wire.gen.kalends.v1 import erasures_pb2 as pb
from kalends.wire.vault import Vault

log = structlog.get_logger(__name__)

KIND = "erasure"
HOLD = "hold"
MARK = "erasure-mark"
REQUEST = "erasure-request"
_OWNER = "instance"
_NAME = "all"
_TRIES = 50
_LISTED = 1000
"""Erasures that the mark names, at most: it is one small record. Only a tenant of more memories than that is erased by more at once."""


def sealing_scope(scope: Scope) -> Scope:
    """Where the keys of a memory's selectors are: beside those of the memory, which may all be destroyed. No caller can name it."""
    return Scope(scope.tenant, MemoryName(f"{scope.memory}~erasures"))


class ErasureStore:
    """The erasures and holds of an instance."""

    def __init__(self, *, records: Records, keys: Keys, vault: Vault) -> None:
        self._records = records
        self._keys = keys
        self._vault = vault

    async def begin(self, erasure: Erasure) -> Erasure:
        """Store a new erasure, and have everybody look.

        Raises:
            Unavailable, DeadlineExceeded: it may be stored.
        """
        revision = await self._records.put(KIND, erasure.scope.key, erasure.erasure_id, await self._encode(erasure), revision=0)
        begun = replace(erasure, revision=revision)
        await failpoints.reach("erasure.before-mark")
        await self.mark(begun)
        return begun

    async def claim(self, scope: Scope, key: str, *, erasure_id: EventId, digest: str) -> tuple[EventId, str]:
        """Which erasure the requests with the idempotency *key* are about, and the digest of what was asked for: the first one's.

        It is noted before the erasure begins: whoever finds a note without one begins it under the id that is noted.
        """
        name = digest_id(REQUEST, scope.key, key)
        value = pb.ErasureRequest(erasure_id=erasure_id, digest=digest).SerializeToString()
        try:
            await self._records.put(REQUEST, scope.key, name, value, revision=0)
        except Conflict:
            noted = await self._claimed(scope, name)
            if noted is None:
                raise
            return noted
        return erasure_id, digest

    async def claimed(self, scope: Scope, key: str) -> tuple[EventId, str] | None:
        """What :meth:`claim` noted, or None."""
        return await self._claimed(scope, digest_id(REQUEST, scope.key, key))

    async def _claimed(self, scope: Scope, name: str) -> tuple[EventId, str] | None:
        record = await self._records.get(REQUEST, scope.key, name)
        if record is None:
            return None
        try:
            noted = pb.ErasureRequest.FromString(record.value)
        except DecodeError as error:
            raise Damaged("the note of a request to erase cannot be read") from error
        return EventId(noted.erasure_id), noted.digest

    async def put(self, erasure: Erasure, **changes: object) -> Erasure:
        """Store *erasure* with *changes*.

        Raises:
            Conflict: it was changed since it was read.
        """
        changed = replace(erasure, **changes)  # type: ignore[arg-type]
        value = await self._encode(changed)
        revision = await self._records.put(KIND, changed.scope.key, changed.erasure_id, value, revision=erasure.revision)
        return replace(changed, revision=revision)

    async def find(self, scope: Scope, erasure_id: str) -> Erasure | None:
        """An erasure of one memory, or None."""
        record = await self._records.get(KIND, scope.key, erasure_id)
        return None if record is None else await self._decode(record)

    async def of_scope(self, scope: Scope) -> Sequence[Erasure]:
        """The erasures of one memory, oldest first."""
        return [await self._decode(record) for record in await self._records.list(KIND, scope.key)]

    async def active(self) -> Sequence[Erasure]:
        """Those that are under way, of all memories, oldest first, as the mark names them.

        One that was stored by somebody who died before it was marked is not among them; ``recover`` finds it.
        """
        record = await self._records.get(MARK, _OWNER, _NAME)
        mark = _mark(record)
        if mark.unlisted:
            return await self.recover()
        found = [await self.find(scope, erasure_id) for scope, erasure_id in sorted(_named(mark), key=lambda one: one[1])]
        return [one for one in found if one is not None and one.is_active]

    async def recover(self) -> Sequence[Erasure]:
        """Look through all that ever were for those under way, and have the mark name these; they, oldest first.

        Raises:
            Unavailable, DeadlineExceeded: the store does not answer. Damaged: a record cannot be read.
        """
        for _ in range(_TRIES):
            record = await self._records.get(MARK, _OWNER, _NAME)
            every = [one for one in await self._records.list(KIND) if _parsed(one).state in {"hidden", "unreadable"}]
            found = sorted([await self._decode(one) for one in every], key=lambda one: one.erasure_id)
            mark = _mark(record)
            named = {(one.scope, str(one.erasure_id)) for one in found}
            if len(named) > _LISTED if mark.unlisted else named == _named(mark):
                return found
            try:
                await self._put_mark(record, named)
            except Conflict:
                continue  # one came meanwhile, and may not be among those that were found
            return found
        raise Conflict("erasures change as fast as they are looked for")

    async def forget_selector(self, erasure: Erasure) -> None:
        """Destroy the key of what an erasure named: its history in the records cannot be read any more."""
        scope, reference = sealing_scope(erasure.scope), _reference(erasure.scope, f"erasure\0{erasure.erasure_id}")
        await self._keys.destroy(scope, [reference])
        self._vault.forget(scope, [reference])

    async def mark(self, erasure: Erasure) -> None:
        """Tell everybody that *erasure* is under way, or not any more.

        Raises:
            Unavailable, DeadlineExceeded: it may not be told.
        """
        entry = (erasure.scope, str(erasure.erasure_id))
        for _ in range(_TRIES):
            record = await self._records.get(MARK, _OWNER, _NAME)
            mark = _mark(record)
            named = _named(mark) | {entry} if erasure.is_active else _named(mark) - {entry}
            try:
                await self._put_mark(record, None if mark.unlisted else named)
            except Conflict:
                continue
            return
        raise Conflict("erasures change as fast as they are told")

    async def _put_mark(self, record: Record | None, named: Collection[tuple[Scope, str]] | None) -> None:
        """Write the mark behind *record*, if no other came first; it names *named*, unless that is None or too many."""
        mark = pb.ErasureMark(count=_mark(record).count + 1, unlisted=named is None or len(named) > _LISTED)
        if named is not None and not mark.unlisted:
            mark.under_way.extend(
                pb.ErasureUnderWay(tenant=scope.tenant, memory=scope.memory, erasure_id=erasure_id)
                for scope, erasure_id in sorted(named, key=lambda one: one[1])
            )
        await self._records.put(MARK, _OWNER, _NAME, mark.SerializeToString(), revision=0 if record is None else record.revision)

    async def seen(self) -> int:
        """The count of the mark, from whoever leads the store; 0 before the first erasure."""
        return _mark(await self._records.get(MARK, _OWNER, _NAME)).count

    async def hold(self, hold: Hold) -> None:
        """Set a hold, or change it."""
        reference = _reference(hold.scope, f"hold\0{hold.name}")
        nonce, sealed = await self._seal(hold.scope, reference, hold.selector)
        stored = pb.Hold(name=hold.name, nonce=nonce, sealed=sealed, set_by=hold.set_by, set_us=hold.set_us)
        await self._records.put(HOLD, hold.scope.key, hold.name, stored.SerializeToString())

    async def holds(self, scope: Scope) -> Sequence[Hold]:
        """The holds of one memory, by name."""
        found = []
        for record in await self._records.list(HOLD, scope.key):
            try:
                stored = pb.Hold.FromString(record.value)
            except DecodeError as error:
                raise Damaged("the record of a hold cannot be read") from error
            selector = await self._open(scope, _reference(scope, f"hold\0{stored.name}"), stored.nonce, stored.sealed)
            if selector is None:
                raise Damaged("the key of a hold is gone")
            found.append(Hold(name=stored.name, scope=scope, selector=selector, set_by=stored.set_by, set_us=stored.set_us))
        return found

    async def release(self, scope: Scope, name: str) -> None:
        """Take a hold away; one that does not exist is no error."""
        await self._records.delete(HOLD, scope.key, name)

    async def _seal(self, scope: Scope, reference: str, selector: Selector) -> tuple[bytes, bytes]:
        where = sealing_scope(scope)
        box = (await self._vault.boxes_for_writing(where, [reference]))[reference]
        return box.seal(encode_selector(selector), context=_context(scope, reference))

    async def _open(self, scope: Scope, reference: str, nonce: bytes, sealed: bytes) -> Selector | None:
        box = (await self._vault.boxes(sealing_scope(scope), [reference])).get(reference)
        if box is None:
            return None
        try:
            return decode_selector(box.open(nonce, sealed, context=_context(scope, reference)))
        except aead.TamperedError as error:
            raise Damaged("a selector does not open") from error

    async def _encode(self, erasure: Erasure) -> bytes:
        nonce = sealed = b""
        if erasure.selector is not None and erasure.is_active:
            reference = _reference(erasure.scope, f"erasure\0{erasure.erasure_id}")
            nonce, sealed = await self._seal(erasure.scope, reference, erasure.selector)
        return pb.ErasureRecord(
            erasure_id=erasure.erasure_id,
            tenant=erasure.scope.tenant,
            memory=erasure.scope.memory,
            selector_kind=erasure.selector_kind,
            selector_digest=erasure.selector_digest,
            nonce=nonce,
            sealed=sealed,
            reason=erasure.reason,
            requested_by=erasure.requested_by,
            undo_until_us=erasure.undo_until_us,
            state=erasure.state,
            begun=erasure.begun,
            times=[pb.StateTime(state=state, at_us=at_us) for state, at_us in erasure.times.items()],
            counts=erasure.counts,
            sweep=erasure.sweep,
            probe=erasure.probe,
            with_memory=erasure.with_memory,
            step=erasure.step,
        ).SerializeToString()

    async def _decode(self, record: Record) -> Erasure:
        stored = _parsed(record)
        scope = Scope(tenant=Tenant(stored.tenant), memory=MemoryName(stored.memory))
        selector = None
        if stored.sealed:
            selector = await self._open(scope, _reference(scope, f"erasure\0{stored.erasure_id}"), stored.nonce, stored.sealed)
        return Erasure(
            erasure_id=EventId(stored.erasure_id),
            scope=scope,
            selector=selector,
            selector_kind=cast("SelectorKind", stored.selector_kind),
            selector_digest=stored.selector_digest,
            reason=stored.reason,
            requested_by=stored.requested_by,
            undo_until_us=stored.undo_until_us,
            state=cast("State", stored.state),
            begun=stored.begun,
            times={one.state: one.at_us for one in stored.times},
            counts=dict(stored.counts),
            sweep=dict(stored.sweep),
            probe=dict(stored.probe),
            with_memory=stored.with_memory,
            step=stored.step,
            revision=record.revision,
        )


def begun_anew(value: bytes) -> bytes:
    """The record of an erasure for another log: one that is under way begins there from its first step, for its places were of this log.

    Raises:
        Damaged: it cannot be read.
    """
    try:
        stored = pb.ErasureRecord.FromString(value)
    except DecodeError as error:
        raise Damaged("the record of an erasure cannot be read") from error
    if stored.state not in {"hidden", "unreadable"}:
        return value
    stored.state = "hidden"
    for name in ("sweep", "step", "begun", "probe", "counts"):
        stored.ClearField(name)
    del stored.times[1:]
    return stored.SerializeToString()


def encode_selector(selector: Selector) -> bytes:
    """The bytes of a selector, to be sealed."""
    names = {"session_id": selector.session, "actor": selector.actor, "document_id": selector.document_id, "label": selector.label}
    name = names.get(selector.kind, "")
    return pb.Selector(
        kind=selector.kind,
        event_ids=selector.event_ids,
        name=name,
        since_us=selector.since_us,
        until_us=selector.until_us,
        metadata=json.dumps(dict(selector.metadata)) if selector.metadata else "",
    ).SerializeToString()


def decode_selector(content: bytes) -> Selector:
    """Read back what :func:`encode_selector` made.

    Raises:
        Damaged: it is something else.
    """
    try:
        stored = pb.Selector.FromString(content)
        metadata: Mapping[str, str | int | float | bool | None] = json.loads(stored.metadata) if stored.metadata else {}
    except (DecodeError, ValueError) as error:
        raise Damaged("a selector that cannot be read") from error
    kind = cast("SelectorKind", stored.kind)
    session = {"session_id": stored.name, "document_id": session_of(stored.name)}.get(kind, "")
    return Selector(
        kind=kind,
        event_ids=tuple(EventId(one) for one in stored.event_ids),
        session=session,
        actor=stored.name if kind == "actor" else "",
        document_id=stored.name if kind == "document_id" else "",
        label=stored.name if kind == "label" else "",
        since_us=stored.since_us if stored.HasField("since_us") else None,
        until_us=stored.until_us if stored.HasField("until_us") else None,
        metadata=metadata,
    )


def _parsed(record: Record) -> pb.ErasureRecord:
    try:
        return pb.ErasureRecord.FromString(record.value)
    except DecodeError as error:
        raise Damaged("the record of an erasure cannot be read") from error


def _mark(record: Record | None) -> pb.ErasureMark:
    try:
        return pb.ErasureMark() if record is None else pb.ErasureMark.FromString(record.value)
    except DecodeError as error:
        raise Damaged("the mark of the erasures cannot be read") from error


def _named(mark: pb.ErasureMark) -> frozenset[tuple[Scope, str]]:
    return frozenset((Scope(Tenant(one.tenant), MemoryName(one.memory)), one.erasure_id) for one in mark.under_way)


def _reference(scope: Scope, what: str) -> str:
    return hashlib.blake2b(f"{scope.key}{what}".encode(), digest_size=16).hexdigest()


def _context(scope: Scope, reference: str) -> bytes:
    return f"selector\0{scope.key}\0{reference}".encode()
