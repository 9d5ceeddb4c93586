"""How text becomes words, in three ways: stemmed English, plain, and bigrams of scripts that are written without spaces.

Belongs here: analysers, the same for events and questions. Does not belong here: an index. A newcomer would get wrong: every change
here needs a new ``lexicon.FORMAT``, because words that were indexed otherwise would silently not be found.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

MOST_TERMS = 512
"""Different words of one question that are looked up, by field; the rest of a very long question is ignored."""

_LONGEST_WORD = 129

_UNSPACED = re.compile(
    "["
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\u1780-\u17ff"  # Burmese, Khmer
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"  # kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"  # Han
    "\u1100-\u11ff\uac00-\ud7af"  # Hangul: spaced, but particles stick to the words
    "]+"
)


def analysers() -> Mapping[str, Any]:
    """The analyser of each text field, by the field's name."""
    from tantivy import Filter, TextAnalyzerBuilder, Tokenizer

    plain = [Filter.remove_long(_LONGEST_WORD), Filter.lowercase(), Filter.ascii_fold()]
    return {
        "stemmed": _built(TextAnalyzerBuilder(Tokenizer.simple()), [*plain, Filter.stopword("english"), Filter.stemmer("english")]),
        "exact": _built(TextAnalyzerBuilder(Tokenizer.simple()), plain),
        "cjk": _built(TextAnalyzerBuilder(Tokenizer.whitespace()), []),
    }


def normalised(text: str) -> str:
    """*text* in the one form in which all spellings of a character are equal."""
    return text if text.isascii() else unicodedata.normalize("NFKC", text)


def spaced_out(text: str, *, question: bool) -> str:
    """The unspaced scripts in *text* as words; empty for a text without them.

    An event gives single characters and bigrams. A question gives bigrams, and a single character only where it stands alone.
    """
    if text.isascii():
        return ""
    return " ".join(gram for run in _UNSPACED.findall(text) for gram in _grams(run, singles=not question or len(run) == 1))


def _grams(run: str, *, singles: bool) -> Iterable[str]:
    if singles:
        yield from run
    for start in range(len(run) - 1):
        yield run[start : start + 2]


def terms(analyser: Any, text: str) -> list[str]:
    """The different words of a question, in order."""
    return list(dict.fromkeys(analyser.analyze(text)))[:MOST_TERMS]


def _built(builder: Any, filters: Iterable[Any]) -> Any:
    for step in filters:
        builder = builder.filter(step)
    return builder.build()
