"""Document records: which chunks a document has now, with its title sealed.

Belongs here: the record's mapping and its store. Not here: the chunks themselves (they are events). A newcomer would get wrong: a
record is written *before* the chunks it names (``pending``), so that a crash in between is finished by the next write of the document.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from kalends.domain.errors import Damaged
from kalends.domain.events import EventId
from kalends.domain.labels import EVERYTHING, Clearance
from kalends.domain.scope import Scope
from kalends.kit import aead
from kalends.ports.records import Record, Records
from kalends.wire.gen.kalends.v1 import records_pb2 as pb
from kalends.wire.vault import Vault, key_reference

KIND = "document"


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentRecord:
    """A document as it is kept.

    ``stale`` are chunks of earlier content that are still to be taken back; ``stored`` is the record's revision.
    """

    document_id: str
    title: str
    source: str
    content_hash: bytes
    chunk_ids: tuple[EventId, ...]
    stale: tuple[EventId, ...]
    updated_us: int
    number: int
    pending: bool
    stored: int = 0
    labels: tuple[str, ...] = ()
    """Who may see it and its chunks."""


def session_of(document_id: str) -> str:
    """The session that a document's chunks belong to."""
    return f"document:{document_id}"


class DocumentStore:
    """Documents of a scope."""

    def __init__(self, *, records: Records, vault: Vault) -> None:
        self._records = records
        self._vault = vault

    async def find(self, scope: Scope, document_id: str) -> DocumentRecord | None:
        """The document, or None."""
        record = await self._records.get(KIND, scope.key, document_id)
        return None if record is None else await self._decode(scope, record)

    async def of_scope(self, scope: Scope, *, after: str | None, limit: int, clearance: Clearance = EVERYTHING) -> Sequence[DocumentRecord]:
        """Up to *limit* documents by id, after *after*, of those that *clearance* lets see."""
        found: list[DocumentRecord] = []
        for record in await self._records.list(KIND, scope.key):
            if len(found) == limit:
                break
            if after is None or record.name > after:
                document = await self._decode(scope, record)
                if clearance.sees(document.labels):
                    found.append(document)
        return found

    async def put(self, scope: Scope, document: DocumentRecord) -> int:
        """Store *document* if nobody changed it since it was read; returns the new revision.

        Raises:
            Conflict: somebody did.
        """
        reference = key_reference(scope, session_of(document.document_id))
        box = (await self._vault.boxes_for_writing(scope, [reference]))[reference]
        title = pb.DocumentTitle(title=document.title, source=document.source, labels=document.labels)
        nonce, sealed = box.seal(title.SerializeToString(), context=_context(scope, document.document_id))
        value = pb.Document(
            document_id=document.document_id,
            content_hash=document.content_hash,
            chunk_ids=document.chunk_ids,
            stale_chunk_ids=document.stale,
            updated_us=document.updated_us,
            key_ref=bytes.fromhex(reference),
            nonce=nonce,
            sealed=sealed,
            revision_number=document.number,
            pending=document.pending,
        )
        return await self._records.put(KIND, scope.key, document.document_id, value.SerializeToString(), revision=document.stored)

    async def delete(self, scope: Scope, document_id: str) -> None:
        """Forget the record."""
        await self._records.delete(KIND, scope.key, document_id)

    async def _decode(self, scope: Scope, record: Record) -> DocumentRecord:
        reference = reference_of(record.value)
        box = (await self._vault.boxes(scope, [reference])).get(reference)
        return decode(scope, record.value, box, stored=record.revision)


def reference_of(value: bytes) -> str:
    """Which key opens the record of a document.

    Raises:
        Damaged: it cannot be read.
    """
    return _parsed(value).key_ref.hex()


def decode(scope: Scope, value: bytes, box: aead.Box | None, *, stored: int = 0) -> DocumentRecord:
    """A document's record; without its key there is no title.

    Raises:
        Damaged: it cannot be read.
    """
    found = _parsed(value)
    title = pb.DocumentTitle()
    try:
        if box is not None:
            title = pb.DocumentTitle.FromString(box.open(found.nonce, found.sealed, context=_context(scope, found.document_id)))
    except (DecodeError, aead.TamperedError) as error:
        raise Damaged("a document's record cannot be read") from error
    return DocumentRecord(
        document_id=found.document_id,
        title=title.title,
        source=title.source,
        content_hash=found.content_hash,
        chunk_ids=tuple(EventId(i) for i in found.chunk_ids),
        stale=tuple(EventId(i) for i in found.stale_chunk_ids),
        updated_us=found.updated_us,
        number=found.revision_number,
        pending=found.pending,
        stored=stored,
        labels=tuple(title.labels),
    )


def _parsed(value: bytes) -> pb.Document:
    try:
        return pb.Document.FromString(value)
    except DecodeError as error:
        raise Damaged("a document's record cannot be read") from error


def _context(scope: Scope, document_id: str) -> bytes:
    return f"document\0{scope.key}\0{document_id}".encode()
