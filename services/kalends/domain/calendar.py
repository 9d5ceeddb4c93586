"""The calendar's nodes: what a segment, day, week, month or year says, and the evidence for every line of it.

Belongs here: the values, and how a summary's claims become bullets with grips. Does not belong here: which period lies in which
(``periods``), where a session is cut (``segments``), or who writes a summary (``ports.summarizer``). A newcomer would get wrong: an excerpt
is a piece of its event's text, letter by letter; a bullet's own text may be prose, its grips never are.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kalends.domain.events import EventId
from kalends.domain.periods import Period

GRIPS_PER_BULLET = 4
"""A bullet of a wide period may rest on many lines below it; it cites the first so many."""


CHILDREN_NAMED = 1000
"""Children that a version names; a day with more of them would not fit into a message of the log."""

UNTOLD = "(no text)"
"""The title of a period in which nothing was said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grip:
    """Evidence: an excerpt of the text of ``first``, and the events that it spans, in the order of their session."""

    id: str
    excerpt: str
    first: EventId
    last: EventId
    session_id: str
    occurred_us: int
    speaker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bullet:
    """One line of a node; it has at least one grip."""

    text: str
    grips: tuple[Grip, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One version of a node, as it is stored.

    ``children`` are node ids, oldest first and at most :data:`CHILDREN_NAMED`; a segment has none, but ``events`` in the order of its
    session. ``first_us`` and ``last_us`` are when its first and last events occurred. ``inputs`` identifies what it was made of and by
    whom: the same inputs need no new version. ``degraded`` says why the wanted summarizer did not write it; empty if it did. ``gone``:
    nothing is left in the period.
    """

    period: Period
    first_us: int
    last_us: int
    title: str = ""
    bullets: tuple[Bullet, ...] = ()
    keywords: tuple[str, ...] = ()
    children: tuple[str, ...] = ()
    events: tuple[EventId, ...] = ()
    event_count: int = 0
    agents: tuple[str, ...] = ()
    session_id: str = ""
    author: str = ""
    degraded: str = ""
    inputs: str = ""
    gone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A piece of what is to be summarized: an event's text, or a line of a node below. ``key`` is unique among its neighbours."""

    key: str
    speaker: str
    text: str
    occurred_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A piece of the text of the passage ``key``, letter by letter."""

    key: str
    excerpt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One line of a summary and what it rests on; at least one piece of evidence."""

    text: str
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What is to be summarized: the passages of one period, oldest first; at least one."""

    period: Period
    passages: tuple[Passage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a summarizer says of some material. ``author`` names the model; ``degraded`` why another wrote it than was wanted."""

    title: str
    claims: tuple[Claim, ...]
    keywords: tuple[str, ...]
    author: str
    degraded: str = ""


def grip_of(excerpt: str, *, first: EventId, last: EventId, session_id: str, occurred_us: int, speaker: str) -> Grip:
    """The grip of *excerpt*; the same evidence always has the same id: ``grip:`` and 24 hex digits."""
    name = hashlib.blake2b(f"{first}\0{last}\0{excerpt}".encode(), digest_size=12).hexdigest()
    return Grip(
        id=f"grip:{name}",
        excerpt=excerpt,
        first=first,
        last=last,
        session_id=session_id,
        occurred_us=occurred_us,
        speaker=speaker,
    )


def cited(claims: Sequence[Claim], grips: Mapping[str, Sequence[Grip]]) -> tuple[Bullet, ...]:
    """*claims* about lines of nodes below as bullets: each has the grips of the lines that it rests on, each grip once."""
    bullets = []
    for claim in claims:
        found = {grip.id: grip for piece in claim.evidence for grip in grips[piece.key]}
        bullets.append(Bullet(text=claim.text, grips=tuple(found.values())[:GRIPS_PER_BULLET]))
    return tuple(bullets)
