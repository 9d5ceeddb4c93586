"""The redactor: texts against the table of patterns.

Belongs here: applying the table quickly, and the two kinds of findings that a pattern alone cannot bound. Does not belong here: the
patterns (``redactor_patterns``), or what is done about a finding (``domain.redaction``). A newcomer would get wrong: nearly every text
holds nothing, so nearly all of the time is spent on the anchors: short literals without which a pattern cannot match.
"""

import re
from collections.abc import Iterator, Sequence

from kalends.adapters.embedded.redactor_patterns import DETECTORS, WORD, Detector
from kalends.domain.redaction import Finding

_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_END = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_BODY = re.compile(r"(?:(?:\s|\\[nr])*+(?:[A-Za-z-]{4,20}: [^\r\n]{1,80}+(?=[\r\n])|[A-Za-z0-9+/=]{8,}+))*+")
"""What follows the first line of a key that was cut off: headers, and lines of base64; a break may be written as ``\\n``, as JSON does."""

_LONG_WORD = re.compile(rf"\S{{{WORD}}}")
_LONGEST_KEY = 64 * 1024
_PRIVATE_KEY = "private-key"


class PatternRedactor:
    """Finds by patterns that vendors publish; stateless."""

    def find(self, text: str, categories: frozenset[str]) -> Sequence[Finding]:
        """What *text* holds of *categories*; spans may overlap."""
        found: list[Finding] = []
        folded = _folded(text)
        has_long_words = _LONG_WORD.search(text) is not None
        for detector in DETECTORS:
            if detector.category not in categories or (detector.word and not has_long_words):
                continue
            looked_at = folded if detector.folded else text
            for anchor in detector.anchors:
                if anchor in looked_at:
                    found += _matches(detector, text, looked_at)
                    break
        if "credentials" in categories and "PRIVATE KEY" in text:
            found += _private_keys(text)
        return found


def _folded(text: str) -> str:
    """*text* in lower case, character by character at the same places."""
    folded = text.lower()
    if len(folded) == len(text):
        return folded
    return "".join(character if len(character.lower()) > 1 else character.lower() for character in text)


def _matches(detector: Detector, text: str, looked_at: str) -> Iterator[Finding]:
    group = detector.group
    for match in detector.pattern.finditer(looked_at):
        start, end = match.span(group)
        if detector.narrow is not None:
            end = start + detector.narrow(text[start:end])
        if end > start:
            yield Finding(label=detector.label, category=detector.category, start=start, end=end)


def _private_keys(text: str) -> Iterator[Finding]:
    """Whole keys between their lines, and as much as there is of one that was cut off."""
    ends = [match.span() for match in _END.finditer(text)]
    begins = list(_BEGIN.finditer(text))
    passed = 0
    for number, begin in enumerate(begins):
        following = begins[number + 1].start() if number + 1 < len(begins) else len(text)
        while passed < len(ends) and ends[passed][0] < begin.end():
            passed += 1
        closed = passed < len(ends) and ends[passed][0] < min(following, begin.end() + _LONGEST_KEY)
        body = None if closed else _BODY.match(text, begin.end(), following)
        end = ends[passed][1] if closed else begin.end() if body is None else body.end()
        yield Finding(label=_PRIVATE_KEY, category="credentials", start=begin.start(), end=end)
