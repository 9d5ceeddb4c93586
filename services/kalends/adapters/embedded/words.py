"""How text becomes words, in three ways: stemmed English, plain, and bigrams of scripts that are written without spaces.

Belongs here: analysers, the same for events and questions. Does not belong here: an index, or what is done to a text before
(``domain.terms``). A newcomer would get wrong: every change here needs a new ``lexicon.FORMAT``, because words that were indexed otherwise
would silently not be found.
"""

from collections.abc import Iterable, Mapping
from typing import Any

MOST_TERMS = 512
"""Different words of one question that are looked up, by field; the rest of a very long question is ignored."""

_LONGEST_WORD = 129


def analysers() -> Mapping[str, Any]:
    """The analyser of each text field, by the field's name."""
    from tantivy import Filter, TextAnalyzerBuilder, Tokenizer

    plain = [Filter.remove_long(_LONGEST_WORD), Filter.lowercase(), Filter.ascii_fold()]
    return {
        "stemmed": _built(TextAnalyzerBuilder(Tokenizer.simple()), [*plain, Filter.stopword("english"), Filter.stemmer("english")]),
        "exact": _built(TextAnalyzerBuilder(Tokenizer.simple()), plain),
        "cjk": _built(TextAnalyzerBuilder(Tokenizer.whitespace()), []),
    }


def terms(analyser: Any, text: str) -> list[str]:
    """The different words of a question, in order."""
    return list(dict.fromkeys(analyser.analyze(text)))[:MOST_TERMS]


def _built(builder: Any, filters: Iterable[Any]) -> Any:
    for step in filters:
        builder = builder.filter(step)
    return builder.build()
