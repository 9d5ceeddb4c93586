"""Grapheme clusters: what people see as one character, however many code points it has (Unicode standard annex 29).

Belongs here: where a text may be cut. Does not belong here: how long it may be. A newcomer would get wrong: a flag, a family emoji or a
letter with its accents is several code points, and ``text[:n]`` may leave half of one; whether there is a border at a place depends on all
that stands before it but on one code point after it only.
"""

import regex

_CLUSTER = regex.compile(r"\X")


def border(text: str, at_most: int) -> int:
    """The greatest index up to *at_most* at which *text* may be cut between two clusters; 0 if the first cluster is longer."""
    if at_most >= len(text):
        return len(text)
    if at_most <= 0:
        return 0
    before, after = text[at_most - 1], text[at_most]
    if before.isascii() and after.isascii() and (before, after) != ("\r", "\n"):
        return at_most
    found = 0
    for cluster in _CLUSTER.finditer(text[: at_most + 1]):
        if cluster.end() > at_most:
            break
        found = cluster.end()
    return found


def cut(text: str, at_most: int) -> str:
    """The longest beginning of *text* of at most *at_most* characters that ends between two clusters.

    A first cluster that is longer than that is cut within: nothing else is left of a text that is one heap of accents.
    """
    return text[: border(text, at_most) or max(at_most, 0)]
