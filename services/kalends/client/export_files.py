"""Files of exports: put together from pages, checked before they are sent, and cut into what one request may carry. No network.

Belongs here: the first and the last line, what counts once, sums. Does not belong here: what the lines between say (the server's). A
newcomer would get wrong: a file is read twice, once to see that it is whole and once to send it, so nothing is written of one that was cut
off; and sessions and grips are told again in lines of their own, which must agree with events and nodes.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, BinaryIO

import msgspec
from msgspec import Struct

from kalends.domain.errors import Invalid, Malformed
from kalends.domain.events import microseconds
from kalends.domain.exports import FORMAT, LINE_BYTES, SECTIONS, VERSION, Sums
from kalends.domain.periods import period_of

LINES_OF_A_REQUEST = 400
BYTES_OF_A_REQUEST = 3 * 1024 * 1024
SPOILT = frozenset({"erased", "gone", "conflict", "refused", "kept"})
"""What may become of an event so that the calendar of its day says something that is not here."""

_encoder = msgspec.json.Encoder(order="deterministic")


class Header(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="begin"):
    """The first line. ``complete`` is false where the credential that exported lacked a label."""

    format: str
    version: int
    complete: bool


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many lines of a kind there are, and their SHA-256."""

    lines: int
    sha256: str


class Trailer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="type", tag="end"):
    """The last line. ``unreadable``: messages of the log that could not be read, and are not in the file."""

    sections: dict[str, Section]
    unreadable: int = 0


class SessionLine(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="session"):
    """A session, as its events tell."""

    session_id: str
    events: int
    first_at: datetime
    last_at: datetime


class _Seen(Struct, frozen=True, kw_only=True):
    """What is looked at of a line."""

    type: str
    session_id: str = ""
    occurred_at: datetime | None = None
    grip_id: str = ""
    node_id: str = ""
    bullets: list[dict[str, Any]] = []

    @property
    def grips(self) -> Iterator[str]:
        """The grips that a node's lines name."""
        for bullet in self.bullets:
            yield from (str(one) for one in bullet.get("grips", ()))


_seen = msgspec.json.Decoder(_Seen)


@dataclass(slots=True)
class _Sessions:
    """Sessions as the events of a file tell of them."""

    found: dict[str, tuple[int, datetime, datetime]] = field(default_factory=dict)

    def add(self, line: _Seen) -> None:
        at = datetime.min.replace(tzinfo=UTC) if line.occurred_at is None else line.occurred_at
        count, first, last = self.found.get(line.session_id, (0, at, at))
        self.found[line.session_id] = (count + 1, min(first, at), max(last, at))

    def lines(self) -> Iterator[bytes]:
        for session_id, (events, first, last) in sorted(self.found.items()):
            yield _encoder.encode(SessionLine(session_id=session_id, events=events, first_at=first, last_at=last)) + b"\n"


class Composer:
    """Puts a file together from pages, in their order."""

    def __init__(self) -> None:
        self._sums = Sums()
        self._sessions = _Sessions()
        self._grips: set[str] = set()
        self._nodes: dict[str, bytes] = {}
        self._unreadable = 0
        self._begun = False

    def take(self, lines: Iterable[str], *, complete: bool, unreadable: int = 0) -> Iterator[bytes]:
        """What one page adds to the file."""
        if not self._begun:
            self._begun = True
            yield _encoder.encode(Header(format=FORMAT, version=VERSION, complete=complete)) + b"\n"
        self._unreadable += unreadable
        for text in lines:
            line = text.encode()
            seen = _seen.decode(line)
            if not self._is_new(seen, line):
                continue
            if seen.type == "event":
                self._sessions.add(seen)
            self._sums.add(seen.type, line + b"\n")
            yield line + b"\n"

    def _is_new(self, seen: _Seen, line: bytes) -> bool:
        """Whether a line counts: a grip once, a version of a node unless it says what the one before it says."""
        if seen.type == "grip":
            if seen.grip_id in self._grips:
                return False
            self._grips.add(seen.grip_id)
        elif seen.type == "node":
            said = {name: value for name, value in msgspec.json.decode(line).items() if name not in {"recorded_at", "inputs"}}
            digest = hashlib.blake2b(_encoder.encode(said), digest_size=16).digest()
            if self._nodes.get(seen.node_id) == digest:
                return False
            self._nodes[seen.node_id] = digest
        return True

    def end(self) -> Iterator[bytes]:
        """What ends the file."""
        for line in self._sessions.lines():
            self._sums.add("session", line)
            yield line
        yield _encoder.encode(Trailer(sections=_sections(self._sums), unreadable=self._unreadable)) + b"\n"

    def counts(self) -> Mapping[str, int]:
        """How many lines of each kind there are."""
        return {kind: one.lines for kind, one in self._sums.sums().items()}


def _sections(sums: Sums) -> dict[str, Section]:
    return {kind: Section(lines=one.lines, sha256=one.sha256) for kind, one in sums.sums().items()}


def _numbered(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    number = 0
    while line := stream.readline(LINE_BYTES + 1):
        number += 1
        if len(line) > LINE_BYTES:
            raise _wrong(number, f"is longer than {LINE_BYTES} bytes")
        yield number, line


def _wrong(number: int, detail: str) -> Malformed:
    return Malformed(f"line {number} {detail}")


def is_export(first: bytes) -> bool:
    """Whether a file that begins with the line *first* says that it is an export."""
    try:
        found = msgspec.json.decode(first)
    except msgspec.DecodeError:
        return False
    return isinstance(found, dict) and found.get("type") == "begin" and found.get("format") == FORMAT


def check(stream: BinaryIO) -> Mapping[str, int]:
    """See that an export is whole and says nothing that contradicts itself; how many lines of each kind it has.

    Raises:
        Malformed: it does not; the detail names the line.
    """
    lines = _numbered(stream)
    _header(next(lines, (1, b"")))
    sums, sessions, grips, rank = Sums(), _Sessions(), set[str](), 0
    number = 1
    for number, line in lines:
        try:
            seen = _seen.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _wrong(number, f"is no line of an export: {error}") from None
        if seen.type == "end":
            return _ended(number, line, sums, sessions, next(lines, None))
        if not line.endswith(b"\n") or SECTIONS.get(seen.type, 0) < max(rank, 1):
            raise _wrong(number, f"of kind {seen.type!r} does not belong here")
        rank = SECTIONS[seen.type]
        if seen.type == "event":
            sessions.add(seen)
        elif seen.type == "grip":
            grips.add(seen.grip_id)
        elif seen.type == "node" and (missing := [one for one in seen.grips if one not in grips]):
            raise _wrong(number, f"cites {missing[0]}, which does not stand before it")
        sums.add(seen.type, line)
    raise _wrong(number + 1, "should be there: the file was cut off")


def _header(first: tuple[int, bytes]) -> None:
    if not is_export(first[1]):
        raise _wrong(1, "is not the beginning of an export")
    try:
        header = msgspec.json.decode(first[1], type=Header)
    except msgspec.DecodeError as error:
        raise _wrong(1, f"is not the beginning of an export: {error}") from None
    if header.version != VERSION:
        raise _wrong(1, f"is of version {header.version}; this program reads version {VERSION}")


def _ended(number: int, line: bytes, sums: Sums, sessions: _Sessions, more: tuple[int, bytes] | None) -> Mapping[str, int]:
    try:
        told = msgspec.json.decode(line, type=Trailer).sections
    except msgspec.DecodeError as error:
        raise _wrong(number, f"is not the end of an export: {error}") from None
    if not line.endswith(b"\n"):
        raise _wrong(number, "is not whole: the file was cut off")
    if more is not None:
        raise _wrong(more[0], "stands behind the end")
    expected = Sums()
    for one in sessions.lines():
        expected.add("session", one)
    for kind, section in _sections(sums).items():
        if told.get(kind) != section:
            raise _wrong(number, f"tells of other {kind} lines than there are: one was changed, lost or added")
    if expected.sums()["session"] != sums.sums()["session"]:
        raise _wrong(number, "ends a file whose sessions are not those of its events")
    return {kind: section.lines for kind, section in told.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A line that is sent, its number in the file (None: a grip that comes with a node), and its kind and time if it is an event's."""

    text: str
    number: int | None
    kind: str
    occurred_at: datetime | None = None


class Untaken(Struct, frozen=True, kw_only=True):
    """A line that was not taken, and why."""

    line: int
    status: str
    reason: str = ""


class LineFault(Struct, frozen=True, kw_only=True):
    """Why a line was not taken."""

    pointer: str = ""
    detail: str = ""
    code: str = ""


class LineResult(Struct, frozen=True, kw_only=True):
    """What became of a line."""

    status: str
    error: LineFault | None = None
    masked: list[str] = []


class ImportReport(Struct, kw_only=True):
    """What became of a file, by kind of line and in words: new, duplicate, known, remade, erased, gone, conflict, kept, refused.

    ``remade``: versions of the calendar that were left out, because something of their time was not taken or was masked; the calendar is
    made anew there. ``masked``: lines of which something was kept out. ``untaken``: the first hundred that were not taken.
    """

    events: dict[str, int] = {}
    documents: dict[str, int] = {}
    nodes: dict[str, int] = {}
    masked: int = 0
    untaken: list[Untaken] = []
    visibility: str = ""

    @property
    def failed(self) -> int:
        """How many lines were not taken although nobody erased them."""
        counts = [self.events, self.documents, self.nodes]
        return sum(one.get(word, 0) for one in counts for word in ("conflict", "kept", "refused"))


_TOLD = 100


class Loading:
    """Cuts an export that was checked into requests; what became of one must be learnt before the next is taken."""

    def __init__(self, stream: BinaryIO) -> None:
        self.report = ImportReport()
        self._stream = stream
        self._grips: dict[str, str] = {}
        self._spoilt: list[int] = []
        self._counts: Mapping[str, Counter[str]] = {kind: Counter() for kind in ("event", "document", "node")}

    def batches(self) -> Iterator[Sequence[Sent]]:
        """What to send, in order. A batch holds one kind of line only, so that what events became is known before their calendar comes."""
        batch: list[Sent] = []
        size, kind = 0, ""
        for number, line in _numbered(self._stream):
            seen = _seen.decode(line)
            if seen.type == "grip":
                self._grips[seen.grip_id] = line.decode().rstrip("\n")
            if seen.type not in self._counts:
                continue
            if batch and seen.type != kind:
                yield batch
                batch, size = [], 0
            kind = seen.type
            if kind == "node" and self._is_spoilt(seen.node_id):
                self._counts["node"]["remade"] += 1
                continue
            some = [*self._cited(seen, batch), _sent(line, seen, number)]
            weight = sum(len(_encoder.encode(one.text)) for one in some)
            if batch and (len(batch) + len(some) > LINES_OF_A_REQUEST or size + weight > BYTES_OF_A_REQUEST):
                yield batch
                batch, size = [], 0
                some = [*self._cited(seen, batch), some[-1]]
            batch += some
            size += weight
        if batch:
            yield batch

    def _cited(self, seen: _Seen, batch: Sequence[Sent]) -> list[Sent]:
        there = {one.text for one in batch if one.number is None}
        wanted = dict.fromkeys(self._grips[one] for one in seen.grips)
        return [Sent(text=text, number=None, kind="grip") for text in wanted if text not in there]

    def _is_spoilt(self, node_id: str) -> bool:
        if not self._spoilt:
            return False
        try:
            start, end = period_of(node_id).span_us
        except Invalid:
            return False  # the server says what is wrong with it
        return any(start <= at < end for at in self._spoilt)

    def learn(self, batch: Sequence[Sent], results: Sequence[LineResult], *, visibility: str) -> None:
        """Count what became of *batch*."""
        for sent, result in zip(batch, results, strict=True):
            if sent.number is None:
                continue
            self._counts[sent.kind][result.status] += 1
            self.report.masked += bool(result.masked)
            if sent.occurred_at is not None and (result.status in SPOILT or result.masked):
                self._spoilt.append(microseconds(sent.occurred_at))
            if result.status in SPOILT and len(self.report.untaken) < _TOLD:
                reason = "" if result.error is None else _reason(result.error)
                self.report.untaken.append(Untaken(line=sent.number, status=result.status, reason=reason))
        self.report.events, self.report.documents, self.report.nodes = (dict(one) for one in self._counts.values())
        self.report.visibility = visibility if batch and batch[0].kind == "event" and visibility else self.report.visibility


def _sent(line: bytes, seen: _Seen, number: int) -> Sent:
    at = seen.occurred_at if seen.type == "event" else None
    return Sent(text=line.decode().rstrip("\n"), number=number, kind=seen.type, occurred_at=at)


def _reason(fault: LineFault) -> str:
    """A fault of a line in words; its place in the request means nothing to whoever has the file."""
    where = fault.pointer.split("/", 3)[3:]
    return f"/{where[0]}: {fault.detail}" if where else fault.detail
