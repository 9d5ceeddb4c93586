"""Redaction: what of a text is kept out of the store, and what stands in its place.

Belongs here: policies, findings, and cutting findings out of texts and events. Does not belong here: finding anything (the port
``redactor``). A newcomer would get wrong: a mask says what kind of thing stood there and nothing else of it, not even its length; so two
texts that differ in a masked secret only are equal afterwards, and the same id with either is a repetition.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from kalends.domain.events import Event, Scalar

CATEGORIES = ("credentials", "card", "email", "phone", "iban")
ACTIONS = ("off", "mask", "refuse")
DEFAULTS: Mapping[str, str] = {"credentials": "mask", "card": "off", "email": "off", "phone": "off", "iban": "off"}
"""Secrets are of no use to a memory and harm in any hands; what people say of themselves is what a memory is for."""

REFUSED = "refused_content"
"""The code of the fault of a text that its memory's policy refuses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something sensitive in a text: what it is (``aws-access-key``), its category, and where, as a half-open span of characters."""

    label: str
    category: str
    start: int
    end: int


Find = Callable[[str, frozenset[str]], Sequence[Finding]]
"""Finds what a text holds of the given categories."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What is done about each category in a memory; ``kinds`` overrides it for kinds of events. What is not named is as by default."""

    actions: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def of_kind(self, kind: str) -> Mapping[str, str]:
        """The action on every category in an event of *kind*."""
        return {**DEFAULTS, **self.actions, **self.kinds.get(kind, {})}

    @property
    def is_default(self) -> bool:
        """Whether it says what goes without saying."""
        return not self.kinds and {**DEFAULTS, **self.actions} == DEFAULTS


def mask(label: str) -> str:
    """What stands in the place of a thing."""
    return f"[masked:{label}]"


class Cleaning:
    """Cleans the texts of one thing and gathers the labels of what it found there."""

    def __init__(self, find: Find, actions: Mapping[str, str]) -> None:
        self._find = find
        self._actions = actions
        self._wanted = frozenset(category for category, action in actions.items() if action != "off")
        self._masked: set[str] = set()
        self._refused: set[str] = set()

    @property
    def masked(self) -> tuple[str, ...]:
        """The labels of what was masked, each once, in alphabetical order."""
        return tuple(sorted(self._masked))

    @property
    def refused(self) -> tuple[str, ...]:
        """The labels of what may not be stored at all, each once, in alphabetical order."""
        return tuple(sorted(self._refused))

    def text(self, text: str) -> str:
        """*text* with masks; of what is refused too, so that it is not in hand by mistake."""
        if not self._wanted or not text:
            return text
        found = self._find(text, self._wanted)
        if not found:
            return text
        for finding in found:
            (self._refused if self._actions.get(finding.category) == "refuse" else self._masked).add(finding.label)
        return cut(text, found)

    def metadata(self, metadata: Mapping[str, Scalar]) -> Mapping[str, Scalar]:
        """*metadata* with masks in the values that are text; names of keys stay."""
        cleaned = {name: self.text(value) if isinstance(value, str) else value for name, value in metadata.items()}
        return metadata if cleaned == metadata else cleaned

    def event(self, event: Event) -> Event:
        """*event* with masks in its text and metadata; the actor stays, who spoke is not what was said."""
        text, metadata = self.text(event.text), self.metadata(event.facets.metadata)
        if text is event.text and metadata is event.facets.metadata:
            return event
        return replace(event, text=text, facets=replace(event.facets, metadata=metadata))


def cut(text: str, findings: Iterable[Finding]) -> str:
    """*text* with one mask for each stretch that *findings* cover; where they overlap, the longest one names the stretch."""
    parts: list[str] = []
    end = 0
    for stretch in _stretches(findings):
        first = stretch[0].start
        longest = max(stretch, key=lambda one: (one.end - one.start, one.label))
        parts += (text[end:first], mask(longest.label))
        end = max(one.end for one in stretch)
    return "".join((*parts, text[end:]))


def _stretches(findings: Iterable[Finding]) -> list[list[Finding]]:
    """Findings that overlap, together, in the order of the text."""
    stretches: list[list[Finding]] = []
    end = -1
    for finding in sorted(findings, key=lambda one: (one.start, one.end)):
        if finding.start < end:
            stretches[-1].append(finding)
        else:
            stretches.append([finding])
        end = max(end, finding.end)
    return stretches
