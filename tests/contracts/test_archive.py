"""The suite of the port ``archive``: on a folder, and on a bucket of a real server of S3."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.support.s3.server import ACCESS, BUCKET, DOMAIN, SECRET, S3Server

from kalends.adapters.embedded.archive import FolderArchive
from kalends.adapters.s3.archive import PART_BYTES, open_bucket
from kalends.domain.errors import Conflict, Invalid, KalendsError, Misconfigured, NotFound, Unavailable
from kalends.domain.places import Bucket
from kalends.ports.archive import PIECE_BYTES, Archive
from kalends.settings import S3Settings

NAME = "backups/01ABC/segment-000000"


IN_BUCKET = pytest.param("bucket", marks=pytest.mark.cluster)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One for all tests here; each has a prefix of its own."""
    with S3Server(tmp_path_factory.mktemp("s3")) as made:
        yield made


@pytest.fixture(params=["folder", IN_BUCKET])
async def archive(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Archive]:
    """An empty one."""
    if request.param == "folder":
        made: Archive = FolderArchive(tmp_path / "archive")
    else:
        found: S3Server = request.getfixturevalue("server")
        made = open_bucket(Bucket(name=BUCKET, prefix=f"tests/{tmp_path.name}"), found.settings())
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


async def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    """Folders, too."""
    archive = FolderArchive(tmp_path / "archive")
    await archive.put(NAME, given(b"one"))
    await archive.close()

    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "archive").rglob("*")}
    assert modes == {0o600, 0o700}


@pytest.mark.cluster
async def test_what_is_too_large_for_one_request_is_whole_or_not_there(server: S3Server) -> None:
    """It is put in parts and gets its name at the end; a name that was taken meanwhile stays what it is, and nothing else is left."""
    archive = open_bucket(Bucket(name=BUCKET, prefix="large"), server.settings())
    large = [os.urandom(PIECE_BYTES) for _ in range(PART_BYTES // PIECE_BYTES * 2 + 3)]

    async def overtaken() -> AsyncIterator[bytes]:
        for piece in large:
            yield piece
        await archive.put("second", given(b"quick"))

    async def failing() -> AsyncIterator[bytes]:
        for piece in large:
            yield piece
        raise RuntimeError("lost")

    assert await archive.put("first", given(*large)) == len(large) * PIECE_BYTES
    with pytest.raises(Conflict):
        await archive.put("second", overtaken())
    with pytest.raises(RuntimeError, match="lost"):
        await archive.put("third", failing())

    assert await content(archive, "first") == b"".join(large)
    assert await archive.list("") == [("first", len(large) * PIECE_BYTES), ("second", 5)]
    assert [path.name for path in (server.objects / BUCKET / "large").rglob("*") if path.is_file()] == ["first", "second"]


@pytest.mark.cluster
async def test_more_objects_than_one_page_are_listed(server: S3Server) -> None:
    """A page holds a thousand."""
    folder = server.objects / BUCKET / "many" / "a"
    folder.mkdir(parents=True)
    for number in range(1100):
        (folder / f"{number:04d}").write_bytes(b"1")
    archive = open_bucket(Bucket(name=BUCKET, prefix="many"), server.settings())

    assert [one.name for one in await archive.list("a/")] == [f"a/{number:04d}" for number in range(1100)]
    assert len(await archive.list("a/10")) == 100


@pytest.mark.cluster
async def test_a_bucket_may_be_part_of_the_hosts_name(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Amazon's own are. No resolver knows the name here, so the server is asked as a proxy, which is told the name."""
    monkeypatch.setenv("http_proxy", server.url)
    archive = open_bucket(Bucket(name=BUCKET, prefix="virtual"), server.settings(url=f"http://{DOMAIN}", addressing="virtual"))

    await archive.put("a", given(b"one"))

    assert await content(archive, "a") == b"one"
    assert (server.objects / BUCKET / "virtual" / "a").read_bytes() == b"one"


@pytest.mark.cluster
async def test_a_wrong_key_and_a_bucket_that_is_not_there_are_told(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The object itself is not said to be missing; and the right key, which the environment has, is not used."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    (tmp_path / "wrong").write_text("x", encoding="utf-8")
    refused = open_bucket(Bucket(name=BUCKET), server.settings(secret_key_file=str(tmp_path / "wrong")))
    absent = open_bucket(Bucket(name="absent"), server.settings())

    for archive in (refused, absent):
        for asked in (archive.put("a", given(b"x")), archive.list("")):
            with pytest.raises(Unavailable) as told:
                await asked
            assert told.value.dependency == "s3"
            assert "kalends-test" not in told.value.detail


@pytest.mark.cluster
async def test_a_server_that_stands_still_or_is_away_ends_in_an_error(tmp_path: Path) -> None:
    """Within the deadline; and once it is back, the same archive works again."""
    with S3Server(tmp_path) as server:
        archive = open_bucket(Bucket(name=BUCKET), server.settings(request_s=0.3, deadline_s=1.0))
        await archive.put("a", given(b"one"))
        server.pause()
        with pytest.raises(KalendsError) as told:
            await content(archive, "a")
        assert told.value.code in {"unavailable", "deadline_exceeded"}
        server.stop()
        with pytest.raises(KalendsError):
            await archive.list("")
        server.start()

        assert await content(archive, "a") == b"one"


@pytest.mark.parametrize("left_out", ["access_key_file", "secret_key_file"])
def test_a_bucket_without_a_key_is_refused_at_the_start(tmp_path: Path, left_out: str) -> None:
    """The key of the machine's own role is not asked for."""
    (tmp_path / "key").write_text("x", encoding="utf-8")
    named = {"access_key_file": str(tmp_path / "key"), "secret_key_file": str(tmp_path / "key")}

    with pytest.raises(Misconfigured, match=left_out):
        open_bucket(Bucket(name=BUCKET), S3Settings(**{**named, left_out: ""}))
    with pytest.raises(Misconfigured, match="cannot be read"):
        open_bucket(Bucket(name=BUCKET), S3Settings(**{**named, left_out: str(tmp_path / "none")}))
