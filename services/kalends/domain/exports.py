"""Exports: the file in which a memory leaves and comes back.

Belongs here: its name, its version, which kinds of lines it has in which order, and the sums by which a file is known to be whole. Does not
belong here: JSON (``wire.exported`` on the server's side, ``client.export_files`` on the other). A newcomer would get wrong: nothing in a
file says where or when it was made, or under which name the memory was kept; the same content is the same bytes, wherever it is exported.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FORMAT = "kalends-export"
VERSION = 1

SECTIONS: Mapping[str, int] = {"event": 1, "document": 2, "grip": 3, "node": 3, "session": 4}
"""The kinds of lines between the first and the last, and their order: a grip stands before the first node that cites it."""

LINE_BYTES = 8 * 1024 * 1024
"""The longest line that is read, far above the largest event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """How many lines of a kind there are, and the SHA-256 of them in order, each with its line feed, as hex digits."""

    lines: int
    sha256: str


class Sums:
    """Sums of a file that is being written or read."""

    def __init__(self) -> None:
        self._counts = dict.fromkeys(SECTIONS, 0)
        self._hashes: Mapping[str, Any] = {kind: hashlib.sha256() for kind in SECTIONS}

    def add(self, kind: str, line: bytes) -> None:
        """Count one *line* of *kind*, with its line feed."""
        self._counts[kind] += 1
        self._hashes[kind].update(line)

    def sums(self) -> Mapping[str, Sum]:
        """Of each kind."""
        return {kind: Sum(lines=count, sha256=self._hashes[kind].hexdigest()) for kind, count in self._counts.items()}
