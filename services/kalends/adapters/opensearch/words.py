"""How many words of a question OpenSearch is asked for.

Belongs here: bounds. Does not belong here: analysers (``schema``), or what is done to a text before they read it (``domain.terms``). A
newcomer would get wrong: a question with more clauses than the server takes is refused whole, so what is too much is left out here.
"""

from collections.abc import Mapping, Sequence
from typing import Final

MOST_TERMS: Final = 512
"""Different words of one question that are looked up, by field; the rest of a very long question is ignored."""

MOST_CLAUSES: Final = 1000
"""Words of one question over all fields; OpenSearch refuses more than 1024 clauses."""


def bounded(terms: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """The different words of each field, in order, no more than OpenSearch takes: bigrams first, the rest in equal parts."""
    different = {field: list(dict.fromkeys(found))[:MOST_TERMS] for field, found in terms.items()}
    if sum(map(len, different.values())) <= MOST_CLAUSES:
        return different
    others = [field for field in different if field != "cjk"]
    share = (MOST_CLAUSES - len(different.get("cjk", ()))) // max(1, len(others))
    return {field: found if field == "cjk" else found[:share] for field, found in different.items()}
