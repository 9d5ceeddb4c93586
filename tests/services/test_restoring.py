"""Restoring single memories and everything, over a real broker and a real folder."""

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.support.backups import ELSEWHERE, NOTES, START, Place, installed, wish

from kalends.backups.replaying import check_whole
from kalends.backups.verifying import opened
from kalends.domain.errors import Conflict, Damaged, Misconfigured
from kalends.domain.events import Event, EventId, microseconds
from kalends.domain.positions import Position
from kalends.domain.scope import MemoryName, Scope
from kalends.kit import aead, failpoints
from kalends.ports.log import Draft
from kalends.settings import BackupSettings
from kalends.wire import envelopes
from kalends.wire.documents import DocumentRecord
from kalends.wire.envelopes import Retraction, Stamp
from kalends.wire.manifests import Manifest
from kalends.wire.vault import Vault, key_reference


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    """With nothing in it."""
    async with installed(tmp_path) as made:
        yield made


async def test_a_memory_is_restored_into_a_new_one(place: Place) -> None:
    """The same ids, texts and times, under keys of its own; documents and settings come, too."""
    ids = await place.fill(NOTES, 23)
    document = DocumentRecord(
        document_id="manual",
        title="The manual",
        source="",
        content_hash=b"1",
        chunk_ids=(ids[0],),
        stale=(),
        updated_us=7,
        number=1,
        pending=False,
    )
    await place.documents.put(NOTES, document)
    made = await place.back_up()

    told = await place.restore(wish(made))

    copy = Scope(NOTES.tenant, MemoryName("copy"))
    assert await place.events(copy) == await place.events(NOTES)
    assert set(await place.bodies(copy)).isdisjoint(await place.bodies(NOTES))
    assert (await place.memories.find(copy)).description == "of a test"
    found = await place.documents.find(copy, "manual")
    assert found is not None
    assert found.title == "The manual"
    assert told == "23 events, 0 nodes restored"
    with pytest.raises(Conflict):
        await place.restore(wish(made, made_us=6))


@pytest.mark.parametrize("where", ["restore.after-memory", "restore.after-append"])
async def test_a_restore_that_was_cut_off_goes_on_where_it_was(place: Place, monkeypatch, where: str) -> None:
    """Nothing comes twice."""
    monkeypatch.setattr("kalends.backups.restoring._BATCH", 5)
    ids = await place.fill(NOTES, 23)
    made = await place.back_up()
    for hit in (1, 2):
        failpoints.arm({where: f"error@{hit}"} if where.endswith("append") else {where: "error"})
        with pytest.raises(failpoints.FailpointError):
            await place.restore(wish(made))
    failpoints.arm({})
    await place.restore(wish(made))

    copy = Scope(NOTES.tenant, MemoryName("copy"))
    assert list(await place.events(copy)) == ids
    assert len(await place.bodies(copy)) == len(ids)


async def test_fifty_times_are_what_was_recorded_by_then(place: Place) -> None:
    """No event that was recorded later, and all from before, through a chain of three."""
    source = random.Random(8)
    ids = await place.fill(NOTES, 40)
    first = await place.back_up()
    ids += await place.fill(NOTES, 40, first=40)
    second = await place.back_up(previous=first.backup_id)
    ids += await place.fill(NOTES, 40, first=80)
    third = await place.back_up(previous=second.backup_id)

    for number in range(50):
        seconds = source.uniform(-2, 125)
        to_us = microseconds(START) + round(seconds * 1_000_000)
        expected = [event_id for at, event_id in enumerate(ids) if at <= seconds]
        await place.restore(wish(third, into=f"at-{number}", to_us=to_us))
        assert list(await place.events(Scope(NOTES.tenant, MemoryName(f"at-{number}")))) == expected, seconds


async def test_fifty_times_of_a_life_with_second_thoughts(place: Place) -> None:
    """Of every random time the state is what was recorded by then: also what was taken back, and what was said again after that."""
    source = random.Random(21)
    await place.fill(NOTES, 0)
    life: list[dict[EventId, str]] = []
    live: dict[EventId, str] = {}
    backup: Manifest | None = None
    for second in range(90):
        if live and source.random() < 0.3:
            gone = source.sample(sorted(live), k=min(len(live), source.randint(1, 3)))
            await took_back(place, gone, second)
            live = {event_id: text for event_id, text in live.items() if event_id not in gone}
        else:
            words = f"thought {second} of {source.randint(0, 9)}"
            live = {**live, await place.said(NOTES, second, session=f"s{second % 4}", words=words): words}
        life.append(live)
        if second % 30 == 29:
            backup = await place.back_up(previous=None if backup is None else backup.backup_id)
    assert backup is not None

    for number in range(50):
        seconds = source.uniform(-1, 95)
        await place.restore(wish(backup, into=f"at-{number}", to_us=microseconds(START) + round(seconds * 1_000_000)))
        expected = life[min(int(seconds), len(life) - 1)] if seconds >= 0 else {}
        assert await state_of(place, Scope(NOTES.tenant, MemoryName(f"at-{number}"))) == expected, seconds


async def took_back(place: Place, ids: list[EventId], second: int) -> None:
    """Take events of the notes back, *second* seconds after the start."""
    reference = key_reference(NOTES, "s0")
    box = (await place.vault.boxes_for_writing(NOTES, [reference]))[reference]
    at_us = microseconds(START + timedelta(seconds=second))
    taken = Retraction(event_ids=tuple(ids), reason="other")
    stamp = Stamp(writer="test", number=second + 1, acked_up_to=0)
    body = envelopes.seal_retraction(taken, scope=NOTES, recorded_us=at_us, key_reference=reference, box=box, stamp=stamp)
    await place.bus.log.append([Draft(scope=NOTES, message_id=f"back-{second}", body=body)])


async def state_of(place: Place, scope: Scope) -> dict[EventId, str]:
    """The live events that the log says of a memory, and their words."""
    vault = Vault(keys=place.bus.keys, wrapper=place.wrapper)
    found: dict[EventId, str] = {}
    for sealed in map(envelopes.parse, await place.bodies(scope)):
        content = envelopes.unseal(sealed, (await vault.boxes(scope, [sealed.key_reference]))[sealed.key_reference])
        if isinstance(content, Event):
            found[content.id] = content.text
        elif isinstance(content, Retraction):
            found = {event_id: text for event_id, text in found.items() if event_id not in content.event_ids}
    return found


async def test_in_place_what_is_too_much_goes_and_what_is_missing_comes(place: Place) -> None:
    """What is equal is not touched, and a dry run touches nothing."""
    ids = await place.fill(NOTES, 10)
    made = await place.back_up()
    later = await place.said(NOTES, 50, session="later")
    positions = {envelopes.parse(body).event_id: number for number, body in enumerate(await place.bodies(NOTES), start=1)}
    await place.bus.log.erase([Position("EVENTS_0", positions[ids[3]])])
    before = await place.bodies(NOTES)

    assert await place.restore(wish(made, replace=True), dry_run=True) == (
        "1 events would be erased, 1 restored; 10 events, 0 nodes in the backup"
    )
    assert await place.bodies(NOTES) == before
    await place.restore(wish(made, replace=True))

    assert place.forgotten == [later]
    assert set(await place.events(NOTES)) == set(ids)
    assert len(await place.bodies(NOTES)) == len(before) + 2  # what erases, and what came back


async def test_a_record_that_was_lost_and_given_up_comes_back_in_place(place: Place) -> None:
    """Out of a backup of what there is now that builds on one that has it, so that nothing is too much; the memory is made again before."""
    ids = await place.fill(NOTES, 7)
    document = DocumentRecord(
        document_id="manual",
        title="The manual",
        source="",
        content_hash=b"1",
        chunk_ids=(ids[0],),
        stale=(),
        updated_us=7,
        number=3,
        pending=False,
    )
    await place.documents.put(NOTES, document)
    made = await place.back_up()
    for kind, owner, name in (("document", NOTES.key, "manual"), ("memory", NOTES.tenant, NOTES.memory)):
        await place.bus.records.delete(kind, owner, name)
    assert await place.documents.find(NOTES, "manual") is None
    ids += await place.fill(NOTES, 3, first=50)
    now = await place.back_up(previous=made.backup_id)

    await place.restore(wish(now, replace=True))

    found = await place.documents.find(NOTES, "manual")
    assert found is not None
    assert (found.title, found.number, found.chunk_ids) == ("The manual", 3, (ids[0],))
    assert set(await place.events(NOTES)) == set(ids)
    assert place.forgotten == []


async def test_what_was_erased_before_or_after_stays_out_of_every_restore(place: Place) -> None:
    """A single event and a whole session: into a new memory, in place, and at a time before it was erased."""
    ids = await place.fill(NOTES, 20)
    await place.erase(NOTES, ids[5:10], session="s1")
    made = await place.back_up()
    await place.erase(NOTES, [ids[0]])
    await place.erase(NOTES, ids[15:20], session="s3")
    left = set(ids[1:5] + ids[10:15])

    await place.restore(wish(made))
    await place.restore(wish(made, into="early", to_us=microseconds(START + timedelta(seconds=17))))
    await place.restore(wish(made, replace=True))

    for name in ("copy", "early", "notes"):
        assert set(await place.events(Scope(NOTES.tenant, MemoryName(name)))) == left, name


async def test_a_session_that_was_erased_and_begun_again_comes_back_as_it_is_now(place: Place) -> None:
    """Its name is free after an erasure; only what was recorded before it is gone."""
    ids = await place.fill(NOTES, 5)
    await place.erase(NOTES, ids, session="s0", at_us=microseconds(START + timedelta(seconds=60)))
    again = await place.said(NOTES, 100, session="s0")
    made = await place.back_up()

    await place.restore(wish(made))

    assert list(await place.events(Scope(NOTES.tenant, MemoryName("copy")))) == [again]
    assert (await place.verify(made.backup_id, deep=True)).flaws == []


async def test_everything_comes_back_into_an_empty_installation(place: Place, tmp_path: Path) -> None:
    """The same bytes in the same order with their headers, records and the audit; not into one that holds something."""
    await place.fill(NOTES, 12)
    await place.fill(ELSEWHERE, 7)
    await place.bus.records.put("token", "acme", "hash", b"a token")
    bodies = {scope: await place.bodies(scope) for scope in (NOTES, ELSEWHERE)}
    first = await place.back_up()
    bodies[NOTES].append((await place.said(NOTES, 20), (await place.bodies(NOTES))[-1])[1])
    made = await place.back_up(previous=first.backup_id)
    parts = {part.memory + part.tenant: part.digest for part in (await place.catalogue.shelf()).backups[first.backup_id].contents.parts}
    with pytest.raises(Conflict, match="not empty"):
        await place.replay(made.backup_id)

    async with installed(tmp_path) as empty:
        await empty.replay(made.backup_id)

        assert {scope: await empty.bodies(scope) for scope in bodies} == bodies
        assert len(await empty.events(NOTES)) == 13
        token = await empty.bus.records.get("token", "acme", "hash")
        assert token is not None
        assert (await empty.memories.find(NOTES)).description == "of a test"
        await check_whole(empty.bus.records)
        again = await empty.back_up()
        shelved = (await empty.catalogue.shelf()).backups[again.backup_id].contents.parts
        assert {part.memory + part.tenant: part.digest for part in shelved}["notesother"] == parts["notesother"]
        with pytest.raises(Conflict):
            await empty.replay(made.backup_id)


@pytest.mark.parametrize("where", ["replay.after-records", "replay.after-append", "replay.before-done"])
async def test_a_whole_restore_that_was_cut_off_serves_nobody_and_goes_on(place: Place, tmp_path: Path, monkeypatch, where: str) -> None:
    """Nothing comes twice; another backup is refused meanwhile."""
    monkeypatch.setattr("kalends.backups.replaying._BATCH", 5)
    await place.fill(NOTES, 12)
    bodies = await place.bodies(NOTES)
    made = await place.back_up()
    other = await place.back_up()

    async with installed(tmp_path) as empty:
        failpoints.arm({where: "error"})
        with pytest.raises(failpoints.FailpointError):
            await empty.replay(made.backup_id)
        with pytest.raises(Misconfigured, match="cut off"):
            await check_whole(empty.bus.records)
        with pytest.raises(Conflict, match="another restore"):
            await empty.replay(other.backup_id)
        await empty.replay(made.backup_id)

        assert await empty.bodies(NOTES) == bodies


async def test_later_backups_and_notes_keep_erased_things_out_of_a_whole_restore(place: Place, tmp_path: Path) -> None:
    """Of the older backup is restored what no later erasure took, whether a backup knows of it or only the note beside them."""
    ids = await place.fill(NOTES, 15)
    old = await place.back_up()
    await place.erase(NOTES, ids[5:10], session="s1")
    await place.erase(NOTES, [ids[0]])
    await place.back_up()
    said = await place.erase(NOTES, [ids[14]])
    await place.notes.note(NOTES, "01LATE", said=[said], receipt=b"signed", erased_us=microseconds(datetime.now(UTC)))

    async with installed(tmp_path) as empty:
        told = await empty.replay(old.backup_id)

        assert set(await empty.events(NOTES)) == set(ids[1:5] + ids[10:14])
        assert await empty.bus.keys.get(NOTES, [key_reference(NOTES, "s1")]) == {}
        assert await empty.bus.ledger.get(NOTES, "01LATE") == b"signed"
        # what erased is in the new log, too, so that a backup of it knows
        assert said in await empty.bodies(NOTES)
        assert "7 erased" in told or ("2 erased" in told and "5 without a key" in told)


async def test_a_whole_restore_to_a_time_has_nothing_from_after_it(place: Place, tmp_path: Path) -> None:
    """By when it was recorded."""
    ids = await place.fill(NOTES, 15)
    made = await place.back_up()

    async with installed(tmp_path) as empty:
        await empty.replay(made.backup_id, to_us=microseconds(START + timedelta(seconds=7)))

        assert list(await empty.events(NOTES)) == ids[:8]


async def test_another_key_file_restores_nothing(place: Place, tmp_path: Path) -> None:
    """It says which file is needed, before anything is written."""
    await place.fill(NOTES, 5)
    made = await place.back_up()
    (tmp_path / "kek").rename(tmp_path / "kept")

    async with installed(tmp_path) as empty:
        with pytest.raises(Damaged, match="another key-encryption key"):
            await empty.replay(made.backup_id)
        assert await empty.bus.records.list("memory") == []


async def test_once_their_keys_are_gone_erased_sessions_are_out_of_reach(place: Place) -> None:
    """The objects with keys end before the backups; what still has keys elsewhere can be restored nevertheless."""
    place.settings = BackupSettings(days=30, keys_days=7)
    ids = await place.fill(NOTES, 10)
    made = await place.back_up()
    await place.erase(NOTES, ids[:5], session="s0")

    await place.catalogue.clear(now=datetime.now(UTC) + timedelta(days=8), keep=0, under_way=[])

    assert not (place.root / "backups" / made.backup_id / "keys").exists()
    (shelved,) = (await place.catalogue.shelf()).known.values()
    assert shelved.keys_expire_at is None
    assert (await place.verify(made.backup_id, deep=True)).flaws == []
    await place.restore(wish(made))
    assert list(await place.events(Scope(NOTES.tenant, MemoryName("copy")))) == ids[5:]


async def test_once_their_keys_are_gone_nobody_with_the_key_file_reads_what_was_erased(place: Place) -> None:
    """Every object of every backup, opened with all keys that there are: those in the backups, and those that live."""
    place.settings = BackupSettings(days=30, keys_days=7)
    ids = await place.fill(NOTES, 10)
    await place.back_up()
    await place.erase(NOTES, ids[:5], session="s0")
    await place.back_up()
    assert await _read_by_anybody(place) == set(ids)

    await place.catalogue.clear(now=datetime.now(UTC) + timedelta(days=8), keep=0, under_way=[])

    assert await _read_by_anybody(place) == set(ids[5:])


async def _read_by_anybody(place: Place) -> set[EventId]:
    """The events that whoever has the key file and all files can read, whatever they are told was erased."""
    shelf = await place.catalogue.shelf()
    wrapped: set[tuple[str, bytes]] = set()
    async for piece in place.bus.keys.references(NOTES, limit=100):
        wrapped |= set(piece.items())
    for backup in shelf.backups.values():
        if backup.keys_are_there:
            wrapped |= {(one.reference, one.wrapped) async for one in place.copies.every_key(backup)}
    boxes: dict[str, aead.Box] = {}
    for reference, key in wrapped:
        boxes |= await opened(place.wrapper, NOTES, {reference: key})
    found: set[EventId] = set()
    for backup in shelf.backups.values():
        async for message in place.copies.messages([backup], NOTES):
            if message.sealed is not None and message.sealed.key_reference in boxes:
                content = envelopes.unseal(message.sealed, boxes[message.sealed.key_reference])
                found |= {content.id} if isinstance(content, Event) else set()
    return found
