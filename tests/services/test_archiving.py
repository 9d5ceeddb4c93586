"""The archive of the log over a real broker and a real folder: copying, and finding what is not what was written."""

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from string import ascii_letters

import pytest
from tests.support.archiving import Archived
from tests.support.backups import DIARY, ELSEWHERE, NOTES, installed, wish

from kalends.adapters.embedded.archive import FolderArchive
from kalends.adapters.embedded.clock import SystemClock
from kalends.backups import archiving
from kalends.domain.errors import KalendsError
from kalends.kit import failpoints, signatures
from kalends.settings import ArchiveSettings
from kalends.wire import links, signed


@pytest.fixture
async def archived(tmp_path: Path) -> AsyncIterator[Archived]:
    """With three links: of two memories, of one that wrote again, and of a third."""
    async with installed(tmp_path) as place:
        made = Archived(place=place)
        copier = made.copier
        await place.fill(NOTES, 12)
        await place.fill(DIARY, 5)
        assert await copier.copy() == 1
        await place.fill(NOTES, 8, first=12)
        assert await copier.copy() == 1
        await place.fill(ELSEWHERE, 3)
        assert await copier.copy() == 1
        yield made


async def test_every_message_is_in_one_link_and_each_link_names_the_one_before(archived: Archived) -> None:
    """Where nothing is new nothing is added; and no name and no text stands in any file."""
    assert await archived.copier.copy() == 0
    verdict = await archived.check()

    assert (verdict.flaws, verdict.links, verdict.messages) == ([], 3, 28)
    first, second, third = [await archived.chain.link(links.name_of(archived.place.log_id, number)) for number in range(3)]
    assert [one.link.previous_sha256 for one in (first, second, third)] == [None, first.sha256, second.sha256]
    assert dict(third.link.upto) == dict(await archived.place.bus.log.heads())
    for path in archived.folder.iterdir():
        assert not any(word in path.read_bytes() for word in (b"acme", b"notes", b"says")), path


async def test_a_segment_ends_at_its_size(archived: Archived, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than fits in one is in as many as are needed."""
    monkeypatch.setattr(archiving, "_BATCH", 2)
    copier = archived.copier
    copier._settings = ArchiveSettings(segment_mib=1)
    for number in range(60, 66):
        await archived.place.said(NOTES, number, session=f"s{number}", words="".join(random.choices(ascii_letters, k=300_000)))

    assert await copier.copy() == 2
    assert (await archived.check()).flaws == []


async def test_a_flipped_byte_in_any_object_is_found_and_the_object_named(archived: Archived) -> None:
    """In a link and in a segment, at the beginning, in the middle and at the end; and one that is missing, or was cut off."""
    for path in sorted(archived.folder.iterdir()):
        whole = path.read_bytes()
        for at in (0, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            flaws = (await archived.check()).flaws
            assert path.name in flaws[0], (path, at, flaws)
            if path.name.startswith("segment"):
                first, last = (int(word.rstrip(".")) for word in flaws[0].split() if word.rstrip(".").isdigit())
                assert first <= at <= last, (path, at, flaws)
        path.write_bytes(whole[:-1])
        assert path.name in (await archived.check()).flaws[0]
        path.unlink()
        assert path.name in (await archived.check()).flaws[0]
        path.write_bytes(whole)
    assert (await archived.check()).flaws == []


async def test_a_link_that_somebody_wrote_anew_and_an_end_that_was_cut_off_are_found(archived: Archived) -> None:
    """What is noted of the archive apart from it knows how far it came, and with what digest."""
    name = links.name_of(archived.place.log_id, 2)
    path = archived.place.root / name
    whole = path.read_bytes()
    path.write_bytes(signed.sign(links.read(whole, name), signatures.Signer(bytes(32))))
    assert (await archived.check()).flaws == [f"{name} is not the one that was written"]

    segment = archived.place.root / links.read(whole, name).segment
    path.unlink()
    segment.unlink()
    assert (await archived.check()).flaws == [f"{name} is not there"]


async def test_what_the_log_lost_is_found_and_told_by_health_and_metrics(archived: Archived) -> None:
    """A message that is gone and that no erasure explains; what nothing was erased of is no hole either."""
    place = archived.place
    (lost,) = await archived.places_of([await place.said(NOTES, 50)])
    await archived.copier.copy()
    await place.bus.log.erase([lost])
    gone = await archived.places_of([await place.said(NOTES, 51)])
    await place.bus.log.erase(gone)
    await archived.copier.copy()

    flaws = (await archived.check()).flaws
    assert flaws[0] == f"the log has lost the message {lost.sequence} of {lost.stream}, which link 3 of its archive has"
    assert f"the log has nothing from {gone[0].sequence} to {gone[0].sequence} of {gone[0].stream}" in flaws[1]
    copier = archived.copier
    await copier.look()
    (told,) = copier.health()
    assert (told.name, told.state) == ("archive", "down")
    assert (archived.metrics.log_intact._value.get(), archived.metrics.log_breaks._value.get()) == (0, 2)


async def test_what_the_log_says_otherwise_is_found(archived: Archived, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message whose bytes are not those that were copied."""
    source = archived.place.bus.log
    read = type(source).read

    async def other(self, positions):
        found = await read(self, positions)
        return [one and replace(one, body=one.body[:-1] + b"!") if one and one.position.sequence == 3 else one for one in found]

    monkeypatch.setattr(type(source), "read", other)
    (flaw,) = (await archived.check()).flaws

    assert "the message 3 of EVENTS_0 in the log is not what log/" in flaw


async def test_what_was_erased_leaves_the_archive_and_is_no_break(archived: Archived) -> None:
    """Its segment is written anew without it by an amendment; the links stay what they were, and a second check changes nothing."""
    place = archived.place
    ids = [await place.said(NOTES, number, session="s0") for number in range(60, 64)]
    await archived.copier.copy()
    where = await archived.places_of(ids[:2])
    await place.erase(NOTES, ids[:2])
    before = {path.name: path.read_bytes() for path in archived.folder.glob("link-*")}
    await place.bus.log.erase(where)

    first, second = await archived.check(), await archived.check()
    assert (first.flaws, first.erased) == ([], 2)
    assert (second.flaws, second.erased) == ([], 0)
    assert {path.name: path.read_bytes() for path in archived.folder.glob("link-*")} == before
    assert len(list(archived.folder.glob("amended-*"))) == 1
    assert len(list(archived.folder.glob("segment-*"))) == len(before)
    newest = await archived.chain.link(links.name_of(place.log_id, 3, amends=1))
    left = [one.sequence async for items in archived.chain.messages(newest.link) for one in items]
    assert not {one.sequence for one in where} & set(left)
    await archived.copier.copy()
    assert (await archived.check()).flaws == []
    await archived.copier.look()
    assert archived.metrics.log_intact._value.get() == 1


async def test_what_the_log_lost_and_a_restore_in_place_brought_back_is_whole_again(archived: Archived) -> None:
    """It has another place in the log since; without a restore it stays a break."""
    place = archived.place
    event_id = await place.said(NOTES, 70)
    made = await place.back_up()
    await archived.copier.copy()
    await place.bus.log.erase(await archived.places_of([event_id]))
    assert len((await archived.check()).flaws) == len((await archived.check()).flaws) == 1

    await place.restore(wish(made, replace=True))
    await archived.copier.copy()
    first, second = await archived.check(), await archived.check()

    assert (first.flaws, first.erased, second.flaws, second.erased) == ([], 1, [], 0)
    assert len(await archived.places_of([event_id])) == 1


async def test_in_another_place_another_chain_begins(archived: Archived) -> None:
    """What was noted of the first is not asked of the second."""
    archived.place.archive = FolderArchive(archived.place.root / "second")
    archived.store = "file:///second"
    assert await archived.copier.copy() == 1
    verdict = await archived.check()
    await archived.place.archive.close()

    assert (verdict.flaws, verdict.links, verdict.messages) == ([], 1, 28)


async def test_who_writes_a_link_first_has_written_it(archived: Archived) -> None:
    """Another that copies at once adds nothing, leaves nothing, and goes on behind it."""
    one, other = archived.copier, archived.copier
    await one.copy()
    await other.copy()
    await archived.place.fill(DIARY, 4, first=200)
    assert await one.copy() == 1
    assert await other.copy() == 0
    await archived.place.fill(DIARY, 4, first=300)
    assert await other.copy() == 1

    assert len(list(archived.folder.glob("segment-*"))) == 5
    assert (await archived.check()).flaws == []


async def test_what_a_killed_process_left_is_cleared_and_the_chain_goes_on(archived: Archived) -> None:
    """A segment without a link is none."""
    await archived.place.fill(DIARY, 4, first=200)
    failpoints.arm({"archive.before-link": "error"})
    with pytest.raises(failpoints.FailpointError):
        await archived.copier.copy()
    failpoints.arm({})
    assert len(list(archived.folder.glob("segment-*"))) == 4

    assert await archived.copier.copy() == 1
    assert (await archived.check()).flaws == []
    assert len(list(archived.folder.glob("segment-*"))) == 4


async def test_an_archive_that_cannot_be_written_is_told_and_goes_on(archived: Archived, monkeypatch: pytest.MonkeyPatch) -> None:
    """Degraded, not down: nothing is lost, only not copied yet."""
    copier = archived.copier
    waited = 0

    async def sleep(_clock: SystemClock, _seconds: float) -> None:
        nonlocal waited
        waited += 1
        (told,) = copier.health()
        assert told.state == ("degraded" if waited == 1 else "up")
        if waited == 2:
            raise KalendsError("enough")
        (archived.place.root / "log").unlink()
        (archived.place.root / "log.away").rename(archived.place.root / "log")

    (archived.place.root / "log").rename(archived.place.root / "log.away")
    (archived.place.root / "log").write_text("no folder", encoding="utf-8")
    monkeypatch.setattr(SystemClock, "sleep", sleep)
    await archived.place.fill(DIARY, 4, first=200)
    with pytest.raises(KalendsError, match="enough"):
        await copier.run()

    assert (await archived.check()).flaws == []
