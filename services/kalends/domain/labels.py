"""Labels: who among the readers of a memory may see something.

Belongs here: what a label is, what a credential that has some may see. Does not belong here: how engines filter by it (``queries``). A
newcomer would get wrong: something with several labels is seen by whoever has *any* of them, and something without labels by everybody who
may read the memory; a credential with an empty list sees only that, and one with None sees all.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from kalends.domain.errors import Fault, Invalid

MOST = 16
"""Labels of one event or document."""

MOST_HELD = 64
"""Labels of one credential."""

EVERY_LABEL = "*"
"""In place of a label, in settings and claims: all of them."""

_LABEL = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class Clearance:
    """What a credential may see: ``labels`` that it has, None for every one, also those to come."""

    labels: frozenset[str] | None

    def sees(self, labels: Collection[str]) -> bool:
        """Whether something with *labels* may be shown."""
        return self.labels is None or not labels or not self.labels.isdisjoint(labels)

    def covers(self, labels: Collection[str] | None) -> bool:
        """Whether every one of *labels* may be set or given away; None stands for all that there are."""
        return self.labels is None or (labels is not None and self.labels.issuperset(labels))

    @property
    def mark(self) -> str:
        """What tells this clearance from others, for cursors."""
        return "*" if self.labels is None else " ".join(sorted(self.labels))


EVERYTHING = Clearance(None)
"""For what the instance does by itself, and for credentials of all labels."""

UNLABELLED = Clearance(frozenset())
"""What is used where nobody says otherwise: a reader that was forgotten shows too little and not too much."""


def is_label(text: str) -> bool:
    """Whether *text* is a label: 1 to 64 of ``a-z0-9_.-``, the first a letter or digit."""
    return _LABEL.fullmatch(text) is not None


def faults_of(labels: Sequence[str], *, pointer: str = "/labels", most: int = MOST) -> list[Fault]:
    """What is wrong with *labels*."""
    if len(labels) > most:
        return [Fault(pointer=pointer, detail=f"has {len(labels)} labels; the limit is {most}", code="too_large")]
    detail = "must be 1 to 64 characters of a-z, 0-9, '_', '.' and '-', starting with a letter or digit"
    wrong = [number for number, label in enumerate(labels) if not is_label(label)]
    return [Fault(pointer=f"{pointer}/{number}", detail=detail, code="label") for number in wrong]


def check(labels: Sequence[str], *, pointer: str = "/labels", most: int = MOST) -> tuple[str, ...]:
    """*labels*, each once and in order.

    Raises:
        Invalid: one is none, or there are more than *most*.
    """
    faults = faults_of(labels, pointer=pointer, most=most)
    if faults:
        raise Invalid(faults[0].detail, faults=faults)
    return ordered(labels)


def ordered(labels: Collection[str]) -> tuple[str, ...]:
    """Each of *labels* once, in the order in which they are stored: the same labels are the same content, however they were written."""
    return tuple(sorted(set(labels)))
