"""Documents: Markdown or plain text cut into chunks.

Belongs here: where to cut. Does not belong here: how tokens are counted (an argument). A newcomer would get wrong: a heading starts a
chunk and belongs to it; a code fence is never cut unless it alone is larger than a chunk may be, and then only between its lines.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

_HEADING = re.compile(r" {0,3}(#{1,6})(?:\s(.*))?$")
_FENCE = re.compile(r" {0,3}(`{3,}(?!.*`)|~{3,})")
"""Backticks that are closed on their own line are code within a sentence, not a fence."""

_SENTENCE_END = re.compile(r"(?<=[.!?\u3002\uff01\uff1f])\s+|(?<=[\u3002\uff01\uff1f])")

Count = Callable[[str], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A part of a document: its number from 0, the headings above it from the outermost, and its text."""

    number: int
    headings: tuple[str, ...]
    text: str


@dataclass(slots=True)
class _Block:
    """Lines that belong together: a paragraph, a fence, or a heading."""

    text: str
    headings: tuple[str, ...]
    fence: bool = False
    heading: bool = False


@dataclass(slots=True)
class _Cutter:
    """Gathers blocks into chunks of at most ``limit`` tokens."""

    limit: int
    count: Count
    chunks: list[Chunk] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    headings: tuple[str, ...] = ()
    tokens: int = 0

    def close(self) -> None:
        """End the chunk that is open."""
        text = "\n\n".join(self.parts).strip("\n")
        if text.strip():
            self.chunks.append(Chunk(number=len(self.chunks), headings=self.headings, text=text))
        self.parts, self.tokens = [], 0

    def add(self, text: str, tokens: int, headings: tuple[str, ...]) -> None:
        """Put *text* into the open chunk, or into a new one if it would grow too large."""
        if self.parts and self.tokens + tokens > self.limit:
            self.close()
        if not self.parts:
            self.headings = headings
        self.parts.append(text)
        self.tokens += tokens


def chunks(text: str, *, limit: int, count: Count, markdown: bool = True) -> Sequence[Chunk]:
    """Cut *text* into chunks of at most *limit* tokens as *count* counts them; joined they hold every line that is not blank."""
    cutter = _Cutter(limit=limit, count=count)
    for block in _blocks(text, markdown=markdown):
        if block.heading:
            cutter.close()
        tokens = count(block.text)
        if tokens <= limit:
            cutter.add(block.text, tokens, block.headings)
            continue
        cutter.close()
        for piece in _pieces(block.text, limit=limit, count=count, fence=block.fence):
            cutter.add(piece, count(piece), block.headings)
            cutter.close()
    cutter.close()
    return cutter.chunks


def _blocks(text: str, *, markdown: bool) -> list[_Block]:
    """Paragraphs, headings and fences in order, each with the headings above it."""
    blocks: list[_Block] = []
    lines: list[str] = []
    path: list[tuple[int, str]] = []
    fence: str | None = None

    def end(*, is_fence: bool = False) -> None:
        if lines:
            blocks.append(_Block("\n".join(lines), tuple(title for _, title in path), fence=is_fence))
            lines.clear()

    for line in text.splitlines():
        mark = _FENCE.match(line) if markdown else None
        if fence is not None:
            lines.append(line)
            if mark and mark.group(1).startswith(fence) and not line.strip().strip(fence[0]):
                end(is_fence=True)
                fence = None
        elif mark:
            end()
            fence = mark.group(1)
            lines.append(line)
        elif markdown and (heading := _HEADING.match(line)):
            end()
            level = len(heading.group(1))
            path = [(above, title) for above, title in path if above < level] + [(level, _title(heading.group(2) or ""))]
            blocks.append(_Block(line, tuple(title for _, title in path), heading=True))
        elif line.strip():
            lines.append(line)
        else:
            end()
    end(is_fence=fence is not None)
    return blocks


def _title(text: str) -> str:
    """A heading without the marks that may close it; ``C#`` keeps its own. Not a pattern: one would take cubic time on blanks."""
    text = text.strip()
    opened = text.rstrip("#")
    return opened.rstrip() if not opened or opened[-1].isspace() else text


def _pieces(text: str, *, limit: int, count: Count, fence: bool) -> list[str]:
    """*text*, which is too large for one chunk, in pieces that are not: by lines, then sentences, then words, then characters."""
    splitters: list[Callable[[str], list[str]]] = [str.splitlines] if fence else [str.splitlines, _sentences, str.split]
    joints = ["\n", " ", " "]
    for splitter, joint in zip(splitters, joints, strict=False):
        units = [unit for unit in splitter(text) if unit]
        if len(units) > 1:
            return _packed(units, joint=joint, limit=limit, count=count, fence=fence)
    half = len(text) // 2
    if half == 0 or count(text) <= limit:
        return [text]
    return _pieces(text[:half], limit=limit, count=count, fence=fence) + _pieces(text[half:], limit=limit, count=count, fence=fence)


def _sentences(text: str) -> list[str]:
    return [part or "" for part in _SENTENCE_END.split(text)]


def _packed(units: Sequence[str], *, joint: str, limit: int, count: Count, fence: bool) -> list[str]:
    pieces: list[str] = []
    open_units: list[str] = []
    tokens = 0
    for unit in units:
        size = count(unit)
        if open_units and tokens + size > limit:
            pieces.append(joint.join(open_units))
            open_units, tokens = [], 0
        if size > limit:
            pieces += _pieces(unit, limit=limit, count=count, fence=fence)
        else:
            open_units.append(unit)
            tokens += size
    if open_units:
        pieces.append(joint.join(open_units))
    return pieces
