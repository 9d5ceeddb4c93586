"""How text is prepared before OpenSearch's analysers read it: one spelling of each character, and bigrams of unspaced scripts.

Belongs here: what must be the same for events and questions. Does not belong here: analysers (``schema``). A newcomer would get wrong: this
is the embedded engine's preparation again, which no adapter may import from another; a test holds the two together.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

MOST_TERMS: Final = 512
"""Different words of one question that are looked up, by field; the rest of a very long question is ignored."""

MOST_CLAUSES: Final = 1000
"""Words of one question over all fields; OpenSearch refuses more than 1024 clauses."""

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


def bounded(terms: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """The different words of each field, in order, no more than OpenSearch takes: bigrams first, the rest in equal parts."""
    different = {field: list(dict.fromkeys(found))[:MOST_TERMS] for field, found in terms.items()}
    if sum(map(len, different.values())) <= MOST_CLAUSES:
        return different
    others = [field for field in different if field != "cjk"]
    share = (MOST_CLAUSES - len(different.get("cjk", ()))) // max(1, len(others))
    return {field: found if field == "cjk" else found[:share] for field, found in different.items()}


def _of_run(run: str, *, singles: bool) -> Iterable[str]:
    if singles:
        yield from run
    for start in range(len(run) - 1):
        yield run[start : start + 2]
