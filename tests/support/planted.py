"""Words that tests tell instances, which must be in nobody's log and metrics: looked for whenever an instance ends.

Belongs here: remembering a few of the texts and questions that were sent, and looking for them. Does not belong here: answers, which may
hold them (``attacks``, ``canaries``). A newcomer would get wrong: every test that talks to an instance is a test of this, so what is
remembered is the newest only, and short words are none: they stand in any log.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence

KEPT = 200
"""Texts that are remembered at most; the newest."""

_SHORTEST = 12
_LONGEST = 60
"""Of a long text its first characters are looked for: a line may cut the rest."""
_FIELDS = ("text", "query", "content", "title")

_told: deque[str] = deque(maxlen=KEPT)


def note(body: object) -> None:
    """Remember the texts of a request's *body*: events, documents, questions."""
    _told.extend(_texts(body))


def found_in(words: str) -> list[str]:
    """Which of the remembered texts *words* hold."""
    return [text for text in set(_told) if text in words]


def _texts(body: object) -> Iterator[str]:
    if isinstance(body, Mapping):
        for name, value in body.items():
            if name in _FIELDS and isinstance(value, str):
                text = value[:_LONGEST].strip()
                # what JSON would write otherwise is in no log as it is
                if len(text) >= _SHORTEST and " " in text and text.isascii() and text.isprintable() and not {'"', "\\"} & set(text):
                    yield text
            else:
                yield from _texts(value)
    elif isinstance(body, Sequence) and not isinstance(body, str | bytes):
        for one in body[:KEPT]:
            yield from _texts(one)
