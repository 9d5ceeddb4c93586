"""Documents over a real broker and a real timeline: chunks that take each other's place, and what a crash leaves."""

import asyncio

import pytest
from tests.support.engines import NOON, SCOPE, Ledger, ledger
from tests.support.waiting import until

from kalends.domain.credentials import RIGHTS, Principal
from kalends.domain.errors import Conflict, Invalid, KalendsError, NotFound
from kalends.domain.events import event_key
from kalends.domain.positions import visibility_token
from kalends.edge.operations import Call
from kalends.ingest.documents import NewDocument
from kalends.ingest.routes import DocumentRoutes
from kalends.ingest.schemas import DocumentIn
from kalends.kit import failpoints
from kalends.settings import IngestSettings


@pytest.fixture
async def books(tmp_path):
    """A ledger of the test's own, with small chunks."""
    async with ledger(tmp_path, chunk_tokens=24) as made:
        yield made


def call(raw: bytes = b"", *, body=None, path=None, **headers: str) -> Call:
    """A request of a client that may do everything."""
    principal = Principal(token_id="t", tenant=SCOPE.tenant, memories=None, rights=frozenset(RIGHTS), labels=None)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Call(
        principal=principal, scope=SCOPE, path=path or {}, query=None, body=body, raw=raw, headers=named, request_id="r", deadline=1e9
    )


def document(text: str, **changes) -> NewDocument:
    """A document to keep."""
    plain = {"document_id": "d", "title": "", "source": "", "markdown": True, "occurred_at": None, "metadata": {}}
    return NewDocument(text=text, **{**plain, **changes})


async def live_chunks(books: Ledger, document_id: str = "d") -> int:
    """How many chunks of a document the timeline holds."""
    await books.followed()
    found = await books.timeline.session(SCOPE, f"document:{document_id}")
    return found.events if found else 0


ONE = "# Food\n\nWe eat fish on Fridays and rice on Mondays.\n\n# Home\n\nThe house has a red door and nine windows."
TWO = "# Food\n\nWe eat nothing at all.\n\n# Home\n\nThe house has a red door and nine windows."


async def test_a_document_becomes_chunks_and_the_same_again_changes_nothing(books):
    """Not a message is written for it."""
    kept = await books.keep.keep(SCOPE, document(ONE))
    head = await books.head()
    again = await books.keep.keep(SCOPE, document(ONE))

    assert (kept.status, again.status, again.positions) == ("new", "unchanged", ())
    assert await live_chunks(books) == len(kept.record.chunk_ids) == 2
    assert await books.head() == head


@pytest.mark.parametrize("changes", [{"title": "T"}, {"source": "S"}, {"metadata": {"a": 1}}, {"markdown": False}, {"occurred_at": NOON}])
async def test_whatever_changes_makes_it_another_document(books, changes):
    """Chunks carry all of it."""
    await books.keep.keep(SCOPE, document(ONE))

    assert (await books.keep.keep(SCOPE, document(ONE, **changes))).status == "replaced"


async def test_changed_content_takes_the_place_of_the_old(books):
    """And earlier content that comes back is kept anew, not refused as gone."""
    first = await books.keep.keep(SCOPE, document(ONE))
    second = await books.keep.keep(SCOPE, document(TWO))
    third = await books.keep.keep(SCOPE, document(ONE))

    assert [kept.status for kept in (first, second, third)] == ["new", "replaced", "replaced"]
    assert await live_chunks(books) == 2
    keys = [event_key(SCOPE, one) for kept in (first, second, third) for one in kept.record.chunk_ids]
    known = await books.timeline.lookup(SCOPE, keys)
    assert [known[key].retracted for key in keys] == [True] * 4 + [False] * 2


@pytest.mark.parametrize("before", [None, TWO], ids=["first", "replacing"])
@pytest.mark.parametrize("point", ["documents.after-record", "documents.after-chunks", "ingest.before-append", "ingest.after-append"])
async def test_a_write_that_is_cut_off_is_finished_by_the_next(books, point, before):
    """With the same chunks, and nothing of before is left."""
    if before:
        await books.keep.keep(SCOPE, document(before))
    failpoints.arm({point: "error"})
    with pytest.raises(failpoints.FailpointError):
        await books.keep.keep(SCOPE, document(ONE))

    kept = await books.keep.keep(SCOPE, document(ONE))

    assert (kept.record.pending, kept.record.stale) == (False, ())
    assert await live_chunks(books) == len(kept.record.chunk_ids) == 2
    assert (await books.keep.keep(SCOPE, document(ONE))).status == "unchanged"


@pytest.mark.parametrize("point", ["documents.after-record", "documents.after-chunks"])
async def test_other_content_after_a_write_that_was_cut_off_leaves_nothing_of_it(books, point):
    """Its chunks are taken back like any others."""
    failpoints.arm({point: "error"})
    with pytest.raises(failpoints.FailpointError):
        await books.keep.keep(SCOPE, document(ONE))

    await books.keep.keep(SCOPE, document("just this"))

    assert await live_chunks(books) == 1


async def test_a_write_that_was_overtaken_leaves_no_chunk_behind(books):
    """Its chunks come after the other write has taken them back; nobody else would ever do it again."""
    gate = books.log.hold("append")
    slow = asyncio.create_task(books.keep.keep(SCOPE, document(ONE)))
    await until(lambda: books.log.waiting["append"] == 1)
    books.log.let_pass()
    winner = await books.keep.keep(SCOPE, document("just this"))
    gate.set()

    with pytest.raises(Conflict):
        await slow

    assert await live_chunks(books) == 1
    assert (await books.documents.find(SCOPE, "d")).chunk_ids == winner.record.chunk_ids


async def test_two_who_keep_the_same_content_at_once_keep_it_once(books):
    """Or the slower one is told to try again; never twice the chunks."""
    answers = await asyncio.gather(*(books.keep.keep(SCOPE, document(ONE)) for _ in range(4)), return_exceptions=True)

    assert all(isinstance(answer, Conflict) or answer.record.chunk_ids for answer in answers)
    assert any(not isinstance(answer, KalendsError) for answer in answers)
    assert (await books.keep.keep(SCOPE, document(ONE))).status in {"unchanged", "replaced"}
    assert await live_chunks(books) == 2


async def test_a_removed_document_is_gone_and_can_be_kept_again(books):
    """Removing what is not there is not found."""
    await books.keep.keep(SCOPE, document(ONE))
    removed = await books.keep.remove(SCOPE, "d")

    assert removed.positions
    assert await live_chunks(books) == 0
    with pytest.raises(NotFound):
        await books.keep.remove(SCOPE, "d")
    assert (await books.keep.keep(SCOPE, document(ONE))).status == "new"
    assert await live_chunks(books) == 2


async def test_a_chunk_knows_its_headings_and_its_document(books):
    """And who it is from: the title."""
    kept = await books.keep.keep(SCOPE, document(ONE, title="Handbook", metadata={"a": 1}))
    messages = await books.bus.log.read(kept.positions)
    chunks = [opened.event for opened in await books.reader.open(messages)]

    assert [chunk.facets.metadata for chunk in chunks] == [{"a": 1, "headings": "Food"}, {"a": 1, "headings": "Home"}]
    assert {(chunk.facets.actor, chunk.facets.kind, chunk.document_id) for chunk in chunks} == {("Handbook", "chunk", "d")}


async def test_the_route_of_documents_says_what_a_write_did(books):
    """And refuses what breaks a rule with its place."""
    routes = DocumentRoutes(keep=books.keep, progress=books.progress, settings=IngestSettings())

    kept = await routes.put(call(body=DocumentIn(document_id="d", text=ONE), prefer="wait=10"))
    assert (kept.status, kept.body.status, kept.body.chunks) == (200, "new", 2)
    with pytest.raises(Invalid) as caught:
        await routes.put(call(body=DocumentIn(document_id="d", text="a\0", title="\ud800")))
    assert [fault.pointer for fault in caught.value.faults] == ["/text", "/title"]
    removed = await routes.remove(call(path={"document_id": "d"}))
    assert (removed.body.chunks, removed.body.visibility) == (2, visibility_token(await books.bus.log.heads()))
