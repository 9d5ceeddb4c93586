"""The suite of the port ``records``, on the real broker and on a cluster of three."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.broker import ALONE, SMALL, another_bus, fresh_bus, own_bus, shared_broker, watched_server
from tests.support.proxy import Relay, relay
from tests.support.waiting import until

from kalends.adapters.nats import LocalServer, streams
from kalends.adapters.nats.records import NatsRecords
from kalends.domain.errors import Conflict, Damaged, Invalid, TooLarge
from kalends.ports.records import Record

pytestmark = pytest.mark.usefixtures("broker")


@pytest.fixture
async def records() -> AsyncIterator[NatsRecords]:
    """The records of an empty bus."""
    async with fresh_bus(replace(SMALL, idle=0.2)) as bus:
        yield bus.records


async def seen(watch: AsyncIterator[Record | None], count: int) -> list[Record | None]:
    """The next *count* things that *watch* yields."""
    async with asyncio.timeout(20):
        return [await anext(watch) for _ in range(count)]


async def test_what_was_put_is_got(records: NatsRecords) -> None:
    """Names may be any text, values any bytes."""
    revision = await records.put("doc", "Täh nant/…", "a name\nwith *.> in it", b"\x00\xff")

    assert await records.get("doc", "Täh nant/…", "a name\nwith *.> in it") == Record(
        kind="doc", owner="Täh nant/…", name="a name\nwith *.> in it", value=b"\x00\xff", revision=revision
    )


async def test_what_does_not_exist_is_none(records: NatsRecords) -> None:
    """Neither the name, nor the owner, nor the kind makes an error."""
    await records.put("doc", "acme", "one", b"1")

    assert await records.get("doc", "acme", "two") is None
    assert await records.get("doc", "other", "one") is None
    assert await records.get("token", "acme", "one") is None


async def test_revisions_grow_and_the_newest_wins(records: NatsRecords) -> None:
    """A put without a revision overwrites."""
    first = await records.put("doc", "acme", "one", b"1")
    second = await records.put("doc", "acme", "one", b"2")

    assert second > first
    found = await records.get("doc", "acme", "one")
    assert found is not None
    assert (found.value, found.revision) == (b"2", second)


async def test_compare_and_set_refuses_a_stale_revision(records: NatsRecords) -> None:
    """The second of two writers who read the same version is told."""
    first = await records.put("doc", "acme", "one", b"1", revision=0)
    await records.put("doc", "acme", "one", b"2", revision=first)

    with pytest.raises(Conflict):
        await records.put("doc", "acme", "one", b"3", revision=first)
    with pytest.raises(Conflict):
        await records.put("doc", "acme", "one", b"4", revision=0)


async def test_a_write_whose_answer_was_lost_is_told_its_own_revision() -> None:
    """Also if another write has followed it by the time that it is asked for again."""
    async with two_ways() as (line, bus, other):
        line.lose(b'"RECORDS_0","seq"')

        async def follow() -> int:
            await until(lambda: is_there(other, b"mine"))
            return await other.put("doc", "acme", "one", b"theirs")

        first, second = await asyncio.gather(bus.put("doc", "acme", "one", b"mine", revision=0), follow())

        assert line.lost == 1
        assert first < second
        found = await other.get("doc", "acme", "one")
        assert found is not None
        assert (found.value, found.revision) == (b"theirs", second)


async def test_a_refusal_that_was_lost_is_no_success_though_the_values_are_equal() -> None:
    """Two who count to the same number are two, and one of them has to count again."""
    async with two_ways() as (line, bus, other):
        first = await other.put("doc", "acme", "one", b"1")
        await other.put("doc", "acme", "one", b"2", revision=first)
        line.lose(b"10071")

        with pytest.raises(Conflict):
            await bus.put("doc", "acme", "one", b"2", revision=first)
        assert line.lost == 1


@asynccontextmanager
async def two_ways() -> AsyncIterator[tuple[Relay, NatsRecords, NatsRecords]]:
    """The records by way of a relay, and straight."""
    async with fresh_bus() as other, relay(shared_broker().url.partition(",")[0]) as line, another_bus(url=line.url) as bus:
        yield line, bus.records, other.records


async def is_there(records: NatsRecords, value: bytes) -> bool:
    """Whether the record has that value."""
    found = await records.get("doc", "acme", "one")
    return found is not None and found.value == value


async def test_who_is_refused_finds_what_came_first(records: NatsRecords) -> None:
    """However close the race: a conflict is only told once the other write can be read."""

    async def make(name: str, value: bytes) -> bytes:
        try:
            await records.put("doc", "acme", name, value, revision=0)
        except Conflict:
            found = await records.get("doc", "acme", name)
            return b"nothing" if found is None else found.value
        return value

    for number in range(20):
        told = await asyncio.gather(*(make(f"n{number}", b"%d" % writer) for writer in range(8)))
        assert len(set(told)) == 1, told


async def test_of_many_creators_one_wins(records: NatsRecords) -> None:
    """Revision 0 is a lock that one can take."""
    outcomes = await asyncio.gather(
        *(records.put("lock", "acme", "one", str(number).encode(), revision=0) for number in range(12)), return_exceptions=True
    )

    assert sum(isinstance(outcome, int) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 11


async def test_a_deleted_record_is_gone_and_can_be_made_again(records: NatsRecords) -> None:
    """Deleting leaves nothing to get or list; revision 0 means "not there" again; and deleting twice is no error."""
    first = await records.put("doc", "acme", "one", b"1")
    await records.delete("doc", "acme", "one")
    await records.delete("doc", "acme", "one")
    await records.delete("doc", "acme", "never")

    assert await records.get("doc", "acme", "one") is None
    assert await records.list("doc") == []
    assert await records.put("doc", "acme", "one", b"2", revision=0) > first


async def test_a_list_holds_one_kind_in_order(records: NatsRecords) -> None:
    """Of all owners or of one, by owner and name, the newest versions only."""
    for owner, name in (("b", "2"), ("a", "9"), ("b", "1"), ("A b", "x")):
        await records.put("doc", owner, name, b"old")
        await records.put("doc", owner, name, b"new")
    await records.put("other", "a", "1", b"")

    assert [(record.owner, record.name, record.value) for record in await records.list("doc")] == [
        ("A b", "x", b"new"),
        ("a", "9", b"new"),
        ("b", "1", b"new"),
        ("b", "2", b"new"),
    ]
    assert [record.name for record in await records.list("doc", "b")] == ["1", "2"]
    assert await records.list("nothing") == []


async def test_a_long_list_is_complete(records: NatsRecords) -> None:
    """Longer than what the broker hands out at once."""
    await asyncio.gather(*(records.put("doc", "acme", f"{number:04}", b"v") for number in range(1300)))

    assert [record.name for record in await records.list("doc")] == [f"{number:04}" for number in range(1300)]


async def test_a_watch_yields_what_is_there_then_none_then_changes(records: NatsRecords) -> None:
    """Deletions come as records that say so."""
    await records.put("doc", "acme", "one", b"1")
    await records.put("doc", "acme", "gone", b"1")
    await records.delete("doc", "acme", "gone")
    watch = records.watch("doc")

    [first, end] = await seen(watch, 2)
    assert first is not None
    assert (first.name, first.value) == ("one", b"1")
    assert end is None
    await records.put("doc", "acme", "two", b"2")
    await records.put("other", "acme", "three", b"3")
    await records.delete("doc", "acme", "one")
    [second, third] = await seen(watch, 2)
    assert second is not None
    assert third is not None
    assert (second.name, second.value, second.deleted) == ("two", b"2", False)
    assert (third.name, third.value, third.deleted) == ("one", b"", True)
    await watch.aclose()


async def test_a_watch_of_nothing_says_so_at_once(records: NatsRecords) -> None:
    """The end of what exists now comes even where nothing exists."""
    watch = records.watch("doc")

    assert await seen(watch, 1) == [None]
    await watch.aclose()


@ALONE
async def test_a_watch_goes_on_after_a_restart_of_the_broker(tmp_path: Path) -> None:
    """What changed while the connection was away comes afterwards, once."""
    async with watched_server(tmp_path) as server, own_bus(server, replace(SMALL, idle=0.2)) as bus:
        await bus.records.put("doc", "acme", "one", b"1")
        watch = bus.records.watch("doc")
        await seen(watch, 2)
        pid = server.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        for number in range(3):
            await bus.records.put("doc", "acme", f"late-{number}", b"2")

        found = await seen(watch, 3)

        assert [record.name for record in found if record] == ["late-0", "late-1", "late-2"]
        await watch.aclose()


async def test_what_cannot_be_kept_is_refused(records: NatsRecords) -> None:
    """A kind that is no word, a value that is no small one."""
    with pytest.raises(Invalid):
        await records.put("a.kind", "acme", "one", b"")
    with pytest.raises(TooLarge):
        await records.put("doc", "acme", "one", b"x" * (9 << 20))


@pytest.mark.parametrize("at_once", [5000, 100])
async def test_an_inventory_lists_every_record_once_in_order(records: NatsRecords, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    """Those of all kinds and owners, the deleted included, few or many; what differs in bytes differs in digest."""
    monkeypatch.setattr("kalends.adapters.nats.records._LISTED_AT_ONCE", at_once)
    await asyncio.gather(*(records.put("doc", f"owner {number % 7}", f"{number:04}", b"%d" % number) for number in range(250)))
    await records.put("token", "acme", "one", b"same")
    await records.put("token", "acme", "two", b"same")
    await records.delete("doc", "owner 3", "0003")
    found = [one async for piece in records.inventory() for one in piece if ".lease." not in one.place]

    assert len(found) == 252
    assert [one.place for one in found] == sorted({one.place for one in found})
    assert len({one.digest for one in found}) == 252
    assert not any(one.is_lost for one in found)
    (token,) = [one for one in found if one.place.endswith(".acme.token.one")]
    kept = await records.get("token", "acme", "one")
    assert kept is not None
    assert token.revision == kept.revision
    assert await records.head() == max(one.revision for one in found)


def flip(folder: Path) -> None:
    """Change a bit of the value ``flips`` in the only block of the records."""
    (block,) = folder.rglob(f"{streams.RECORDS}/msgs/*.blk")
    content = block.read_bytes()
    assert content.count(b"flips") == 1
    block.write_bytes(content.replace(b"flips", b"glips"))


@asynccontextmanager
async def with_a_flipped_byte(folder: Path) -> AsyncIterator[NatsRecords]:
    """Records of a broker of its own, of which the one with the value ``flips`` has changed on the disk while the broker stood still."""
    async with LocalServer(folder) as server, own_bus(server) as bus:
        for name, value in (("before", b"whole"), ("one", b"flips"), ("behind", b"whole")):
            await bus.records.put("doc", "acme", name, value)
    flip(folder)
    async with LocalServer(folder) as server, own_bus(server, replace(SMALL, idle=0.2, request_timeout=2.0)) as bus:
        yield bus.records


@ALONE
async def test_a_list_and_a_watch_leave_out_what_is_lost_and_end(tmp_path: Path) -> None:
    """Of what is lost they hear nothing; a list waits for it as long as for any answer."""
    async with with_a_flipped_byte(tmp_path) as records:
        assert [one.name for one in await records.list("doc")] == ["before", "behind"]
        watch = records.watch("doc")
        assert [one and one.name for one in await seen(watch, 3)] == ["before", "behind", None]
        await watch.aclose()


@ALONE
async def test_a_record_that_the_disk_lost_is_told_from_one_that_never_was(tmp_path: Path) -> None:
    """To get it is an error, also to write it anew by what was read before; the inventory names it, and its neighbours are there."""
    async with with_a_flipped_byte(tmp_path) as records:
        with pytest.raises(Damaged, match="its bytes have changed"):
            await records.get("doc", "acme", "one")
        with pytest.raises(Damaged):
            await records.put("doc", "acme", "one", b"new", revision=2)
        assert await records.get("doc", "acme", "never") is None
        found = {one.place.rpartition(".")[2]: one for piece in [p async for p in records.inventory()] for one in piece}
        assert {name: found[name].is_lost for name in ("before", "one", "behind")} == {"before": False, "one": True, "behind": False}
        assert (found["one"].revision, found["one"].digest) == (0, b"")


@ALONE
@pytest.mark.parametrize("how", ["put", "put as new", "delete", "give up"])
async def test_a_lost_record_is_mended_by_writing_or_deleting_it(tmp_path: Path, how: str) -> None:
    """What is given up by its place is deleted; nothing that can be read is."""
    async with with_a_flipped_byte(tmp_path) as records:
        places = [one.place for piece in [p async for p in records.inventory()] for one in piece]
        if how == "delete":
            await records.delete("doc", "acme", "one")
        elif how == "give up":
            for place in places:
                await records.give_up(place)
            await records.give_up("0.acme.doc.never")
        else:
            await records.put("doc", "acme", "one", b"new", revision=0 if how == "put as new" else None)

        found = await records.get("doc", "acme", "one")
        assert (found and found.value) == (b"new" if how.startswith("put") else None)
        assert [one.name for one in await records.list("doc")] == (["before", "behind"] if found is None else ["before", "behind", "one"])
        after = [one async for piece in records.inventory() for one in piece]
        assert [one.place for one in after] == places
        assert not any(one.is_lost for one in after)
