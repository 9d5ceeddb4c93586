"""Documents: content in, chunks appended, earlier content taken back.

Belongs here: the order of writes that makes a replacement safe to repeat. Not here: where to cut (``domain.documents``). A newcomer
would get wrong: ids of chunks hold the document's number of changes, so content that comes back after a change is not "retracted".
"""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from kalends.domain import documents, redaction
from kalends.domain.errors import Conflict, Fault, Invalid, NotFound
from kalends.domain.events import Event, EventId, Facets, Scalar, digest_id, microseconds
from kalends.domain.labels import EVERYTHING, Clearance
from kalends.domain.positions import Position
from kalends.domain.scope import Scope
from kalends.ingest.redacting import Redact
from kalends.ingest.usecases import AppendEvents
from kalends.kit import failpoints
from kalends.ports.clock import Clock
from kalends.ports.log import Draft, Log
from kalends.ports.models import Tokenizer
from kalends.wire import envelopes
from kalends.wire.documents import DocumentRecord, DocumentStore, session_of
from kalends.wire.memories import MemoryRegistry
from kalends.wire.vault import Vault, key_reference

_SLICE = 500
_ACTOR_BYTES = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDocument:
    """A checked document to keep."""

    document_id: str
    text: str
    title: str
    source: str
    markdown: bool
    occurred_at: datetime | None
    metadata: dict[str, Scalar]
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A document after a write: what the write did and where its last message is."""

    record: DocumentRecord
    status: str
    positions: tuple[Position, ...]
    masked: tuple[str, ...] = ()
    """What kinds of things were masked in it."""


class KeepDocument:
    """Keeps, replaces and removes documents."""

    def __init__(
        self,
        *,
        append: AppendEvents,
        log: Log,
        store: DocumentStore,
        memories: MemoryRegistry,
        vault: Vault,
        tokenizer: Tokenizer,
        clock: Clock,
        chunk_tokens: int,
        redact: Redact,
    ) -> None:
        self._redact = redact
        self._memories = memories
        self._append = append
        self._log = log
        self._store = store
        self._vault = vault
        self._tokenizer = tokenizer
        self._clock = clock
        self._chunk_tokens = chunk_tokens

    async def keep(self, scope: Scope, document: NewDocument, *, clearance: Clearance = EVERYTHING) -> Kept:
        """Keep *document* without what its memory masks; the same content again changes nothing.

        Raises:
            NotFound: there is no such memory. Invalid: it holds what its memory refuses. Conflict: another write of this document came
            first, try again; or its id is taken by one that *clearance* does not let see. And what appending raises.
        """
        memory = await self._memories.find(scope)
        document, masked = await self._cleaned(memory.redaction, document)
        return replace(await self._keep(scope, document, clearance), masked=masked)

    async def _cleaned(self, policy: redaction.Policy, document: NewDocument) -> tuple[NewDocument, tuple[str, ...]]:
        clean: list[NewDocument] = []

        def work(cleaning: redaction.Cleaning) -> None:
            clean.append(
                replace(
                    document,
                    text=cleaning.text(document.text),
                    title=cleaning.text(document.title),
                    source=cleaning.text(document.source),
                    metadata=dict(cleaning.metadata(document.metadata)),
                )
            )

        found = await self._redact.texts(policy, "chunk", work, size=len(document.text))
        if found.refused:
            detail = f"the document holds what this memory does not take: {', '.join(found.refused)}"
            raise Invalid(detail, faults=[Fault(pointer="", detail=detail, code=redaction.REFUSED)])
        return clean[0], found.masked

    async def _keep(self, scope: Scope, document: NewDocument, clearance: Clearance) -> Kept:
        content_hash = _content_hash(document)
        before = await self._store.find(scope, document.document_id)
        if before is not None and not clearance.sees(before.labels):
            raise Conflict("this document_id is taken")
        if before is not None and before.content_hash == content_hash and not before.pending:
            return Kept(record=before, status="unchanged", positions=())
        # cutting counts the tokens of the whole text, which takes seconds for a large one
        cut = await asyncio.to_thread(self._cut, document)
        record = self._next(scope, document, content_hash, before, len(cut))
        if record is not before:
            record = replace(record, stored=await self._store.put(scope, record))
        await failpoints.reach("documents.after-record")
        try:
            positions = await self._append_chunks(scope, document, record, cut)
            await failpoints.reach("documents.after-chunks")
            if record.stale:
                positions.append(await self._retract(scope, document.document_id, record.stale, why=f"stale {record.number}"))
            await failpoints.reach("documents.after-retract")
            record = replace(record, pending=False, stale=())
            record = replace(record, stored=await self._store.put(scope, record))
        except Conflict:
            record, positions = await self._overtaken(scope, record), []
        return Kept(record=record, status="new" if before is None else "replaced", positions=tuple(positions))

    async def _overtaken(self, scope: Scope, record: DocumentRecord) -> DocumentRecord:
        """What is kept if another write finished ours; else take back what we appended after the other one had taken it back.

        Raises:
            Conflict: the other write has other content.
        """
        now = await self._store.find(scope, record.document_id)
        if now is not None and now.number == record.number and not now.pending:
            return now
        if record.chunk_ids and (now is None or now.number != record.number):
            await self._retract(scope, record.document_id, record.chunk_ids, why=f"overtaken {record.number}")
        raise Conflict("another write of this document came first; try again")

    async def remove(self, scope: Scope, document_id: str, *, clearance: Clearance = EVERYTHING) -> Kept:
        """Take every chunk of a document back and forget its record.

        Raises:
            NotFound: there is no such document, or no such memory.
        """
        await self._memories.find(scope)
        record = await self._store.find(scope, document_id)
        if record is None or not clearance.sees(record.labels):
            raise NotFound("no such document")
        gone = (*record.chunk_ids, *record.stale)
        positions: tuple[Position, ...] = ()
        if gone:
            positions = (await self._retract(scope, document_id, gone, why=f"removed {record.number}"),)
        await self._store.delete(scope, document_id)
        return Kept(record=record, status="removed", positions=positions)

    def _cut(self, document: NewDocument) -> Sequence[documents.Chunk]:
        return documents.chunks(document.text, limit=self._chunk_tokens, count=self._tokenizer.count, markdown=document.markdown)

    def _next(self, scope: Scope, document: NewDocument, content_hash: bytes, before: DocumentRecord | None, chunks: int) -> DocumentRecord:
        """The record of this write: the one that an interrupted write of the same content left, or a new one."""
        if before is not None and before.content_hash == content_hash and len(before.chunk_ids) == chunks:
            return before
        now_us = microseconds(self._clock.now())
        number = max(now_us, before.number + 1 if before else 0)
        return DocumentRecord(
            document_id=document.document_id,
            title=document.title,
            source=document.source,
            content_hash=content_hash,
            chunk_ids=tuple(digest_id("chunk", scope.key, document.document_id, str(number), str(chunk)) for chunk in range(chunks)),
            stale=(*before.chunk_ids, *before.stale) if before else (),
            updated_us=now_us,
            number=number,
            pending=True,
            stored=before.stored if before else 0,
            labels=document.labels,
        )

    async def _append_chunks(
        self, scope: Scope, document: NewDocument, record: DocumentRecord, cut: Sequence[documents.Chunk]
    ) -> list[Position]:
        now = self._clock.now()
        occurred_at = document.occurred_at
        events = [
            Event(
                id=event_id,
                facets=Facets(
                    session_id=session_of(document.document_id),
                    kind="chunk",
                    role="system",
                    actor=_speaker(document),
                    metadata=dict(document.metadata) | ({"headings": " > ".join(chunk.headings)[:2000]} if chunk.headings else {}),
                    labels=document.labels,
                ),
                text=chunk.text,
                occurred_at=occurred_at or now,
                recorded_at=now,
                dated=occurred_at is not None,
                document_id=document.document_id,
            )
            for event_id, chunk in zip(record.chunk_ids, cut, strict=True)
        ]
        positions: list[Position] = []
        for start in range(0, len(events), _SLICE):
            outcomes = await self._append(scope, events[start : start + _SLICE])
            refused = [outcome for outcome in outcomes if outcome.fault is not None]
            if refused:
                raise Conflict("another write of this document is under way; try again")
            positions += [outcome.position for outcome in outcomes if outcome.position is not None]
        return positions

    async def _retract(self, scope: Scope, document_id: str, event_ids: Sequence[EventId], *, why: str) -> Position:
        """Take chunks back; *why* tells this retraction from others of the document, and is the same when it is repeated."""
        reference = key_reference(scope, session_of(document_id))
        box = (await self._vault.boxes_for_writing(scope, [reference]))[reference]
        body = envelopes.seal_retraction(
            envelopes.Retraction(event_ids=tuple(event_ids), reason="document replaced"),
            scope=scope,
            recorded_us=microseconds(self._clock.now()),
            key_reference=reference,
            box=box,
            stamp=envelopes.Stamp(writer="", number=0, acked_up_to=0),
        )
        identity = hashlib.blake2b(f"{scope.key}{document_id}\0{why}".encode(), digest_size=16).hexdigest()
        appended = await self._log.append([Draft(scope=scope, message_id=f"retract-{identity}", body=body)])
        return appended[0].position


def _speaker(document: NewDocument) -> str:
    name = (document.title or document.document_id).encode()[:_ACTOR_BYTES]
    return name.decode(errors="ignore")


def _content_hash(document: NewDocument) -> bytes:
    parts = (document.text, document.title, document.source, str(document.markdown), repr(sorted(document.metadata.items())))
    digest = hashlib.sha256("\0".join(parts).encode())
    if document.occurred_at is not None:
        digest.update(str(microseconds(document.occurred_at)).encode())
    if document.labels:
        digest.update(f"\0labels {' '.join(document.labels)}".encode())
    return digest.digest()
