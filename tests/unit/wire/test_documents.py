"""Document records: what is kept of a document beside its chunks."""

from dataclasses import replace

import pytest
from tests.support.keys import MemoryKeys, vault_over
from tests.support.records import MemoryRecords

from kalends.domain.errors import Conflict, Damaged
from kalends.domain.events import EventId
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.wire.documents import KIND, DocumentRecord, DocumentStore, session_of
from kalends.wire.vault import key_reference

SCOPE = Scope(Tenant("acme"), MemoryName("notes"))
OTHER = Scope(Tenant("acme"), MemoryName("diary"))
DOCUMENT = DocumentRecord(
    document_id="hand/book 😀",
    title="How Ada works",
    source="file of Ada",
    content_hash=b"h" * 32,
    chunk_ids=(EventId("a"), EventId("b")),
    stale=(EventId("c"),),
    updated_us=1_700,
    number=3,
    pending=True,
)


def store(keys: MemoryKeys, records: MemoryRecords) -> DocumentStore:
    """A process's own store over common ports."""
    return DocumentStore(records=records, vault=vault_over(keys))


async def test_a_document_comes_back_as_it_was_to_every_process():
    """With the revision that its next writing needs."""
    keys, records = MemoryKeys(), MemoryRecords()
    revision = await store(keys, records).put(SCOPE, DOCUMENT)

    assert await store(keys, records).find(SCOPE, DOCUMENT.document_id) == replace(DOCUMENT, stored=revision)
    assert await store(keys, records).find(OTHER, DOCUMENT.document_id) is None
    assert await store(keys, records).find(SCOPE, "other") is None


async def test_title_and_source_are_sealed():
    """They are a person's words."""
    keys, records = MemoryKeys(), MemoryRecords()
    await store(keys, records).put(SCOPE, DOCUMENT)

    (record,) = await records.list(KIND)
    assert b"Ada" not in record.value


async def test_a_document_that_somebody_changed_meanwhile_is_not_overwritten():
    """The second of two writers starts over."""
    keys, records = MemoryKeys(), MemoryRecords()
    documents = store(keys, records)
    revision = await documents.put(SCOPE, DOCUMENT)
    await documents.put(SCOPE, replace(DOCUMENT, stored=revision, title="first"))

    with pytest.raises(Conflict):
        await documents.put(SCOPE, replace(DOCUMENT, stored=revision, title="second"))
    with pytest.raises(Conflict):
        await documents.put(SCOPE, DOCUMENT)


async def test_documents_are_listed_by_id_and_page_by_page():
    """Those of one memory only."""
    keys, records = MemoryKeys(), MemoryRecords()
    documents = store(keys, records)
    for name in ("c", "a", "b"):
        await documents.put(SCOPE, replace(DOCUMENT, document_id=name))
    await documents.put(OTHER, replace(DOCUMENT, document_id="z"))

    assert [one.document_id for one in await documents.of_scope(SCOPE, after=None, limit=2)] == ["a", "b"]
    assert [one.document_id for one in await documents.of_scope(SCOPE, after="b", limit=2)] == ["c"]


async def test_a_deleted_document_can_be_kept_anew():
    """As if it had never been there."""
    keys, records = MemoryKeys(), MemoryRecords()
    documents = store(keys, records)
    await documents.put(SCOPE, DOCUMENT)
    await documents.delete(SCOPE, DOCUMENT.document_id)

    assert await documents.find(SCOPE, DOCUMENT.document_id) is None
    assert await documents.put(SCOPE, DOCUMENT)


async def test_a_document_whose_key_was_destroyed_has_no_title_but_can_be_removed():
    """Its ids are no secret."""
    keys, records = MemoryKeys(), MemoryRecords()
    await store(keys, records).put(SCOPE, DOCUMENT)
    await keys.destroy(SCOPE, [key_reference(SCOPE, session_of(DOCUMENT.document_id))])

    found = await store(keys, records).find(SCOPE, DOCUMENT.document_id)

    assert (found.title, found.source, found.chunk_ids) == ("", "", DOCUMENT.chunk_ids)


@pytest.mark.parametrize("value", [b"\xff\xff", b"moved"], ids=["garbage", "of another document"])
async def test_a_record_that_is_not_what_was_written_is_damaged(value):
    """Also one that was moved to another name."""
    keys, records = MemoryKeys(), MemoryRecords()
    documents = store(keys, records)
    await documents.put(SCOPE, DOCUMENT)
    (record,) = await records.list(KIND)
    changed = record.value.replace(DOCUMENT.document_id.encode(), b"x" * len(DOCUMENT.document_id.encode()))
    await records.put(KIND, SCOPE.key, DOCUMENT.document_id, changed if value == b"moved" else value)

    with pytest.raises(Damaged):
        await documents.find(SCOPE, DOCUMENT.document_id)
