"""The files of a folder that somebody writes to: what is in them, and which of them hold something.

Belongs here: walking and reading. Does not belong here: what is looked for. A newcomer would get wrong: brokers and engines make and remove
files and folders all the time, and what vanishes while it is looked at is no error.
"""

import os
from collections.abc import Iterator
from pathlib import Path


def below(*folders: Path) -> Iterator[Path]:
    """The regular files below *folders*, each folder's in order."""
    for folder in folders:
        for place, names, files in os.walk(folder):
            names.sort()
            yield from (path for path in map(Path(place).joinpath, sorted(files)) if path.is_file())


def contents(*folders: Path) -> Iterator[tuple[Path, bytes]]:
    """Those files and what is in them, but for locks, which say nothing and may not be readable."""
    for path in below(*folders):
        if path.name == "lock":
            continue
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue
        yield path, content


def holding(*folders: Path, needle: bytes) -> list[Path]:
    """The files below *folders* that hold *needle*."""
    return [path for path, content in contents(*folders) if needle in content]


def files_with(folder: Path, needle: bytes) -> list[str]:
    """The names of those in one folder."""
    return [path.name for path in holding(folder, needle=needle)]
