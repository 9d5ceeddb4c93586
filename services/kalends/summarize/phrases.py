"""Phrases: the keywords and the title of a summary, in words of its material.

Belongs here: finding runs of telling words, after RAKE (Rose, Engel, Cramer, Cowley: Automatic keyword extraction from individual
documents, 2010), and making a title of them. Does not belong here: which sentences are chosen. A newcomer would get wrong: those who speak
are left out, because people call each other by name in every second turn; a title says what was spoken of.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from kalends.domain import stopwords
from kalends.domain.calendar import UNTOLD, Material
from kalends.kit import graphemes
from kalends.summarize.pieces import JOINT, Piece

KEYWORDS = 7
TITLE_WORDS = 10
_TITLE_PHRASES = 3
_LEAST_TITLE_WORDS = 3
_TITLE_CHARS = 80
_TITLE_SIGNS = 24
_RUN_WORDS = 3
_ROLES = frozenset(("user", "assistant", "system", "tool", "agent", "human", "ai", "model", "bot", "developer", "function"))
_ENDINGS = ("ly", "ing", "ed")
_OPENERS = ("", ".", "!", "?", ":", "\n", "-", "\u2022", "\u2026")
_NAME_WEIGHT = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrase:
    """A run of telling words: in their plain form, and as a keyword would be written."""

    words: tuple[str, ...]
    text: str
    score: float


def speakers_of(material: Material) -> frozenset[str]:
    """The names of those who speak, word by word; roles such as "user" are words like any other."""
    names = {passage.speaker for passage in material.passages}
    return frozenset(word for name in names for word in stopwords.meaningful(name, without=_ROLES))


def phrases_of(pieces: Sequence[Piece], everything: Sequence[Piece], *, speakers: frozenset[str]) -> list[list[Phrase]]:
    """The phrases of each of *pieces*, best first; a word weighs more the more of *everything* holds it, and a name more than a word."""
    holding = Counter(word for piece in everything for word in set(piece.words))
    found = [[run for half in piece.text.split(JOINT) for run in _runs(half, speakers)] for piece in pieces]
    names = frozenset(word.lower() for runs in found for run, inner in runs for word in run[0 if inner else 1 :] if _is_named(word))
    return [_ranked((run for run, _ in runs), holding, names) for runs in found]


def keywords(phrases: Iterable[Sequence[Phrase]], everything: Sequence[Piece], *, speakers: frozenset[str]) -> tuple[str, ...]:
    """The best of *phrases*, at most ``KEYWORDS``, no two about the same; single words if there are too few."""
    ranked = sorted({phrase.words: phrase for some in phrases for phrase in some}.values(), key=lambda one: (-one.score, one.words))
    chosen = [phrase.text for phrase in _apart(ranked, at_most=KEYWORDS)]
    if len(chosen) < _LEAST_TITLE_WORDS:
        known = {word for text in chosen for word in text.lower().split()}
        holding = Counter(word for piece in everything for word in piece.words)
        words = sorted(holding, key=lambda word: (-holding[word], -len(word), word))
        chosen += [word for word in words if word not in known and word not in speakers][: _LEAST_TITLE_WORDS - len(chosen)]
    return tuple(chosen)


def title(chosen: Sequence[Sequence[Phrase]], phrases: Iterable[Sequence[Phrase]], *, first: str) -> str:
    """A title of the best phrase of each claim in *chosen*, the most telling claim first; *first* is a text to fall back to."""
    if stopwords.is_unspaced(first):
        return _beginning(first)
    ranked = [next(iter(_fit(some))) for some in chosen if _fit(some)]
    picked = _apart(ranked, at_most=_TITLE_PHRASES)
    more = sorted({one.words: one for some in phrases for one in _fit(some)}.values(), key=lambda one: (-one.score, one.words))
    for phrase in more:
        if len(picked) >= _TITLE_PHRASES or sum(len(one.words) for one in picked) >= 2 * _LEAST_TITLE_WORDS:
            break
        picked = _apart([*picked, phrase], at_most=_TITLE_PHRASES)
    while sum(len(one.words) for one in picked) > TITLE_WORDS:
        picked.pop()
    if sum(len(one.words) for one in picked) < _LEAST_TITLE_WORDS:
        return _beginning(first)
    return _capitalised(", ".join(one.text for one in picked))


def _fit(phrases: Sequence[Phrase]) -> list[Phrase]:
    """Those that can stand in a title: of several words, or a name."""
    return [phrase for phrase in phrases if len(phrase.words) > 1 or _is_named(phrase.text)]


def _apart(ranked: Sequence[Phrase], *, at_most: int) -> list[Phrase]:
    """The first of *ranked* that share no word."""
    chosen: list[Phrase] = []
    taken: set[str] = set()
    for phrase in ranked:
        stems = {word[:5] for word in phrase.words}
        if len(chosen) < at_most and not stems & taken:
            chosen.append(phrase)
            taken |= stems
    return chosen


def _runs(text: str, speakers: frozenset[str]) -> Iterator[tuple[tuple[str, ...], bool]]:
    """Runs of telling words of *text* as they are written, and whether the run begins within the sentence."""
    run: list[str] = []
    inner = False
    end = 0
    for start, stop in stopwords.spans(text):
        word = text[start:stop]
        lower = stopwords.plain_form(word)
        gap = text[end:start]
        initial = gap == ". " and bool(run) and len(run[-1]) == 1
        is_telling = _is_telling(lower, word) and lower not in speakers
        if run and not (is_telling and (gap == " " or initial)):
            yield from _closed(run, inner=inner)
            run = []
        if is_telling:
            if not run:
                inner = start > 0 and text[:start].rstrip(" *_\"'\u201c(")[-1:] not in _OPENERS
            run.append(word)
        end = stop
    if run:
        yield from _closed(run, inner=inner)


def _closed(run: Sequence[str], *, inner: bool) -> Iterator[tuple[tuple[str, ...], bool]]:
    """The end of a *run*, where its noun is, without verbs: the first word of a sentence, and what comes after the noun."""
    kept = list(run)
    while len(kept) > 1 and kept[-1].endswith("ed") and not kept[-1].endswith("eed") and kept[-1].islower():
        kept.pop()
    if not inner and len(kept) > 1 and kept[1].islower() and (len(kept) > _RUN_WORDS - 1 or kept[0].endswith("ing")):
        kept, inner = kept[1:], True
    kept, inner = (kept[-_RUN_WORDS:], inner or len(kept) > _RUN_WORDS)
    kept[-1] = kept[-1][: len(stopwords.plain_form(kept[-1]))]
    yield tuple(kept), inner


def _is_telling(lower: str, written: str) -> bool:
    if stopwords.is_plain(lower) or not any(map(str.isalpha, lower)):
        return False
    return len(lower) > 2 or written.isupper()


def _is_named(word: str) -> bool:
    return any(map(str.isupper, word))


def _ranked(runs: Iterable[tuple[str, ...]], holding: Mapping[str, int], names: frozenset[str]) -> list[Phrase]:
    made = {}
    for run in runs:
        words = tuple(map(stopwords.plain_form, run))
        written = [word if lower in names or word[1:] != lower[1:] else lower for word, lower in zip(run, words, strict=True)]
        score = math.fsum(_word_score(word, holding[word], is_name=word in names) for word in words)
        made[words] = Phrase(words=words, text=" ".join(written), score=round(score, 6))
    return sorted(made.values(), key=lambda one: (-one.score, one.words))


def _word_score(word: str, holding: int, *, is_name: bool) -> float:
    """Longer words and words that come again say more; adverbs and forms of verbs say less."""
    score = math.log1p(max(holding, 1)) * math.sqrt(min(len(word), 9))
    if is_name:
        score *= _NAME_WEIGHT
    elif word.endswith(_ENDINGS):
        score *= 0.5
    return score


def _beginning(text: str) -> str:
    """The first words of *text*, or its first signs where no blanks part words."""
    if stopwords.is_unspaced(text):
        return graphemes.cut(text.strip(), _TITLE_SIGNS).rstrip(".!?\u3002\uff01\uff1f\uff0c\u3001 ") or text.strip()[:1]
    words = " ".join(text.split()[:TITLE_WORDS])
    cut = graphemes.cut(words, _TITLE_CHARS)
    if len(cut) < len(words) and " " in cut:
        cut = cut[: cut.rindex(" ")]
    return _capitalised(cut.rstrip(".,;:!? ") or cut) or UNTOLD


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]
