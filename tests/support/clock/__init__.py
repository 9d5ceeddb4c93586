"""A wall clock that can be put forward and back under a running process.

Belongs here: building the shim and moving the clock. Does not belong here: what must hold. A newcomer would get wrong: programs that are
linked statically (nats-server) keep the machine's clock, so the two differ, as those of two machines may.
"""

import mmap
import struct
import subprocess
from pathlib import Path

_SOURCE = Path(__file__).with_name("shim.c")
_BUILD_S = 60.0


class WallClock:
    """The clock of whoever is started with ``settings``; *folder* is for its files."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._shim, self._file = folder / "clock.so", folder / "moved"
        command = ["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(self._shim), str(_SOURCE), "-ldl"]
        subprocess.run(command, check=True, capture_output=True, timeout=_BUILD_S)
        self._file.write_bytes(bytes(mmap.PAGESIZE))

    @property
    def settings(self) -> dict[str, str]:
        """The variables with which a process gets this clock."""
        return {"LD_PRELOAD": str(self._shim), "KALENDS_TEST_CLOCK": str(self._file)}

    def move(self, seconds: int) -> None:
        """Have it tell so many seconds more than the machine's does, from now on."""
        with self._file.open("r+b") as file, mmap.mmap(file.fileno(), mmap.PAGESIZE) as page:
            page[:8] = struct.pack("<q", seconds)
