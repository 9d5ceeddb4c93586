"""Canary questions as records: sealed, each under a key of its own.

Belongs here: the record's mapping and its store. Does not belong here: asking them (``search.canaries``). A newcomer would get wrong: a
changed question is sealed under a new key and the old key is destroyed, so that what it said, and which events it named, is unreadable at
once wherever a copy of the record is; what became of it lies beside the seal, for it says nothing, and is written without any key.
"""

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import cast

import structlog
from google.protobuf.message import DecodeError

from kalends.domain.canaries import Canary, State
from kalends.domain.errors import Conflict, Damaged
from kalends.domain.events import EventId, EventKey, event_key
from kalends.domain.scope import Scope
from kalends.kit import aead
from kalends.ports.keys import Keys
from kalends.ports.records import Record, Records
from kalends.ports.timeline import Known
from kalends.wire.gen.kalends.v1 import records_pb2 as pb
from kalends.wire.vault import Vault

log = structlog.get_logger(__name__)

KIND = "canary"
_REFERENCE_BYTES = 16


class CanaryStore:
    """The canary questions of every memory."""

    def __init__(self, *, records: Records, keys: Keys, vault: Vault) -> None:
        self._records = records
        self._keys = keys
        self._vault = vault

    async def find(self, scope: Scope, name: str) -> Canary | None:
        """The question of that name, or None.

        Raises:
            Damaged: it cannot be read.
        """
        record = await self._records.get(KIND, scope.key, name)
        if record is None:
            return None
        (found,) = await self._opened(scope, [record])
        if isinstance(found, Damaged):
            raise found
        return found

    async def of_scope(self, scope: Scope) -> Sequence[Canary]:
        """Every question of a memory that can be read, by name; the log names the others."""
        records = await self._records.list(KIND, scope.key)
        canaries = []
        for record, found in zip(records, await self._opened(scope, records), strict=True):
            if isinstance(found, Damaged):
                log.warning("canary question skipped", name=record.name, reason=found.detail)
            else:
                canaries.append(found)
        return canaries

    async def owners(self) -> frozenset[str]:
        """The keys of the scopes that have any."""
        return frozenset(record.owner for record in await self._records.list(KIND))

    async def put(self, canary: Canary) -> Canary:
        """Store *canary* if nobody changed it since it was read, and let what it said before be unreadable.

        Raises:
            Conflict: somebody did.
        """
        scope = canary.scope
        record = await self._records.get(KIND, scope.key, canary.name) if canary.revision else None
        former = [] if record is None else _references(_parsed(record))
        reference = secrets.token_hex(_REFERENCE_BYTES)
        box = (await self._vault.boxes_for_writing(scope, [reference]))[reference]
        said = pb.CanaryQuestion(question=canary.question, expect=canary.expect)
        nonce, sealed = box.seal(said.SerializeToString(), context=_context(scope, canary.name))
        value = _beside(canary, pb.Canary(key_ref=bytes.fromhex(reference), nonce=nonce, sealed=sealed))
        value.former_key_refs.extend(bytes.fromhex(one) for one in former)
        try:
            revision = await self._records.put(KIND, scope.key, canary.name, value.SerializeToString(), revision=canary.revision)
        except Conflict:
            await self._destroy(scope, [reference])
            raise
        await self._destroy(scope, former)
        return replace(canary, revision=revision)

    async def note(self, canary: Canary) -> None:
        """Store what became of *canary* when it was asked, if nobody changed it since it was read.

        Raises:
            Conflict: somebody did.
        """
        record = await self._records.get(KIND, canary.scope.key, canary.name)
        if record is None or record.revision != canary.revision:
            raise Conflict("the question was changed while it was asked")
        value = _beside(canary, _parsed(record))
        await self._records.put(KIND, canary.scope.key, canary.name, value.SerializeToString(), revision=canary.revision)

    async def remove(self, scope: Scope, name: str) -> bool:
        """Forget a question; whether there was one."""
        record = await self._records.get(KIND, scope.key, name)
        if record is not None:
            await self._forget(scope, record)
        return record is not None

    async def remove_all(self, scope: Scope) -> int:
        """Forget every question of a memory; how many there were."""
        found = await self._records.list(KIND, scope.key)
        for record in found:
            await self._forget(scope, record)
        return len(found)

    async def _forget(self, scope: Scope, record: Record) -> None:
        """The keys first: of a record without one, which a kill may leave, nobody can read anything."""
        try:
            references = _references(_parsed(record))
        except Damaged:
            references = []  # nobody can read it, so nobody needs its key
        await self._destroy(scope, references)
        await self._records.delete(KIND, scope.key, record.name)

    async def _destroy(self, scope: Scope, references: Collection[str]) -> None:
        if references:
            await self._keys.destroy(scope, list(references))
            self._vault.forget(scope, references)

    async def _opened(self, scope: Scope, records: Sequence[Record]) -> list[Canary | Damaged]:
        """What each of *records* says, or why that cannot be told."""
        parsed: dict[str, pb.Canary] = {}
        wrong: dict[str, Damaged] = {}
        for record in records:
            try:
                parsed[record.name] = _parsed(record)
            except Damaged as error:
                wrong[record.name] = error
        boxes, closed = await self._vault.boxes_that_open(scope, [one.key_ref.hex() for one in parsed.values()])
        found: list[Canary | Damaged] = []
        for record in records:
            one = parsed.get(record.name)
            reference = "" if one is None else one.key_ref.hex()
            found.append(wrong[record.name] if one is None else closed.get(reference) or _canary(scope, record, one, boxes.get(reference)))
        return found


def erased_of(canary: Canary, known: Mapping[EventKey, Known]) -> list[EventId]:
    """Which of what is expected is erased for ever, as the timeline knows it; what is only hidden or taken back is not."""
    keys = {one: event_key(canary.scope, one) for one in canary.expect}
    return [one for one, key in keys.items() if key in known and known[key].erased]


def _beside(canary: Canary, value: pb.Canary) -> pb.Canary:
    """*value* with what of *canary* lies open."""
    value.within, value.gone, value.state, value.set_by = canary.within, canary.gone, canary.state, canary.set_by
    value.since_us, value.asked_us, value.set_us = canary.since_us, canary.asked_us, canary.set_us
    return value


def _canary(scope: Scope, record: Record, parsed: pb.Canary, box: aead.Box | None) -> Canary | Damaged:
    """What a record says; without its key, which a backup that is older than an erasure brings about, it is gone."""
    said, state = pb.CanaryQuestion(), parsed.state
    if box is None:
        state = "gone"
    else:
        try:
            said = pb.CanaryQuestion.FromString(box.open(parsed.nonce, parsed.sealed, context=_context(scope, record.name)))
        except (DecodeError, aead.TamperedError):
            return Damaged(f"the canary question {record.name!r} cannot be read")
    return Canary(
        scope=scope,
        name=record.name,
        question=said.question,
        expect=tuple(EventId(one) for one in said.expect),
        within=parsed.within,
        gone=parsed.gone,
        state=cast("State", state),
        since_us=parsed.since_us,
        asked_us=parsed.asked_us,
        set_us=parsed.set_us,
        set_by=parsed.set_by,
        revision=record.revision,
    )


def _references(parsed: pb.Canary) -> list[str]:
    return [one.hex() for one in (parsed.key_ref, *parsed.former_key_refs)]


def _parsed(record: Record) -> pb.Canary:
    try:
        return pb.Canary.FromString(record.value)
    except DecodeError as error:
        raise Damaged(f"the canary question {record.name!r} cannot be read") from error


def _context(scope: Scope, name: str) -> bytes:
    return f"canary\0{scope.key}\0{name}".encode()
