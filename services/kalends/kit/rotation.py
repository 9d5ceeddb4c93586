"""A file that begins anew when it is large enough, and of whose earlier parts a few are kept.

Belongs here: writing, renaming, forgetting the oldest. Does not belong here: what is written. A newcomer would get wrong: a text is never
cut in two, so a part may be a little longer than its size; and a disk that is full raises nothing but ``OSError`` to whoever writes.
"""

import os
import threading
from pathlib import Path
from typing import TextIO


class RotatingFile:
    """*path*, of about *size* bytes at most, and behind it ``path.1`` (the newest) and so on, *files* in all; mode 0600."""

    def __init__(self, path: Path, *, size: int, files: int) -> None:
        self._path = path
        self._size = size
        self._files = files
        self._lock = threading.Lock()
        self._file = self._opened()

    def write(self, text: str) -> None:
        """Append *text*, which is whole lines; safe from any thread.

        Raises:
            OSError: there is no room, or the folder is gone.
        """
        with self._lock:
            if self._file.tell() >= self._size:
                self._begin_anew()
            self._file.write(text)
            self._file.flush()

    def close(self) -> None:
        """Close it."""
        with self._lock:
            self._file.close()

    def _begin_anew(self) -> None:
        self._file.close()
        try:
            self._part(self._files).unlink(missing_ok=True)
            for number in range(self._files - 1, 0, -1):
                if self._part(number - 1).exists():
                    self._part(number - 1).rename(self._part(number))
            if self._files == 1:
                self._path.unlink(missing_ok=True)
        finally:
            # also where nothing could be renamed: a longer file is better than none
            self._file = self._opened()

    def _part(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path

    def _opened(self) -> TextIO:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        file = os.fdopen(descriptor, "a", encoding="utf-8")
        file.seek(0, os.SEEK_END)
        return file
