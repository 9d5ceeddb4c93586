"""Restoring dedicated memories: what lies in a stream of its own comes back into one.

Belongs here: what is particular to them; what holds for both kinds is ``test_restoring``. A newcomer would get wrong: a memory that is
restored under another name is as dedicated as it was, whatever kind of place is free.
"""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.support.backups import ELSEWHERE, NOTES, START, Place, installed, wish

from kalends.domain.errors import Conflict
from kalends.domain.events import microseconds
from kalends.domain.positions import Position, stream_of_own
from kalends.domain.scope import MemoryName, Scope
from kalends.kit import failpoints
from kalends.wire import envelopes
from kalends.wire.memories import Memory

COPY = Scope(NOTES.tenant, MemoryName("copy"))
DEDICATED = "dedicated"


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    """With nothing in it."""
    async with installed(tmp_path) as made:
        yield made


async def test_it_is_restored_into_a_stream_of_its_own(place: Place) -> None:
    """Under another name, with what it held; the stream that all share has nothing of it."""
    await place.fill(NOTES, 23, isolation=DEDICATED)
    made = await place.back_up()
    await place.restore(wish(made))

    assert await place.events(COPY) == await place.events(NOTES)
    assert (await place.memories.find(COPY)).isolation == DEDICATED
    heads = await place.bus.log.heads()
    assert {name: heads.get(name, 0) for name in ("EVENTS_0", stream_of_own(COPY))} == {"EVENTS_0": 0, stream_of_own(COPY): 23}


@pytest.mark.parametrize("where", ["memory.after-claim", "memory.after-stream", "restore.after-memory", "restore.after-append"])
async def test_a_restore_that_was_cut_off_goes_on_in_the_same_stream(place: Place, monkeypatch, where: str) -> None:
    """Also while the stream was being made; nothing comes twice."""
    monkeypatch.setattr("kalends.backups.restoring._BATCH", 5)
    ids = await place.fill(NOTES, 12, isolation=DEDICATED)
    made = await place.back_up()
    failpoints.arm({where: "error"})
    with pytest.raises(failpoints.FailpointError):
        await place.restore(wish(made))
    failpoints.arm({})
    await place.restore(wish(made))

    assert list(await place.events(COPY)) == ids
    assert len(await place.bodies(COPY)) == len(ids)


async def test_in_place_what_is_too_much_goes_and_what_is_missing_comes(place: Place) -> None:
    """In its own stream, and to a time, too."""
    ids = await place.fill(NOTES, 10, isolation=DEDICATED)
    made = await place.back_up()
    later = await place.said(NOTES, 50, session="later")
    positions = {envelopes.parse(body).event_id: number for number, body in enumerate(await place.bodies(NOTES), start=1)}
    await place.bus.log.erase([Position(stream_of_own(NOTES), positions[ids[3]])])
    await place.restore(wish(made, replace=True))
    whole = set(await place.events(NOTES))
    await place.restore(wish(made, replace=True, to_us=microseconds(START + timedelta(seconds=4))))

    assert whole == set(ids)
    assert place.forgotten == [later, *ids[5:]]
    assert set(await place.events(NOTES)) == set(ids[:5])
    assert (await place.bus.log.heads()).get("EVENTS_0", 0) == 0


async def test_a_name_that_was_shared_takes_no_dedicated_memory(place: Place) -> None:
    """A name is one or the other for ever; the restore says so and makes nothing."""
    await place.fill(NOTES, 3, isolation=DEDICATED)
    made = await place.back_up()
    await place.memories.create(Memory(scope=COPY, isolation="shared", description="", created_us=1))
    await place.memories.remove(COPY)

    with pytest.raises(Conflict, match="'shared' before it was erased"):
        await place.restore(wish(made))
    assert await place.bodies(COPY) == []


async def test_with_everything_it_comes_back_into_its_own_stream(place: Place, tmp_path: Path) -> None:
    """Beside a shared one, from a chain of backups; what is appended then goes there, too."""
    await place.fill(NOTES, 12, isolation=DEDICATED)
    await place.fill(ELSEWHERE, 7)
    first = await place.back_up()
    await place.said(NOTES, 20)
    made = await place.back_up(previous=first.backup_id)
    bodies = {scope: await place.bodies(scope) for scope in (NOTES, ELSEWHERE)}

    async with installed(tmp_path) as empty:
        await empty.replay(made.backup_id)
        heads = await empty.bus.log.heads()

        assert {scope: await empty.bodies(scope) for scope in bodies} == bodies
        assert (heads["EVENTS_0"], heads[stream_of_own(NOTES)]) == (7, 13)
        await empty.said(NOTES, 30)
        assert (await empty.bus.log.heads())[stream_of_own(NOTES)] == 14
