"""Looking through the records: what is lost, what went back, and what is no reason to be alarmed."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.support.archiving import Archived
from tests.support.backups import NOTES, installed
from tests.support.records import MemoryRecords

from kalends.adapters.embedded.clock import SystemClock
from kalends.backups.record_checking import CheckRecords
from kalends.kit import signatures
from kalends.kit.traffic import Traffic
from kalends.ports.records import Listed
from kalends.wire import inventories, signed
from kalends.wire.inventories import Noted


@dataclass(kw_only=True)
class _Lossy(Archived):
    """An archived log whose records are in memory, where they can be lost."""

    store_of_records: MemoryRecords = field(default_factory=MemoryRecords)

    @property
    def records(self) -> MemoryRecords:
        """Those in memory."""
        return self.store_of_records

    def cut_off(self, *, behind: int) -> None:
        """Lose every write with a later revision, as the broker does that finds a changed byte at its start."""
        kept = {key: record for key, record in self.records._records.items() if record.revision <= behind}
        self.records._records, self.records._revision = kept, behind

    def objects(self, kind: str) -> list[str]:
        """The names of the archive's objects of a kind."""
        return sorted(path.name for path in self.folder.glob(f"{kind}-*"))


@pytest.fixture
async def archived(tmp_path: Path) -> AsyncIterator[_Lossy]:
    """A short log in its archive, two tokens and a document, and one check without a break."""
    async with installed(tmp_path) as place:
        made = _Lossy(place=place)
        await place.fill(NOTES, 3)
        await made.copier.copy()
        for kind, name in (("token", "one"), ("token", "two"), ("document", "plan")):
            await made.records.put(kind, "acme", name, b"first of " + name.encode())
        assert (await made.check()).breaks == []
        yield made


async def test_records_that_only_change_are_no_break(archived: _Lossy) -> None:
    """Written again, deleted and made anew, and new ones; each check keeps one inventory, which names nobody in clear."""
    records = archived.records
    await records.put("token", "acme", "one", b"second")
    await records.delete("token", "acme", "two")
    await records.put("token", "acme", "three", b"new")
    first = await archived.check()
    await records.put("token", "acme", "two", b"made anew", revision=0)
    second = await archived.check()

    assert (first.breaks, second.breaks) == ([], [])
    assert second.text.endswith(f"; {second.records.records} records can be read")
    assert archived.objects("inventory") == ["inventory-0000000002"]
    assert [name.rpartition("-")[0] for name in archived.objects("records")] == ["records-0000000002"]
    for path in archived.folder.iterdir():
        assert not any(word in path.read_bytes() for word in (b"token", b"acme", b"plan", b"second")), path


async def test_a_record_that_cannot_be_read_is_named_and_told_without_its_name(archived: _Lossy) -> None:
    """The check and the archive say which; the status, which others see, only says of what kind; the metric is 0."""
    archived.records.lose("token", "acme", "one")
    verdict = await archived.check()
    copier = archived.copier
    await copier.look()

    assert verdict.breaks == ["the record one of acme, of the kind token, cannot be read"]
    assert (await archived.chain.noted()).told == verdict.text
    (told,) = copier.health()
    assert (told.state, told.detail) == ("down", "1 breaks of the records: 1 of the kind token")
    assert (archived.metrics.log_intact._value.get(), archived.metrics.log_breaks._value.get()) == (0, 1)
    assert archived.objects("inventory") == ["inventory-0000000000"]


async def test_what_matters_most_is_named_first_and_many_are_counted(archived: _Lossy) -> None:
    """What is made anew by itself comes behind what somebody must make; of a hundred lost ones half are named."""
    for number in range(100):
        name = f"n{number:02}"
        await archived.records.put("lease", "a", name, b"new")
        await archived.records.put("token", "b", name, b"new")
        archived.records.lose("lease", "a", name)
        if number < 40:
            archived.records.lose("token", "b", name)
    text = (await archived.check()).text

    assert text.startswith("the record n00 of b, of the kind token, cannot be read; the record n01 of b")
    assert (text.count("of the kind token"), text.count("of the kind lease")) == (40, 10)
    assert text.endswith("; and 90 more")


async def test_it_is_over_once_the_record_was_written_again(archived: _Lossy) -> None:
    """Nobody has to accept anything then."""
    archived.records.lose("document", "acme", "plan")
    assert len((await archived.check()).breaks) == 1
    await archived.records.put("document", "acme", "plan", b"written again")

    assert (await archived.check()).breaks == []
    copier = archived.copier
    await copier.look()
    assert (copier.health()[0].state, archived.metrics.log_intact._value.get()) == ("up", 1)


async def test_a_store_that_went_back_is_found_also_once_it_has_given_the_same_revisions_out_again(archived: _Lossy) -> None:
    """What is gone is named until somebody accepts it; that it went back, by its last revision, and later by those that are others' now."""
    records = archived.records
    whole = await records.head()
    await records.put("token", "acme", "late", b"new")
    assert (await archived.check()).breaks == []
    upto = await records.head()
    archived.cut_off(behind=whole)

    first = (await archived.check()).breaks
    assert first[0] == f"the store of records went back from revision {upto - 1} to {whole}"
    assert "the record late of acme, of the kind token, is gone" in first
    for number in range(5):
        await records.put("token", "acme", f"more-{number}", b"new")
    second = (await archived.check()).breaks
    assert second == [
        f"the store of records has given out revisions again that it had given out before: 1, the first is {whole + 1}",
        "the record late of acme, of the kind token, is gone",
    ]
    assert (await archived.check(accept_lost=True)).breaks == []
    assert (await archived.check()).breaks == []


async def test_a_record_that_is_older_or_says_otherwise_is_named(archived: _Lossy) -> None:
    """By its revisions."""
    records = archived.records
    before = dict(records._records)
    second = await records.put("token", "acme", "one", b"second")
    assert (await archived.check()).breaks == []
    now = dict(records._records)
    key = ("token", "acme", "one")
    records._records[key] = before[key]
    first = before[key].revision
    assert (await archived.check()).breaks == [
        f"the record one of acme, of the kind token, is older than it was: of revision {first}, and not {second}"
    ]

    records._records[key] = now[key]
    other = ("token", "acme", "two")
    records._records[other] = now[other].__class__(
        kind="token", owner="acme", name="two", value=b"not what was written", revision=now[other].revision
    )
    assert (await archived.check()).breaks == [
        f"the record two of acme, of the kind token, says otherwise at the same revision {now[other].revision}"
    ]


async def test_what_is_written_while_they_are_looked_through_is_no_break(archived: _Lossy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before and behind the place where the look is, new and known: neither in that check nor in the next."""
    records = archived.records
    whole = type(records).inventory

    async def amid(self: MemoryRecords) -> AsyncGenerator[Sequence[Listed], None]:
        number = 0
        async for piece in whole(self):
            for owner in ("aaaa", "zzzz"):
                await records.put("lease", owner, "one", b"%d" % number)
                await records.put("lease", owner, f"n{number}", b"new")
            number += 1
            yield piece

    monkeypatch.setattr(type(records), "inventory", amid)
    assert [(await archived.check()).breaks for _ in range(3)] == [[], [], []]


async def test_lost_records_are_given_up_when_somebody_says_so(archived: _Lossy) -> None:
    """What cannot be read is deleted, what went back is taken as it is; what can be read stays."""
    archived.records.lose("token", "acme", "one")
    del archived.records._records["document", "acme", "plan"]
    assert len((await archived.check()).breaks) == 2

    accepted = await archived.check(accept_lost=True)
    assert (accepted.breaks, accepted.records.given_up) == ([], 1)
    assert accepted.text.endswith("; 1 lost records were given up")
    assert (await archived.check()).breaks == []
    assert await archived.records.get("token", "acme", "one") is None
    assert [one.name for one in await archived.records.list("token")] == ["two"]


async def test_what_is_noted_of_the_archive_may_be_what_is_lost(archived: _Lossy) -> None:
    """It is told once, and noted anew: the newest inventory and the links know the rest."""
    (noted,) = await archived.records.list("archive")
    archived.records.lose(noted.kind, noted.owner, noted.name)

    (told,) = (await archived.check()).breaks
    assert told.endswith(" of instance, of the kind archive, cannot be read")
    assert (await archived.chain.noted()).breaks == 1
    assert (await archived.check()).breaks == []


async def test_an_inventory_counts_that_was_kept_by_a_process_that_died_before_it_noted_it(archived: _Lossy) -> None:
    """And a list without a head, which one leaves that died earlier, is taken away with the next."""
    noted = await archived.chain.noted()
    await archived.records.put("token", "acme", "late", b"new")
    upto = await archived.records.head()
    check = CheckRecords(records=archived.records, inventories=archived.inventories, clock=SystemClock(), traffic=Traffic())
    kept = (await check(number=noted.inventory, sha256=noted.inventory_sha256)).kept
    assert kept is not None
    assert kept.head.upto == upto
    await archived.inventories.write(kept.head.number, _nothing(), made_at=kept.head.made_at, upto=upto)
    assert len(archived.objects("records")) == 2
    del archived.records._records["token", "acme", "late"]
    assert (await archived.check()).breaks == ["the record late of acme, of the kind token, is gone"]

    await archived.records.put("token", "acme", "late", b"made again")
    assert (await archived.check()).breaks == []
    assert len(archived.objects("records")) == 1


async def _nothing() -> AsyncIterator[Noted]:
    for none in ():
        yield none


async def test_a_flipped_byte_in_an_inventory_is_found_and_the_object_named(archived: _Lossy) -> None:
    """In the head and in the list; also one that is missing, that is another, or that was taken away whole."""
    for path in [*archived.folder.glob("inventory-*"), *archived.folder.glob("records-*")]:
        whole = path.read_bytes()
        for at in (0, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            assert path.name in (await archived.check()).breaks[0], (path, at)
        path.unlink()
        assert path.name in (await archived.check()).breaks[0]
        path.write_bytes(whole)
    assert (await archived.check()).breaks == []

    (head,) = archived.folder.glob("inventory-*")
    name = inventories.name_of(archived.place.log_id, int(head.name.rpartition("-")[2]))
    head.write_bytes(signed.sign(inventories.read(head.read_bytes(), name), signatures.Signer(bytes(32))))
    assert (await archived.check()).breaks == [f"{name} is not the one that was written"]
    head.unlink()
    assert (await archived.check()).breaks == [f"{name} is not there"]
    assert (await archived.check(accept_lost=True)).breaks == []
    assert len(archived.objects("records")) == 1
