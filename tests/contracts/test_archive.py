"""The suite of the port ``archive``, on a folder."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kalends.adapters.embedded.archive import FolderArchive
from kalends.domain.errors import Conflict, Invalid, NotFound
from kalends.ports.archive import PIECE_BYTES, Archive

NAME = "backups/01ABC/segment-000000"


@pytest.fixture
async def archive(tmp_path: Path) -> AsyncIterator[Archive]:
    """An empty one."""
    made = FolderArchive(tmp_path / "archive")
    yield made
    await made.close()


async def given(*pieces: bytes) -> AsyncIterator[bytes]:
    """The pieces one by one."""
    for piece in pieces:
        yield piece


async def content(archive: Archive, name: str) -> bytes:
    """All of an object, whose pieces are small enough."""
    found = b""
    async for piece in archive.get(name):
        assert 0 < len(piece) <= PIECE_BYTES
        found += piece
    return found


async def test_what_is_put_is_read_back_whole(archive: Archive) -> None:
    """However it was cut; the size is told, and an empty object is one."""
    large = os.urandom(PIECE_BYTES + 7)

    assert await archive.put(NAME, given(b"one", large, b"two")) == len(large) + 6
    assert await archive.put("empty", given()) == 0

    assert await content(archive, NAME) == b"one" + large + b"two"
    assert await content(archive, "empty") == b""


async def test_a_name_that_is_taken_stays_what_it_is(archive: Archive) -> None:
    """Also when many come at once: one of them wins."""
    await archive.put(NAME, given(b"first"))

    with pytest.raises(Conflict):
        await archive.put(NAME, given(b"second"))
    told = await asyncio.gather(*(archive.put("race", given(bytes([number]))) for number in range(5)), return_exceptions=True)

    assert await content(archive, NAME) == b"first"
    assert sorted(isinstance(one, Conflict) for one in told) == [False, True, True, True, True]
    assert len(await content(archive, "race")) == 1


async def test_what_fails_half_way_leaves_nothing(archive: Archive) -> None:
    """Neither by an error of who writes, nor by being cancelled."""

    async def failing() -> AsyncIterator[bytes]:
        yield b"half"
        raise RuntimeError("lost")

    waiting = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"half"
        waiting.set()
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="lost"):
        await archive.put(NAME, failing())
    cut = asyncio.ensure_future(archive.put(NAME, endless()))
    await waiting.wait()
    cut.cancel()
    await asyncio.wait([cut])

    assert await archive.list("") == []
    assert await archive.put(NAME, given(b"whole")) == 5


async def test_objects_are_listed_by_the_beginning_of_their_names(archive: Archive) -> None:
    """In the order of names, with sizes; not what is under way."""
    for name in ("b/2", "b/10", "a", "bc"):
        await archive.put(name, given(b"12"))

    assert await archive.list("b/") == [("b/10", 2), ("b/2", 2)]
    assert [one.name for one in await archive.list("")] == ["a", "b/10", "b/2", "bc"]
    assert await archive.list("nothing") == []


async def test_what_is_removed_is_gone_and_its_name_free(archive: Archive) -> None:
    """What is not there is no error."""
    await archive.put(NAME, given(b"one"))

    assert await archive.remove(NAME)
    assert not await archive.remove(NAME)

    with pytest.raises(NotFound):
        await content(archive, NAME)
    await archive.put(NAME, given(b"two"))
    assert await content(archive, NAME) == b"two"


@pytest.mark.parametrize("name", ["", "/a", "../a", "a/../b", ".hidden", "a//b", "a/", "a b", "a\n"])
async def test_no_name_leads_out_of_the_archive(archive: Archive, name: str) -> None:
    """What is no name is refused by everything that takes one."""
    with pytest.raises(Invalid):
        await archive.put(name, given(b"x"))
    with pytest.raises(Invalid):
        await content(archive, name)
    with pytest.raises(Invalid):
        await archive.remove(name)


async def test_files_are_for_their_owner_only(archive: Archive, tmp_path: Path) -> None:
    """Folders, too."""
    await archive.put(NAME, given(b"one"))

    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "archive").rglob("*")}
    assert modes == {0o600, 0o700}
