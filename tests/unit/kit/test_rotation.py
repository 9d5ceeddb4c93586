"""A file that begins anew when it is large enough."""

import threading
from pathlib import Path

import pytest

from kalends.kit.rotation import RotatingFile


def parts(path: Path) -> list[str]:
    """What each part holds, the newest first."""
    return [one.read_text(encoding="utf-8") for one in sorted(path.parent.glob(f"{path.name}*"))]


def test_a_full_part_is_kept_under_a_number_and_the_oldest_goes(tmp_path: Path) -> None:
    """As many as were asked for, and never half a line."""
    path = tmp_path / "kalends.log"
    file = RotatingFile(path, size=10, files=3)
    for number in range(10):
        file.write(f"line {number}\n")
    file.close()

    assert parts(path) == ["line 8\nline 9\n", "line 6\nline 7\n", "line 4\nline 5\n"]


def test_a_single_file_begins_anew(tmp_path: Path) -> None:
    """Nothing of before is kept."""
    path = tmp_path / "kalends.log"
    file = RotatingFile(path, size=5, files=1)
    for number in range(3):
        file.write(f"line {number}\n")
    file.close()

    assert parts(path) == ["line 2\n"]


def test_a_restart_goes_on_where_it_was(tmp_path: Path) -> None:
    """What a crash left is not lost, and counts."""
    path = tmp_path / "kalends.log"
    for text in ("first\n", "second\n", "third\n"):
        file = RotatingFile(path, size=10, files=2)
        file.write(text)
        file.close()

    assert parts(path) == ["third\n", "first\nsecond\n"]


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    """Lines hold ids, which are nobody else's business."""
    file = RotatingFile(tmp_path / "kalends.log", size=1, files=2)
    file.write("one\n")
    file.write("two\n")
    file.close()

    assert {one.stat().st_mode & 0o777 for one in tmp_path.iterdir()} == {0o600}


def test_lines_of_many_threads_are_whole(tmp_path: Path) -> None:
    """And none is lost while parts are renamed."""
    path = tmp_path / "kalends.log"
    file = RotatingFile(path, size=200, files=1000)

    def write(name: str) -> None:
        for number in range(100):
            file.write(f"{name} {number}\n")

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    file.close()

    assert sorted(line for text in parts(path) for line in text.splitlines()) == sorted(
        f"{name} {n}" for name in "abcd" for n in range(100)
    )


def test_a_folder_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    """When it is opened, not at the first line."""
    with pytest.raises(OSError, match="No such file"):
        RotatingFile(tmp_path / "absent" / "kalends.log", size=1, files=1)
