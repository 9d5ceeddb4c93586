"""The key check over a real key store: what is missing is told, what is not needed is counted, and nothing is changed."""

from collections.abc import AsyncIterator, Sequence

import pytest
from tests.support.engines import NOON, OTHER, SCOPE, Ledger, event, ledger

from kalends.domain.errors import Unavailable
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.ingest import checking
from kalends.ingest.checking import CheckKeys, KeyReport
from kalends.ingest.documents import NewDocument
from kalends.kit.traffic import Traffic
from kalends.wire.vault import key_reference

DOCUMENT = NewDocument(document_id="d", text="hello", title="", source="", markdown=True, occurred_at=NOON, metadata={})


@pytest.fixture
async def books(tmp_path):
    """Seven sessions in two memories, a document among them that was removed."""
    async with ledger(tmp_path) as made:
        await made.memory(OTHER)
        await made.record(*(event(number, session_id=f"s{number}") for number in range(4)))
        await made.record(*(event(number, session_id=f"s{number}") for number in range(2)), scope=OTHER)
        await made.keep.keep(SCOPE, DOCUMENT)
        await made.keep.remove(SCOPE, "d")
        await made.followed()
        yield made


def task(books: Ledger, **changes) -> CheckKeys:
    """The task as it is wired in a process."""
    parts = {
        "keys": books.bus.keys,
        "vault": books.vault,
        "timeline": books.timeline,
        "memories": books.memories,
        "traffic": Traffic(),
        "clock": books.clock,
    }
    return CheckKeys(**{**parts, **changes})


async def test_a_whole_key_store_is_said_to_be_whole(books, monkeypatch):
    """Whatever the pieces in which it is read; keys of a removed document are needed, for its messages are in the log."""
    monkeypatch.setattr(checking, "PIECE", 2)
    told = []
    check = task(books, observe=lambda finding, count: told.append((finding, count)))
    assert check.health() == []

    report = await check()

    assert report == KeyReport(memories=2, needed=7, stored=7)
    assert report.is_whole
    # what was told of an earlier trouble would else stay so
    assert told == [("missing", 0), ("unusable", 0)]
    assert [(one.name, one.state, one.required) for one in check.health()] == [("keys", "up", False)]
    assert report.text == "7 keys needed by 2 memories: 0 missing, 0 unusable; 7 stored, 0 unused, 0 of no memory"


async def test_a_missing_key_is_told_and_nothing_is_raised(books):
    """It may be lawful; the health says so until a check finds everything."""
    told = []
    check = task(books, observe=lambda finding, count: told.append((finding, count)))
    await books.bus.keys.destroy(SCOPE, [key_reference(SCOPE, "s1"), key_reference(SCOPE, "s3")])

    report = await check(dry_run=True)

    assert (report.needed, report.missing, report.stored, report.unused, report.is_whole) == (7, 2, 5, 0, False)
    (health,) = check.health()
    assert (health.state, health.required) == ("degraded", False)
    assert "2 missing" in health.detail
    assert told == [("missing", 2), ("unusable", 0)]


async def test_a_key_that_does_not_unwrap_is_told(books):
    """It was damaged, or wrapped under another key-encryption key."""
    (wrapped,) = (await books.bus.keys.get(SCOPE, [key_reference(SCOPE, "s1")])).values()
    await books.bus.keys.destroy(SCOPE, [key_reference(SCOPE, "s1")])
    await books.bus.keys.create(SCOPE, {key_reference(SCOPE, "s1"): bytes(reversed(wrapped))})

    report = await task(books)()

    assert (report.missing, report.unusable, report.is_whole) == (0, 1, False)


async def test_keys_that_nothing_needs_are_counted_and_kept(books):
    """One made for a write that was refused, and one of a memory that there is not; both are normal."""
    nobody = Scope(Tenant("globex"), MemoryName("gone"))
    await books.vault.boxes_for_writing(SCOPE, [key_reference(SCOPE, "refused")])
    await books.vault.boxes_for_writing(nobody, [key_reference(nobody, "s")])

    report = await task(books)()

    assert (report.unused, report.foreign, report.is_whole) == (1, 1, True)
    assert await books.bus.keys.count() == 9


async def test_keys_that_are_needed_beside_those_of_sessions_can_be_named(books):
    """Those of the calendar's nodes, for example."""
    await books.vault.boxes_for_writing(SCOPE, [key_reference(SCOPE, "node")])

    async def nodes(scope: Scope) -> AsyncIterator[Sequence[str]]:
        if scope == SCOPE:
            yield [key_reference(SCOPE, "node"), key_reference(SCOPE, "lost")]

    report = await task(books, others=[nodes])()

    assert (report.needed, report.missing, report.unused) == (9, 1, 0)


async def test_a_key_store_that_is_away_is_an_error_and_no_finding(books):
    """Nobody must think that keys are gone."""
    books.timeline.leave("session_ids")
    check = task(books)

    with pytest.raises(Unavailable):
        await check()
    assert check.health() == []
