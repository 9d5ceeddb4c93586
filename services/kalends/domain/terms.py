"""Words of a question: which of them carry meaning, and how much; and what is done to any text before an engine splits it.

Belongs here: splitting, the list of function words, weights of a model's tokens from the rarity of their words, one spelling of each
character, bigrams of scripts that are written without spaces. Does not belong here: how an engine stems. A newcomer would get wrong:
pronouns of the first and second person are *not* function words here; on public chats they tell a user's turn from an assistant's.
"""

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

_FUNCTION_WORDS = (
    "a about after all also am an and any are as at be because been before being both but by can could did do does doing done "
    "for from had has have having he her here hers him his how if in into is it its itself just more most of on or out over "
    "own s she should so some such t than that the their theirs them then there these they this those through to too up very "
    "was were what when where which while who whom whose why will with would d ll m re ve "
)

FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())
"""English words that say little of what a question is about."""

LATE_POWER = 0.5
"""Tokens weigh the square root of their word's rarity in late interaction (measured: docs/decisions)."""

LATE_FLOOR = 0.25
"""No token weighs less than this share of the heaviest."""

_WORD = re.compile(r"\w+")
_UNSPACED = re.compile(
    "["
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\u1780-\u17ff"  # Burmese, Khmer
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"  # kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"  # Han
    "\u1100-\u11ff\uac00-\ud7af"  # Hangul: spaced, but particles stick to the words
    "]+"
)


def normalised(text: str) -> str:
    """*text* in the one form in which all spellings of a character are equal."""
    return text if text.isascii() else unicodedata.normalize("NFKC", text)


def grams(text: str, *, question: bool) -> list[str]:
    """The unspaced scripts in *text* as words; empty for a text without them.

    An event gives single characters and bigrams. A question gives bigrams, and a single character only where it stands alone.
    """
    if text.isascii():
        return []
    return [gram for run in _UNSPACED.findall(text) for gram in _of_run(run, singles=not question or len(run) == 1)]


def _of_run(run: str, *, singles: bool) -> Iterable[str]:
    if singles:
        yield from run
    for start in range(len(run) - 1):
        yield run[start : start + 2]


def content_words(text: str) -> list[str]:
    """The words of *text* that carry meaning, lower-cased, each once; all of its words if none does."""
    words = list(dict.fromkeys(word.lower() for word in _WORD.findall(text)))
    return [word for word in words if word not in FUNCTION_WORDS] or words


def rarity(holding: int, events: int) -> float:
    """BM25's inverse document frequency of a word that *holding* of *events* events hold (Robertson and Spärck Jones, as in Lucene)."""
    return math.log(1 + (events - holding + 0.5) / (holding + 0.5))


def token_weights(text: str, spans: Sequence[tuple[int, int]], rarities: Mapping[str, float]) -> list[float]:
    """One weight per token of *text*: the rarity of the word it belongs to, 0 for marks and function words; all 1 if that leaves nothing.

    *spans* are the tokens' characters in *text*, (0, 0) for the model's own marks; *rarities* are by lower-cased word.
    """
    words = [(found.start(), found.end(), found.group().lower()) for found in _WORD.finditer(text)]
    weights = []
    for start, end in spans:
        word = next((word for first, last, word in words if end > start and first <= start < last), None)
        weights.append(0.0 if word is None or word in FUNCTION_WORDS else rarities.get(word, 0.0))
    return weights if sum(weights) > 0 else [1.0] * len(weights)


def late_weights(weights: Sequence[float]) -> list[float]:
    """*weights* for late interaction: damped, with a floor, summing to 1."""
    damped = [weight**LATE_POWER for weight in weights]
    floor = LATE_FLOOR * max(damped, default=1.0)
    raised = [max(weight, floor) for weight in damped]
    total = sum(raised)
    return [weight / total for weight in raised] if total else []
