"""Giving memory back loses nothing."""

import mmap
import sys
from pathlib import Path

from kalends.adapters.embedded import residency


def test_what_was_written_to_a_shared_mapping_is_still_there_after_its_pages_were_given_back(tmp_path: Path) -> None:
    """The pages leave the process, not the system."""
    path = tmp_path / "tokens" / "chunk"
    path.parent.mkdir()
    path.write_bytes(bytes(1 << 20))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[1000:1006] = b"marker"

        advised = residency.give_back(tmp_path, named="tokens")

        assert advised == ((1 << 20) if sys.platform == "linux" else 0)
        assert mapped[1000:1006] == b"marker"


def test_a_private_mapping_keeps_what_was_written_to_it(tmp_path: Path) -> None:
    """Its pages have no other home, so they are not touched."""
    path = tmp_path / "tokens"
    path.write_bytes(bytes(1 << 16))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as mapped:
        mapped[10:16] = b"marker"

        advised = residency.give_back(tmp_path, named="tokens")

        assert advised == 0
        assert mapped[10:16] == b"marker"
