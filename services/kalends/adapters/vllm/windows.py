"""Windows of a text, and where a model's tokens stand in it.

Belongs here: cutting ids into overlapping windows, cutting by characters where no tokenizer can be asked, and finding the characters of
token strings. Does not belong here: asking for tokens (``embedder``). A newcomer would get wrong: a served tokenizer tells no offsets, so
the tokens are looked for in the text, both without case and accents; one that is not found (an unknown word, bytes) stands nowhere.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

OVERLAP_TOKENS = 32
"""Content tokens that two windows share, as in the embedded model, so that no sentence is only seen cut."""

CHARS_PER_TOKEN = 3
"""Fewer than English has, so that most windows that are cut by characters fit; what does not is cut by the server."""

_JOINTS = ("##", "\u2581", "\u0120")
"""What tokenizers put before a piece of a word (WordPiece) or in the place of a blank (SentencePiece, byte pairs)."""

_LOOK_AHEAD = 64
"""Characters within which the next token is looked for; further off, another word would be taken for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """The tokens that a model puts around every text: their ids and their strings."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    words: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many a window has."""
        return len(self.before) + len(self.after)

    def around(self, content: Sequence[int]) -> list[int]:
        """A window of *content*."""
        return [*self.before, *content, *self.after]

    def without(self, ids: Sequence[int]) -> Sequence[int]:
        """The content of *ids*, a whole text's."""
        return ids[len(self.before) : len(ids) - len(self.after)]

    def broken(self, text: str) -> str:
        """*text* in which no mark is spelled out: a text cannot speak for the model."""
        for word in self.words:
            if word in text:
                text = text.replace(word, f"{word[0]} {word[1:]}")
        return text


def cut_ids(content: Sequence[int], *, longest: int) -> list[Sequence[int]]:
    """Windows of at most *longest* tokens of *content*, each with the end of the one before; at least one."""
    step = longest - min(OVERLAP_TOKENS, longest // 2)
    windows = [content[:longest]]
    start = step
    while start + longest - step < len(content):
        windows.append(content[start : start + longest])
        start += step
    return windows


def cut_text(text: str, *, longest: int) -> list[str]:
    """Windows of *text* of about *longest* tokens, cut at blanks where there are any."""
    # what overlaps is taken off twice where a blank is found early, and something has to be left
    width, overlap = longest * CHARS_PER_TOKEN, min(OVERLAP_TOKENS, longest // 4) * CHARS_PER_TOKEN
    windows, start = [], 0
    while len(text) - start > width:
        blank = text.rfind(" ", start + width - overlap, start + width)
        end = blank if blank > 0 else start + width
        windows.append(text[start:end])
        start = end - overlap
    return [*windows, text[start:]]


def spans_of(text: str, tokens: Sequence[str], *, marks: Marks) -> list[tuple[int, int]]:
    """The characters of *text* that each of *tokens* stands for, (0, 0) for a mark and for what is not found."""
    plain, places = _plain(text)
    first, last = len(marks.before), len(tokens) - len(marks.after)
    spans: list[tuple[int, int]] = []
    at = 0
    for index, token in enumerate(tokens):
        piece = _plain(_bare(token))[0] if first <= index < last else ""
        found = plain.find(piece, at, at + _LOOK_AHEAD + len(piece)) if piece else -1
        if found < 0:
            spans.append((0, 0))
            continue
        at = found + len(piece)
        spans.append((places[found], places[at - 1] + 1))
    return spans


def _bare(token: str) -> str:
    for joint in _JOINTS:
        if token.startswith(joint) and len(token) > len(joint):
            return token[len(joint) :]
    return token


def _plain(text: str) -> tuple[str, list[int]]:
    """*text* in lower case and without accents, and for each of its characters the place in *text*."""
    letters: list[str] = []
    places: list[int] = []
    for place, character in enumerate(text):
        for letter in unicodedata.normalize("NFD", character.lower()):
            if unicodedata.category(letter) != "Mn":
                letters.append(letter)
                places.append(place)
    return "".join(letters), places
