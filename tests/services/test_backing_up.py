"""Backups over a real broker and a real folder: taking and checking them, and the ends of their time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.support.backups import DIARY, ELSEWHERE, EVERYTHING, NOTES, OF_NOTES, Place, installed, wish
from tests.support.waiting import until

from kalends.adapters.embedded.archive import FolderArchive
from kalends.adapters.embedded.clock import SystemClock
from kalends.backups import taking
from kalends.backups.notes import ErasureNotes
from kalends.backups.running import Backups, Verifications
from kalends.domain.backups import Selection
from kalends.domain.errors import Conflict, Damaged, Invalid, KalendsError, NotFound
from kalends.domain.events import EventId, microseconds, moment, new_ulid
from kalends.domain.scope import MemoryName, Scope
from kalends.kit import failpoints, signatures
from kalends.ports.log import Draft
from kalends.settings import BackupSettings
from kalends.wire import manifests, signed
from kalends.wire.leases import Lease
from kalends.wire.operations import OperationStore


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    """With nothing in it."""
    async with installed(tmp_path) as made:
        yield made


async def test_a_backup_of_everything_says_what_it_holds(place: Place) -> None:
    """By counts and places; names stand in the sealed part only."""
    await place.fill(NOTES, 12)
    await place.fill(ELSEWHERE, 3)

    made = await place.back_up()

    assert made.counts["events"] == 15
    assert made.counts["memories"] == 2
    assert made.counts["keys"] == 4
    assert made.streams["EVENTS_0"] == (0, 15)
    assert [one.kind for one in made.objects] == ["segment", "records", "keys", "ledger", "audit"]
    stored = (place.root / "backups" / made.backup_id / "manifest").read_bytes()
    assert b"acme" not in stored
    assert manifests.read(stored) == made
    (shelved,) = (await place.catalogue.shelf()).backups.values()
    assert [(part.tenant, part.memory, part.events) for part in shelved.contents.parts] == [("acme", "notes", 12), ("other", "notes", 3)]


async def test_no_text_and_no_name_stands_in_any_file(place: Place) -> None:
    """What was sealed stays sealed, and is sealed once more."""
    await place.fill(NOTES, 12)
    await place.back_up()

    for path in place.root.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert b"says" not in content, path
            assert b"notes" not in content, path


async def test_what_is_written_meanwhile_is_the_next_ones(place: Place, monkeypatch) -> None:
    """A backup ends where the log ended when it began; one that builds on it has the rest, and nothing twice."""
    await place.fill(NOTES, 10)
    monkeypatch.setattr(taking, "SEGMENT_BYTES", 500)
    written: list[EventId] = []

    class Busy(FolderArchive):
        async def put(self, name, pieces):
            if "segment" in name:
                written.append(await place.said(NOTES, 100 + len(written), session="meanwhile"))
            return await super().put(name, pieces)

    place.archive = Busy(place.root)
    first = await place.back_up(OF_NOTES)
    second = await place.back_up(OF_NOTES, previous=first.backup_id)
    await place.archive.close()

    assert first.counts["events"] == 10
    assert len(first.of_kind("segment")) > 1
    # the second wrote one more for each of its own segments, behind its end
    assert 0 < second.counts["events"] < len(written)
    assert second.previous_sha256 == (await place.catalogue.shelf()).backups[first.backup_id].digest
    await place.restore(wish(second))
    assert len(await place.events(Scope(NOTES.tenant, MemoryName("copy")))) == 10 + second.counts["events"]


async def test_one_that_was_cut_off_is_made_from_nothing(place: Place) -> None:
    """Until its manifest is there it is none; the same id again clears away what was left, and a finished one stays as it is."""
    await place.fill(NOTES, 10)
    for name in ("backup.after-segment", "backup.after-messages", "backup.before-manifest"):
        failpoints.arm({name: "error"})
        with pytest.raises(failpoints.FailpointError):
            await place.back_up(backup_id="01CUT")
        assert (await place.catalogue.shelf()).backups == {}
    made = await place.back_up(backup_id="01CUT")

    assert await place.back_up(backup_id="01CUT") == made
    assert (await place.verify("01CUT", deep=True)).flaws == []


async def test_what_was_left_by_one_that_never_ended_is_cleared_away(place: Place) -> None:
    """Unless it is under way."""
    await place.fill(NOTES, 5)
    failpoints.arm({"backup.before-manifest": "error"})
    with pytest.raises(failpoints.FailpointError):
        await place.back_up(backup_id="01CUT")

    await place.catalogue.clear(now=datetime.now(UTC), keep=0, under_way=["01CUT"])
    assert await place.archive.list("backups/")
    await place.catalogue.clear(now=datetime.now(UTC), keep=0, under_way=[])
    assert await place.archive.list("backups/") == []


async def test_nothing_builds_on_a_backup_of_something_else(place: Place) -> None:
    """Nor on one that is not there, nor on one of another log."""
    await place.fill(NOTES, 5)
    await place.fill(DIARY, 5)
    notes = await place.back_up(OF_NOTES)

    with pytest.raises(Invalid, match="something else"):
        await place.back_up(EVERYTHING, previous=notes.backup_id)
    with pytest.raises(NotFound):
        await place.back_up(OF_NOTES, previous="01NONE")
    with pytest.raises(NotFound):
        await place.back_up(Selection(kind="memory", tenant="acme", memory="nothing"))
    place.log_id = "00" * 16
    with pytest.raises(Invalid, match="another log"):
        await place.back_up(OF_NOTES, previous=notes.backup_id)


async def test_a_flipped_byte_anywhere_is_found_and_its_object_named(place: Place) -> None:
    """At the beginning, in the middle and at the end of every object, the manifest included; and a file that is missing or too long."""
    await place.fill(NOTES, 30)
    made = await place.back_up()
    assert (await place.verify(made.backup_id)).flaws == []

    for path in sorted(place.root.rglob("*")):
        if not path.is_file():
            continue
        whole = path.read_bytes()
        for at in {0, len(whole) // 2, len(whole) - 1}:
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            flaws = (await place.verify(made.backup_id)).flaws
            assert len(flaws) == 1, (path, at)
            assert path.name in flaws[0], (at, flaws)
            if path.name != "manifest":
                first, last = (int(word.rstrip(".")) for word in flaws[0].replace(" and ", " ").split() if word.isdigit())
                assert first <= at <= last, (path, at, flaws)
            if path.name.startswith(("segment", "manifest")):
                with pytest.raises(Damaged):
                    await place.restore(wish(made, into=f"x{path.name[:3]}{at}"))
        for other in (whole[:-1], whole + b"x"):
            path.write_bytes(other)
            assert path.name in (await place.verify(made.backup_id)).flaws[0]
        path.write_bytes(whole)
    assert (await place.verify(made.backup_id, deep=True)).seals == 30


async def test_a_seal_that_does_not_open_is_found_by_a_deep_check(place: Place) -> None:
    """The byte was changed before the backup was made, so that every digest is right."""
    await place.fill(NOTES, 5)
    (good, *_) = await place.bodies(NOTES)
    await place.bus.log.append([Draft(scope=NOTES, message_id="bad", body=good[:-1] + bytes([good[-1] ^ 1]))])
    made = await place.back_up()

    assert (await place.verify(made.backup_id)).flaws == []
    (flaw,) = (await place.verify(made.backup_id, deep=True)).flaws
    assert "the message 6 of EVENTS_0" in flaw


async def test_a_manifest_that_somebody_else_signed_over_is_no_link_of_the_chain(place: Place) -> None:
    """What builds on a backup names the digest of its manifest."""
    await place.fill(NOTES, 5)
    first = await place.back_up()
    second = await place.back_up(previous=first.backup_id)
    path = place.root / "backups" / first.backup_id / "manifest"
    path.write_bytes(signed.sign(first, signatures.Signer(bytes(32))))

    (flaw,) = (await place.verify(second.backup_id)).flaws
    assert "was not built on" in flaw
    assert (await place.verify(first.backup_id)).flaws == []


async def test_a_receipt_can_name_the_day_on_which_the_last_backup_ends(place: Place) -> None:
    """Of a whole session its keys count, of a single event the backups; backups that were begun later do not."""
    place.settings = BackupSettings(days=30, keys_days=7)
    ids = await place.fill(NOTES, 5)
    await place.fill(DIARY, 1)
    made = await place.back_up(OF_NOTES)
    await place.erase(NOTES, ids[:1])
    now_us = microseconds(datetime.now(UTC))
    await place.back_up(OF_NOTES)

    assert await place.notes.ends(NOTES, whole=False, erased_us=now_us) == made.expires_at
    assert await place.notes.ends(NOTES, whole=True, erased_us=now_us) == made.objects[2].expires_at
    assert await place.notes.ends(DIARY, whole=False, erased_us=now_us) is None


async def test_a_receipt_names_the_day_by_which_the_archive_of_the_log_is_rid_of_it(place: Place) -> None:
    """Of a single event, whose session's key lives on; whole sessions take their keys with them."""
    ids = await place.fill(NOTES, 5)
    await place.erase(NOTES, ids[:1])
    now = datetime.now(UTC)
    notes = ErasureNotes(archive=place.archive, wrapper=place.wrapper, leaves_log_archive=lambda at: at + timedelta(days=1))

    assert await notes.ends(NOTES, whole=False, erased_us=microseconds(now)) == moment(microseconds(now)) + timedelta(days=1)
    assert await notes.ends(NOTES, whole=True, erased_us=microseconds(now)) is None
    made = await place.back_up()
    assert await notes.ends(NOTES, whole=False, erased_us=microseconds(datetime.now(UTC))) == made.expires_at


async def test_notes_stay_while_a_backup_needs_them(place: Place) -> None:
    """They go once every backup was begun after them, a day later."""
    await place.fill(NOTES, 3)
    old = await place.back_up()
    now = datetime.now(UTC)
    await place.notes.note(NOTES, "01A", said=[], receipt=b"r", erased_us=microseconds(now))
    await place.notes.note(NOTES, "01A", said=[], receipt=b"other", erased_us=microseconds(now))
    assert [one.receipt async for one in place.notes.every()] == [b"r"]

    await place.notes.clear(await place.catalogue.shelf(), now=now + timedelta(days=2))
    assert len(await place.archive.list("erasures/")) == 1
    await place.catalogue.remove(old.backup_id)
    await place.notes.clear(await place.catalogue.shelf(), now=now + timedelta(hours=1))
    assert len(await place.archive.list("erasures/")) == 1
    await place.notes.clear(await place.catalogue.shelf(), now=now + timedelta(days=2))
    assert await place.archive.list("erasures/") == []


@asynccontextmanager
async def running(place: Place) -> AsyncIterator[tuple[Backups, Verifications]]:
    """A process that makes and checks backups."""
    clock = SystemClock()
    store = OperationStore(records=place.bus.records, clock=clock)

    def lease(name: str) -> Lease:
        return Lease(place.bus.records, name=name, holder="one", lease_s=5, clock=clock, alone=True)

    made = Backups(
        take=place.take,
        catalogue=place.catalogue,
        notes=place.notes,
        store=store,
        lease=lease("backup"),
        clock=clock,
        settings=place.settings,
    )
    checks = Verifications(verify=place.verify, catalogue=place.catalogue, store=store, lease=lease("check"), clock=clock)
    async with asyncio.TaskGroup() as group:
        loops = [group.create_task(loop()) for loop in (made.run, checks.run)]
        yield made, checks
        for loop in loops:
            loop.cancel()


async def test_the_job_builds_on_the_newest_backup_while_that_is_young(place: Place) -> None:
    """One that stands alone is made first, and again once the first is too old; too many are removed, and the status tells."""
    await place.fill(NOTES, 5)
    place.settings = BackupSettings(keep=2)
    async with running(place) as (made, checks):
        assert made.health() == []
        for _ in range(3):
            await made.scheduled()
        assert "seals open" in await checks.scheduled()
    one, two, three = (await place.catalogue.shelf()).backups.values()
    assert [each.manifest.previous for each in (one, two, three)] == [None, one.backup_id, two.backup_id]
    assert made.last_made == three.manifest.made_at.isoformat()

    path = place.root / "backups" / three.backup_id / "manifest"
    path.write_bytes(path.read_bytes()[:-1])
    async with running(place) as (made, checks):
        await made.clear()
        with pytest.raises(KalendsError, match=three.backup_id):
            await checks.scheduled()
    (told,) = made.health()
    assert (told.state, three.backup_id in told.detail) == ("degraded", True)


async def test_an_operation_that_is_cancelled_leaves_nothing(place: Place) -> None:
    """Of a backup that somebody stops every object goes."""
    await place.fill(NOTES, 5)
    place.settings = BackupSettings(rate_mib_s=0.0001)
    async with running(place) as (made, _):
        begun = await made.begin(EVERYTHING)
        with pytest.raises(Conflict):
            await made.remove(begun.operation_id)
        await until(lambda: made.leads)
        await made.cancel(begun.operation_id)
        await until(lambda: not made.leads)

    assert [one.name for one in await place.archive.list("")] == []


async def test_a_backup_may_be_slow(place: Place, monkeypatch) -> None:
    """The limit is of bytes in a second: what a second lets through is followed by a second's pause."""
    await place.fill(NOTES, 20)
    fast = await place.back_up()
    place.settings = BackupSettings(rate_mib_s=fast.size / (1 << 20) / 50)
    pauses: list[float] = []

    async def noted(_clock: SystemClock, seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(SystemClock, "sleep", noted)
    await place.back_up()

    assert sum(pauses) == pytest.approx(50, rel=0.2)


async def test_the_same_request_again_with_the_callers_id_is_the_same_backup(place: Place) -> None:
    """Whether the first is under way, done, or was forgotten among the operations; another request with that id is refused."""
    await place.fill(NOTES, 5)
    mine = new_ulid(datetime.now(UTC))
    async with running(place) as (made, _):
        both = await asyncio.gather(*(made.begin(EVERYTHING, operation_id=mine) for _ in range(2)))
        assert {one.operation_id for one in both} == {mine}
        await until(lambda: _has_ended(made, mine))
        assert (await made.begin(EVERYTHING, operation_id=mine)).state == "succeeded"
        other = Selection(kind="memory", tenant=NOTES.tenant, memory=NOTES.memory)
        for wanted in ({"selection": other}, {"selection": EVERYTHING, "dry_run": True}):
            with pytest.raises(Conflict):
                await made.begin(**wanted, operation_id=mine)

        await place.bus.records.delete("operation", "instance", mine)
        with pytest.raises(Conflict):
            await made.begin(other, operation_id=mine)
        await made.begin(EVERYTHING, operation_id=mine)
        await until(lambda: _has_ended(made, mine))

    assert list((await place.catalogue.shelf()).backups) == [mine]


async def _has_ended(made: Backups, operation_id: str) -> bool:
    found = await made.find(operation_id)
    return found is not None and found.has_ended
