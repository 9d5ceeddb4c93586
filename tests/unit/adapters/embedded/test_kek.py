"""The key-encryption key in a file: the port ``keys.Wrapper``."""

import stat
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalends.adapters.embedded.kek import FileWrapper
from kalends.domain.errors import Damaged, Misconfigured

KEY = bytes(range(32))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A key file that is not there yet, in a folder that is not there either."""
    return tmp_path / "keys" / "kek"


def test_a_missing_file_is_made_private_and_used_again(path: Path) -> None:
    """What was wrapped before a restart opens after it."""
    wrapped = FileWrapper.open(path).wrap(KEY, context=b"here")

    assert FileWrapper.open(path).unwrap(wrapped, context=b"here") == KEY
    assert len(path.read_bytes()) == 32
    assert sys.platform == "win32" or stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [left.name for left in path.parent.iterdir()] == ["kek"]


@given(key=st.binary(max_size=64), context=st.binary(max_size=64))
def test_every_key_comes_back_under_its_context(tmp_path_factory: pytest.TempPathFactory, key: bytes, context: bytes) -> None:
    """And the same key is wrapped otherwise each time."""
    wrapper = FileWrapper(KEY)
    first, second = wrapper.wrap(key, context=context), wrapper.wrap(key, context=context)

    assert first != second
    assert wrapper.unwrap(first, context=context) == wrapper.unwrap(second, context=context) == key


def test_a_wrapped_key_opens_only_where_it_belongs(path: Path, tmp_path: Path) -> None:
    """Not under another context, not under another key, not with one bit changed, not cut."""
    wrapper = FileWrapper.open(path)
    wrapped = wrapper.wrap(KEY, context=b"here")
    spoiled = wrapped[:-1] + bytes([wrapped[-1] ^ 1])

    for bytes_, context in ((wrapped, b"there"), (spoiled, b"here"), (wrapped[:20], b"here"), (b"", b"here")):
        with pytest.raises(Damaged):
            wrapper.unwrap(bytes_, context=context)
    with pytest.raises(Damaged):
        FileWrapper.open(tmp_path / "other").unwrap(wrapped, context=b"here")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
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
    path.write_bytes(content)
    path.chmod(0o600)

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
