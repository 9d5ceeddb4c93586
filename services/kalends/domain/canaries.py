"""Canary questions: questions of which it is known which events must be found, so that it is noticed when a memory finds them no more.

Belongs here: the question, what became of it when it was asked, and the share of those that are answered. Does not belong here: asking
(``search.canaries``), keeping (``wire.canaries``). A newcomer would get wrong: what was erased on purpose is no miss; a question of which
nothing is left to be found is *gone*, counts for nothing, and loses its words too, for they would tell what was forgotten.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Literal

from kalends.domain.errors import Fault, Invalid
from kalends.domain.events import EventId
from kalends.domain.scope import Scope

MOST = 100
"""Questions of one memory, so that a run of all of them stays cheap."""

EXPECTED_AT_MOST = 20
WITHIN = 10

Verdict = Literal["found", "missed", "gone"]
VERDICTS: tuple[Verdict, ...] = ("found", "missed", "gone")
"""All that must be found was among the best; something was not; nothing of it is there any more."""

State = Literal["new", "found", "missed", "gone"]

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """A question of one memory; times in microseconds, 0 for never.

    *expect* must be among the best *within* hits. ``gone``: how many more were expected that are erased. ``since_us``: since when ``state``
    is so. ``revision``: of the record that it was read from, 0 for none. ``question`` is empty once nothing is left to be expected.
    """

    scope: Scope
    name: str
    question: str
    expect: tuple[EventId, ...]
    within: int = WITHIN
    gone: int = 0
    state: State = "new"
    since_us: int = 0
    asked_us: int = 0
    set_us: int = 0
    set_by: str = ""
    revision: int = 0

    def asks_as(self, other: "Canary") -> bool:
        """Whether *other* asks the same and expects the same."""
        return (self.question, self.expect, self.within) == (other.question, other.expect, other.within)

    def judged(self, verdict: Verdict, *, now_us: int) -> "Canary":
        """After it was asked; the moment since when it is so moves only if that is news."""
        return replace(self, state=verdict, asked_us=now_us, since_us=self.since_us if self.state == verdict else now_us)

    def without(self, erased: Collection[EventId], *, now_us: int) -> "Canary":
        """The same without the ids of what is erased, and without its words if nothing is left."""
        left = tuple(one for one in self.expect if one not in erased)
        dropped = replace(self, expect=left, gone=self.gone + len(self.expect) - len(left))
        if left:
            return dropped
        return replace(dropped, question="", state="gone", since_us=self.since_us if self.state == "gone" else now_us)


def check_name(name: str) -> None:
    """Refuse what is no name of a question: it lies open beside the memory's other names.

    Raises:
        Invalid: it is none.
    """
    if not _NAME.fullmatch(name):
        detail = "must be 1 to 40 characters of a-z, 0-9 and '-', starting and ending with a letter or digit"
        raise Invalid(detail, faults=[Fault(pointer="/canary", detail=detail, code="name")])


def verdict(wanted: Collection[EventId], found: Collection[EventId]) -> Verdict:
    """What *found* is for a question of which *wanted* is still there: one that is not found is enough for a miss."""
    if not wanted:
        return "gone"
    return "found" if set(wanted) <= set(found) else "missed"


def accuracy(states: Iterable[State]) -> float | None:
    """The share of the questions that found what they must, of those that could; None before any was asked."""
    counted = [state for state in states if state in ("found", "missed")]
    return counted.count("found") / len(counted) if counted else None
