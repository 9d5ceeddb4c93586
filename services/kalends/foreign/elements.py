"""Records of a file: JSON objects one on each line, in an array, or one after another; read without holding the file.

Belongs here: where an object begins and ends, and its line. Does not belong here: what it says. A newcomer would get wrong: a file of lines
goes on after one that is no JSON, but in an array nobody can tell where the next object begins, so it ends there.
"""

import re
from collections.abc import Iterator
from typing import Any, BinaryIO

import msgspec

from kalends.foreign.drafts import Bad, Record

RECORD_BYTES = 256 * 1024 * 1024
"""The longest record that is held in memory: a conversation of years."""

_CHUNK = 1 << 20
_OUTSIDE = re.compile(rb'["{}]')
_INSIDE = re.compile(rb'["\\]')
_BETWEEN = b" \t\r\n,[]\xef\xbb\xbf"


def lines(stream: BinaryIO) -> Iterator[Record | Bad]:
    """The object on each line that is not empty."""
    number = 0
    while raw := stream.readline(RECORD_BYTES):
        number += 1
        content = raw.strip().removeprefix(b"\xef\xbb\xbf")
        if content:
            yield _record(content, number)


def objects(stream: BinaryIO) -> Iterator[Record | Bad]:
    """The objects of an array, or those that stand one after another, however they are broken into lines."""
    scanner = _Scanner()
    while chunk := stream.read(_CHUNK):
        for found in scanner.feed(chunk):
            yield found
            if scanner.lost:
                return
    yield from scanner.end()


class _Scanner:
    """Finds where objects begin and end. ``lost``: from here on nobody can tell."""

    def __init__(self) -> None:
        self.lost = False
        self._held = bytearray()
        self._line = 1
        self._at = 0
        self._start = 0
        self._depth = 0
        self._in_text = False

    def feed(self, chunk: bytes) -> Iterator[Record | Bad]:
        """What is whole now that *chunk* has come."""
        self._held += chunk
        while found := (_INSIDE if self._in_text else _OUTSIDE).search(self._held, self._at):
            mark, self._at = found.group(), found.end()
            if mark == b'"':
                self._in_text = not self._in_text
            elif mark == b"\\":
                if self._at == len(self._held):
                    self._at -= 1  # what it escapes has not come yet
                    return
                self._at += 1
            elif mark == b"{":
                self._start = found.start() if self._depth == 0 else self._start
                self._depth += 1
            elif mark == b"}":
                yield from self._closed()
                if self.lost:
                    return
        self._at = len(self._held)
        if len(self._held) > RECORD_BYTES:
            self.lost = True
            yield Bad(line=self._line, reason=f"is longer than {RECORD_BYTES} bytes")

    def _closed(self) -> Iterator[Record | Bad]:
        self._depth -= 1
        if self._depth < 0:
            self.lost = True
            yield Bad(line=self._line + self._held.count(b"\n", 0, self._at), reason="closes what was never opened")
        elif self._depth == 0:
            yield from _between(self._held[: self._start], self._line)
            begins = self._line + self._held.count(b"\n", 0, self._start)
            yield _record(bytes(self._held[self._start : self._at]), begins)
            self._line = begins + self._held.count(b"\n", self._start, self._at)
            del self._held[: self._at]
            self._at = 0

    def end(self) -> Iterator[Bad]:
        """What is wrong if nothing more comes."""
        if self._depth or self._in_text:
            yield Bad(line=self._line + self._held.count(b"\n", 0, self._start), reason="is not closed: the file was cut off")
        else:
            yield from _between(self._held, self._line)


def _between(raw: bytes | bytearray, line: int) -> Iterator[Bad]:
    if raw.strip(_BETWEEN):
        yield Bad(line=line, reason="holds something that is no JSON object")


def _record(content: bytes, line: int) -> Record | Bad:
    try:
        return Record(line=line, value=msgspec.json.decode(content, type=dict[str, Any]))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return Bad(line=line, reason=f"is no JSON object: {error}")


def by_lines(first: bytes) -> bool:
    """Whether a file that begins with the line *first* has an object on each line."""
    try:
        return isinstance(msgspec.json.decode(first.strip().removeprefix(b"\xef\xbb\xbf")), dict)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
