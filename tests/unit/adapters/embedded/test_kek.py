"""Key-encryption keys in files: the port ``kek.Wrapper``."""

import base64
import stat
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalends.adapters.embedded.kek import FileWrapper, add_successor, name_of, read_folder
from kalends.domain.errors import Damaged, KalendsError, Misconfigured, Unavailable
from kalends.domain.wrapped_keys import decode, kek_of
from kalends.kit import aead
from kalends.ports.kek import Bound

KEY = bytes(range(32))
OTHER = bytes(range(1, 33))
HERE = b"here"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A key file that is not there yet, in a folder that is not there either."""
    return tmp_path / "keys" / "kek"


async def wrap(wrapper: FileWrapper, key: bytes = KEY, context: bytes = HERE) -> bytes:
    """One key, wrapped."""
    (wrapped,) = await wrapper.wrap([Bound(key=key, context=context)])
    return wrapped


async def unwrap(wrapper: FileWrapper, wrapped: bytes, context: bytes = HERE) -> bytes | KalendsError:
    """One key, unwrapped, or why it is not."""
    (key,) = await wrapper.unwrap([Bound(key=wrapped, context=context)])
    return key


def fingerprint(path: Path) -> str:
    """The name of the key in a file."""
    return name_of(path.read_bytes())


def remove(path: Path) -> None:
    """Take the file away."""
    path.unlink()


def put(path: Path, content: bytes, mode: int = 0o600) -> Path:
    """A file with *content* for its owner."""
    path.write_bytes(content)
    path.chmod(mode)
    return path


async def test_a_missing_file_is_made_and_used_again(path: Path) -> None:
    """What was wrapped before a restart opens after it."""
    wrapped = await wrap(FileWrapper.open(path))

    assert await unwrap(FileWrapper.open(path), wrapped) == KEY


def test_a_key_file_is_whole_and_private(path: Path) -> None:
    """And nothing is left beside it."""
    FileWrapper.open(path)

    assert len(path.read_bytes()) == 32
    assert sys.platform == "win32" or stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [left.name for left in path.parent.iterdir()] == ["kek"]


@given(key=st.binary(min_size=32, max_size=32), context=st.binary(max_size=64))
async def test_every_key_comes_back_under_its_context(key: bytes, context: bytes) -> None:
    """And the same key is wrapped otherwise each time."""
    wrapper = FileWrapper(KEY)
    first, second = await wrapper.wrap([Bound(key=key, context=context)] * 2)

    assert first != second
    assert await wrapper.unwrap([Bound(key=first, context=context), Bound(key=second, context=context)]) == [key, key]


async def test_a_wrapped_key_opens_only_where_it_belongs(path: Path) -> None:
    """Not under another context, not with one bit changed, not cut."""
    wrapper = FileWrapper.open(path)
    wrapped = await wrap(wrapper)
    spoiled = wrapped[:-1] + bytes([wrapped[-1] ^ 1])

    for bytes_, context in ((wrapped, b"there"), (spoiled, HERE), (wrapped[:30], HERE), (b"", HERE)):
        assert isinstance(await unwrap(wrapper, bytes_, context), Damaged)


async def test_a_key_of_another_key_file_is_not_lost_but_away(path: Path, tmp_path: Path) -> None:
    """Its file may be on its way here; nothing that it opens may be passed over."""
    found = await unwrap(FileWrapper.open(tmp_path / "other"), await wrap(FileWrapper.open(path)))

    assert isinstance(found, Unavailable)
    assert found.dependency == "keys"


async def test_a_key_from_before_there_were_names_opens_under_any_version(path: Path) -> None:
    """Whichever version wraps by now; and under none it is damaged."""
    path.parent.mkdir()
    put(path, KEY)
    nonce, sealed = aead.Box(KEY).seal(OTHER, context=HERE)
    add_successor(path)

    assert await unwrap(FileWrapper.open(path), nonce + sealed) == OTHER
    assert isinstance(await unwrap(FileWrapper(OTHER), nonce + sealed), Damaged)


async def test_a_successor_wraps_once_somebody_asks_for_the_newest_and_the_first_still_opens(path: Path) -> None:
    """Also in a process that started before there was one; one that has only read about it looks for it by itself."""
    running, idle = FileWrapper.open(path), FileWrapper.open(path)
    before = await wrap(running)
    first = await running.newest()
    made = add_successor(path)

    second = await running.newest()
    after = await wrap(running)

    assert made.name == "kek.2"
    assert first == kek_of(before) == fingerprint(path)
    assert second == kek_of(after) == fingerprint(made)
    assert await unwrap(idle, after) == KEY
    assert await unwrap(running, before) == KEY
    assert running.label(second) == f"version 2 ({second[:8]})"


async def test_the_first_file_may_go_when_nothing_needs_it(path: Path) -> None:
    """No new first file is made in its place, which would look like the old one."""
    FileWrapper.open(path)
    add_successor(path)
    remove(path)

    wrapper = FileWrapper.open(path)

    assert await wrapper.newest() == fingerprint(path.with_name("kek.2"))
    assert not wrapper.knows(name_of(KEY))


async def test_files_that_cannot_be_read_again_leave_the_keys_that_were_read(path: Path) -> None:
    """A mount that is exchanged is empty for a moment."""
    wrapper = FileWrapper.open(path)
    wrapped = await wrap(wrapper)
    remove(path)

    assert await wrapper.newest() == kek_of(wrapped)
    assert await unwrap(wrapper, wrapped) == KEY


def test_a_file_that_others_can_read_is_refused_with_the_way_to_mend_it(path: Path) -> None:
    """The key may be known to somebody already, which only a person can judge."""
    FileWrapper.open(path)
    path.chmod(0o640)

    with pytest.raises(Misconfigured, match="chmod 600"):
        FileWrapper.open(path)


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33])
def test_a_file_of_another_length_is_refused_and_kept(path: Path, content: bytes) -> None:
    """A new key in its place would open nothing that exists."""
    path.parent.mkdir()
    put(path, content)

    with pytest.raises(Misconfigured, match="backup"):
        FileWrapper.open(path)
    assert path.read_bytes() == content


def test_a_path_that_cannot_hold_a_file_is_refused(tmp_path: Path) -> None:
    """A folder in its place, or a file where its folder should be."""
    (tmp_path / "folder").mkdir(mode=0o700)
    (tmp_path / "file").write_bytes(b"")
    for wrong in (tmp_path / "folder", tmp_path / "file" / "kek"):
        with pytest.raises(Misconfigured):
            FileWrapper.open(wrong)


async def test_in_a_folder_the_highest_number_wraps_unless_current_says_otherwise(tmp_path: Path) -> None:
    """Raw or as base64; 10 is more than 9, and what begins with a dot is the mount's."""
    put(tmp_path / "9", KEY, 0o440)
    put(tmp_path / "10", base64.b64encode(OTHER) + b"\n", 0o440)
    put(tmp_path / "..2026_mount", b"not a key")

    assert read_folder(tmp_path).newest == "10"
    wrapper = FileWrapper.open_folder(tmp_path)
    assert await wrapper.newest() == name_of(OTHER)

    put(tmp_path / "current", b"9\n")
    assert await wrapper.newest() == name_of(KEY)
    assert wrapper.knows(name_of(OTHER))
    assert decode(await wrap(wrapper)).kek == name_of(KEY)


def test_a_folder_without_a_usable_key_is_refused(tmp_path: Path) -> None:
    """Empty, missing, with a current version that is not there, with a file that everybody reads, or with one that is no key."""
    with pytest.raises(Misconfigured, match="holds no key"):
        read_folder(tmp_path)
    with pytest.raises(Misconfigured, match="cannot be read"):
        read_folder(tmp_path / "missing")
    put(tmp_path / "1", KEY)
    put(tmp_path / "current", b"7")
    with pytest.raises(Misconfigured, match="does not hold"):
        read_folder(tmp_path)
    put(tmp_path / "current", b"1")
    put(tmp_path / "2", b"password", 0o600)
    with pytest.raises(Misconfigured, match="32 bytes"):
        read_folder(tmp_path)
    put(tmp_path / "2", OTHER, 0o644)
    with pytest.raises(Misconfigured, match="defaultMode"):
        read_folder(tmp_path)


def test_there_is_no_successor_without_a_first(path: Path) -> None:
    """The first start makes the first."""
    with pytest.raises(Misconfigured, match="first start"):
        add_successor(path)
