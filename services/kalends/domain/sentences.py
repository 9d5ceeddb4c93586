"""Sentences: a text in pieces that can be cited, and the excerpt of one.

Belongs here: where a sentence ends, in the languages that people write to agents. Does not belong here: which sentence matters. A newcomer
would get wrong: a sentence is a slice of its text, letter by letter, and nothing but blanks lies between two of them, so that evidence can
be found again; and a dot ends nothing unless a blank follows, which leaves numbers, addresses and file names whole.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from kalends.kit import graphemes

EXCERPT_CHARS = 300
"""The longest excerpt, in characters."""

_WRAPPED_CHARS = 50
"""A line at least this long may have been broken by a mail program rather than by its writer."""

_WORD_SEARCH_CHARS = 40
"""An excerpt ends at a blank, if there is one among so many characters before its end."""

_LINE = re.compile(r"[^\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+")
_FENCE = re.compile(r"[ \t]{0,3}(`{3,}(?!.*`)|~{3,})")
_CLOSERS = "\"'\u201d\u2019\u00bb\u300d\u300f\uff09)\\]*_"
_END = re.compile(
    # the lookbehind lets a run of marks be tried once only, else a text of dots would take quadratic time
    rf"(?<![.!?\u2026])[.!?\u2026]++[{_CLOSERS}]*+(?=\s)"
    # these need no blank after them: Chinese and Japanese, Arabic and Urdu, Hindi, Amharic, Burmese, Khmer
    rf"|[\u3002\uff01\uff1f\uff61\u061f\u06d4\u0964\u0965\u1362\u104b\u17d4]++[{_CLOSERS}]*+"
)
_SPACED = frozenset(".!?\u2026")

_TITLES = (
    "mr mrs ms mx dr prof rev hon st mt sgt capt gen col lt messrs e.g i.e eg ie cf vs viz al fig figs eq vol pp approx resp ca "
    "z.b d.h u.a o.\u00e4 z.t bzw evtl ggf inkl exkl hr fr nr str abs \u00a7 sra srta ud uds mme mlle p.ex n\u00b0 sig sig.ra dott ing "
    "dhr mevr bijv d.w.z o.a \u0442.\u0435 \u0442.\u043a \u0442.\u0434 \u0433 \u0443\u043b"
)
_SHORT_FORMS = (
    "etc inc ltd co corp jr sr no a.m p.m am pm u.s u.k u.s.a ph.d usw usf min max dept est ext tel "
    "jan feb mar apr jun jul aug sep sept oct nov dec mon tue wed thu fri sat sun"
)

_BEFORE_A_NAME = frozenset(_TITLES.split())
"""After these a dot ends nothing."""

_EITHER = frozenset(_SHORT_FORMS.split())
"""After these a dot ends a sentence only before a capital."""

_MONTHS = ("jan", "feb", "m\u00e4r", "apr", "mai", "jun", "jul", "aug", "sep", "okt", "nov", "dez")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """``text[start:end]``, without blanks at either end."""

    start: int
    end: int
    text: str


def split(text: str) -> list[Sentence]:
    """The sentences of *text* in order; lines of a list are pieces of their own, and a code fence is one piece."""
    found = []
    for start, end, is_fence in _blocks(text):
        pieces = [(start, end)] if is_fence else _pieces(text, start, end)
        for first, last in pieces:
            piece = text[first:last]
            kept = piece.strip()
            if kept:
                begin = first + len(piece) - len(piece.lstrip())
                found.append(Sentence(start=begin, end=begin + len(kept), text=kept))
    return found


def excerpt(text: str) -> str:
    """The beginning of *text*, at most ``EXCERPT_CHARS`` characters, cut between two words if it can be, never within a cluster."""
    if len(text) <= EXCERPT_CHARS:
        return text
    cut = graphemes.cut(text, EXCERPT_CHARS)
    blank = max((index for index in range(len(cut) - 1, len(cut) - _WORD_SEARCH_CHARS, -1) if cut[index].isspace()), default=0)
    return graphemes.cut(cut, blank) if blank else cut


def _blocks(text: str) -> Iterator[tuple[int, int, bool]]:
    """Start, end and whether it is a fence: of lines, of lines that a mail program broke, and of fences with all that is in them."""
    opened: tuple[int, str] | None = None
    block: tuple[int, int] | None = None
    for line in _LINE.finditer(text):
        start, end = line.span()
        mark = _FENCE.match(text, start, end)
        if opened is not None:
            if mark and mark.group(1).startswith(opened[1]) and not text[mark.end() : end].strip():
                yield opened[0], end, True
                opened = None
            continue
        if mark is None and block is not None and _is_wrapped(text, block, start):
            block = (block[0], end)
            continue
        if block is not None:
            yield *block, False
        block = None if mark else (start, end)
        opened = (start, mark.group(1)) if mark else None
    if block is not None:
        yield *block, False
    if opened is not None:
        yield opened[0], len(text), True


def _is_wrapped(text: str, block: tuple[int, int], start: int) -> bool:
    """Whether the line at *start* goes on with the sentence of the *block* before it."""
    first, last = block
    return last - first >= _WRAPPED_CHARS and start == last + 1 and text[start].islower() and text[last - 1] not in ".!?:;\u2026"


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    for mark in _END.finditer(text, start, end):
        if _is_end(text, start, end, mark):
            yield start, mark.end()
            start = mark.end()
    yield start, end


def _is_end(text: str, start: int, end: int, mark: re.Match[str]) -> bool:
    """Whether the *mark* ends the sentence that begins at *start*."""
    first = mark.group()[0]
    if first not in _SPACED:
        return True
    after = mark.end()
    while after < end and text[after].isspace():
        after += 1
    if after == end:
        return True
    follows = text[after]
    if mark.group() != ".":
        # three dots, or a question within quotes, may stand in the middle of a sentence
        hesitant = mark.group().startswith("..") or "\u2026" in mark.group() or mark.group()[-1] not in _SPACED
        return not (hesitant and follows.islower())
    before = mark.start()
    while before > start and not text[before - 1].isspace():
        before -= 1
    return _ends_after(text[before : mark.start()].lstrip("([{\"'\u201c\u2018\u00ab-*"), text, after, opens=before == _first(text, start))


def _ends_after(word: str, text: str, after: int, *, opens: bool) -> bool:
    """Whether a dot after *word* ends the sentence; *opens*: it is the sentence's first; *after*: where the next word begins."""
    lower, follows = word.lower(), text[after]
    if lower in _BEFORE_A_NAME:
        return False
    if lower in _EITHER:
        return follows.isupper()
    if word.isdigit():
        goes_on = follows.islower() or text[after : after + 3].lower() in _MONTHS
        return not (opens or (len(word) <= 2 and goes_on))
    return not (len(word) == 1 and word.isupper() and word != "I" and follows.isupper())


def _first(text: str, start: int) -> int:
    while text[start].isspace():
        start += 1
    return start
